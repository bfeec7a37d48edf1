/**
 * The process that runs an embedded cluster: in the foreground, or as a child that outlives the command that started it.
 *
 *     linger cluster start        child: linger cluster start --foreground --child
 *            |--- fork, IPC --------->|
 *            |                        | claims DIR, starts the cluster
 *            |<-- ready | failed -----|
 *          exits                      | lets go of the channel; serves until SIGTERM
 *
 * While the channel is open the child ends with its parent, however that goes: a cluster that nobody waits for any more
 * does not come to life.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { packageFile } from '../base/paths.js';
import { EmbeddedCluster } from '../cluster/embedded-cluster.js';
import type { PipelineMode } from '../cluster/settings.js';
import type { LogLevel } from '../base/log.js';
import { isRunning } from '../base/node-process.js';
import { alreadyRunning, type ClusterDirectory, type ClusterRecord } from './cluster-record.js';
import type { CommandContext } from './context.js';
import { CommandError, commandError, Interrupt } from './errors.js';

/** What is not given is as it was, or as clusters are by default. */
export interface ClusterStart {
  data: string | undefined;
  osds: number | undefined;
  size: number | undefined;
  host: string;
  advertise: string | undefined;
  port: number;
  auth: 'cephx' | 'none' | undefined;
  pools: readonly string[];
  pipelineMode: PipelineMode | undefined;
  logLevel: LogLevel;
}

type Report =
  | { kind: 'ready'; record: ClusterRecord }
  | { kind: 'failed'; message: string; exitCode: number };

/** Serves until the process is told to end. SIGTERM, which is how `stop` ends it, is success. */
export async function serveCluster(
  context: CommandContext,
  directory: ClusterDirectory,
  start: ClusterStart,
  onReady: (record: ClusterRecord) => void,
): Promise<void> {
  const { data, osds, size, auth, host, advertise, port, pools, pipelineMode, logLevel } = start;
  await directory.create();
  const claimed = await directory.claim({
    conf: directory.confPath,
    keyring: directory.keyringPath,
  });
  try {
    const log = { level: logLevel };
    const starting = EmbeddedCluster.start({
      dir: directory.path,
      ...(data === undefined ? {} : { dataDir: data }),
      ...(osds === undefined ? {} : { osds }),
      ...(size === undefined ? {} : { size }),
      ...(auth === undefined ? {} : { auth }),
      ...(pipelineMode === undefined ? {} : { pipeline: { mode: pipelineMode } }),
      ...(advertise === undefined ? {} : { advertise }),
      host,
      port,
      pools,
      log,
    });
    await using cluster = await starting.catch((error: unknown) => {
      // Options that make no sense: the directory's name, mostly.
      if (error instanceof TypeError || error instanceof RangeError) {
        throw new CommandError(22, error.message, { cause: error });
      }
      throw commandError('cannot start the cluster', error);
    });
    context.signal.throwIfAborted();
    const { fsid, monHost } = cluster;
    const made = { osds: cluster.osds, size: cluster.size, auth: cluster.auth };
    const record: ClusterRecord = { ...claimed, state: 'ready', fsid, monHost, ...made };
    await directory.publish(record);
    onReady(record);
    // Until the interrupt, with which this rejects.
    const failure = await context.interruptible(cluster.ended);
    throw commandError('the cluster ended', failure ?? new Error('nobody asked it to'));
  } catch (error) {
    if (!(error instanceof Interrupt && error.signal === 'SIGTERM')) throw error;
  } finally {
    await directory.clear();
  }
}

/** The child's side of the channel. */
export async function serveAsChild(
  context: CommandContext,
  directory: ClusterDirectory,
  start: ClusterStart,
): Promise<void> {
  const orphaned = () => process.kill(process.pid, 'SIGTERM');
  process.once('disconnect', orphaned);
  // It may have ended while this process was loading.
  if (!process.connected) orphaned();
  const report = (message: Report) => {
    process.off('disconnect', orphaned);
    if (process.connected) process.send?.(message, () => process.connected && process.disconnect());
  };
  try {
    await serveCluster(context, directory, start, (record) => report({ kind: 'ready', record }));
  } catch (error) {
    const { message, exitCode } = commandError('error', error);
    report({ kind: 'failed', message, exitCode });
    throw error;
  }
}

/** Starts the child and resolves when its cluster is ready; then it no longer depends on this process. */
export async function startInBackground(
  context: CommandContext,
  directory: ClusterDirectory,
  args: readonly string[],
): Promise<ClusterRecord> {
  await directory.create();
  const running = await directory.read();
  if (running && (await isRunning(running))) throw alreadyRunning(directory.path, running);
  // Not yet the directory's log: the cluster that runs here, if another one is faster, has its own.
  const logPath = `${directory.logPath}.${process.pid}`;
  const log = await open(logPath, 'w').catch((error: unknown) => {
    throw commandError(`cannot write to ${directory.path}`, error);
  });
  let child: ChildProcess;
  try {
    child = spawn(
      process.execPath,
      [
        packageFile('dist/bundle/linger.js'),
        'cluster',
        'start',
        ...args,
        '--foreground',
        '--child',
      ],
      // Not in the caller's directory, which somebody may want to remove.
      { cwd: directory.path, detached: true, stdio: ['ignore', log.fd, log.fd, 'ipc'] },
    );
  } finally {
    await log.close();
  }
  const ended = new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
  try {
    const report = await context.interruptible(firstReport(child, logPath));
    if (report.kind === 'failed') throw new CommandError(report.exitCode, report.message);
    await rename(logPath, directory.logPath);
    child.unref();
    if (child.connected) child.disconnect();
    return report.record;
  } catch (error) {
    child.kill('SIGTERM');
    await ended;
    await rm(logPath, { force: true });
    await directory.removeIfUnused();
    throw error;
  }
}

function firstReport(child: ChildProcess, logPath: string): Promise<Report> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as Report));
    child.once('error', (error) => reject(commandError('cannot start the cluster', error)));
    child.once('exit', (code, signal) => {
      const log = readFileSync(logPath, 'utf8').trim();
      const how = signal ?? `code ${code}`;
      reject(
        new CommandError(5, `the cluster's process ended with ${how} before it was ready\n${log}`),
      );
    });
  });
}

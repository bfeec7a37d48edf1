// The processes of one throwaway cluster: tools that run to their end, daemons that stay, and the
// reaper that lets none of them outlive the test. Every process is recognised by the CEPH_CONF in
// its environment, so no pid file can go stale and no other cluster on the machine is touched.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { constants } from 'node:os';

const ASK_TIMEOUT_MS = 5_000;
/** Shorter than a test may take, so that what hangs is named. */
const RUN_LIMIT_MS = 100_000;

export interface RunOptions {
  /** Written to the tool's standard input, which is then closed. */
  readonly input?: string | Uint8Array;
  /** Added to the environment; `undefined` removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What runs longer is killed, which its stderr tells. Default 100 s. */
  readonly limitMs?: number;
  /** Told of what the tool says on its stderr, as it says it. */
  readonly onStderr?: (text: string) => void;
}

export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
  /** The exit code, or 128 + the signal's number as a shell reports it. */
  readonly code: number;
}

/**
 * For a tool of Ceph whose words count: without the log of its library, whose lines run into them, even into the middle of
 * one.
 */
export const WITHOUT_LOG: RunOptions = { env: { CEPH_ARGS: '--log-to-stderr=false' } };

/** Runs a tool to its end. Rejects only if it cannot be started: a failure is a `code`. */
export async function runProcess(
  command: string,
  args: readonly string[],
  { input, env, limitMs = RUN_LIMIT_MS, onStderr }: RunOptions = {},
): Promise<RunResult> {
  const child = spawn(command, args, { env: { ...process.env, ...env } });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => {
    stderr.push(chunk);
    onStderr?.(chunk.toString());
  });
  // A tool that exits without reading its input makes the write fail; its exit code tells why.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const limit = setTimeout(() => {
    stderr.push(Buffer.from(`\n${[command, ...args].join(' ')}: killed after ${limitMs} ms\n`));
    child.kill('SIGKILL');
  }, limitMs);
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  clearTimeout(limit);
  return {
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
    code: code ?? 128 + constants.signals[signal as NodeJS.Signals],
  };
}

/** Ways in which a process is ended that are not its own word: SIGABRT, SIGKILL (our limit), SIGSEGV. */
const ENDED: ReadonlySet<number> = new Set([134, 137, 139]);
/** On a busy machine it was five in a row. */
const CRASHES_BORNE = 20;

/**
 * Asks a tool of Ceph's again when it crashed or hung. For questions only: they may be asked twice. `rbd du` of 16.2 uses
 * memory that it has freed as images close, whatever the cluster: of 12 images with 3 snapshots each, 9 runs of 60 against
 * real daemons were ended by a signal or stood still with every answer in.
 */
export async function despiteCrashes(ask: () => Promise<RunResult>): Promise<RunResult> {
  for (let attempt = 1; ; attempt++) {
    const result = await ask();
    if (!ENDED.has(result.code) || attempt === CRASHES_BORNE) return result;
    console.warn(`the peer ended by signal ${result.code - 128}, and is asked again`);
  }
}

/** Runs a tool and throws, with what it said on stderr, unless it succeeds. */
export async function runOrThrow(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const result = await runProcess(command, args, options);
  if (result.code !== 0) {
    const said = result.stderr.trim() || result.stdout.trim();
    throw new Error(`${[command, ...args].join(' ')} exited with ${result.code}: ${said}`);
  }
  return result;
}

/**
 * Stops a process by SIGSTOP, and settles when it stands still. `kill` returns before that: each thread stops when it next
 * gets to run, and on a busy machine one that was already awake answers a peer long after the signal was sent.
 */
export async function stopInPlace(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  while (threadStates(pid).some((state) => RUNS.has(state))) await sleep(1);
}

/** Running, sleeping, waiting for a device: a letter of proc(5) for whatever is not stopped or gone. */
const RUNS: ReadonlySet<string> = new Set(['R', 'S', 'D']);

function threadStates(pid: number): string[] {
  const states: string[] = [];
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      // After the name, in brackets, which may hold anything.
      states.push(stat.charAt(stat.lastIndexOf(')') + 2));
    } catch {
      // It ended meanwhile.
    }
  }
  return states;
}

/** One `ceph-mon` or `ceph-osd`, run in the foreground as our child so that its end is an event. */
export class Daemon {
  #child: ChildProcess | undefined;
  #exit: Promise<void> = Promise.resolve();
  #crash: string | undefined;

  constructor(
    /** As Ceph names it: `mon.a`, `osd.0`. */
    readonly name: string,
    private readonly options: {
      readonly args: readonly string[];
      /** Where a crash leaves its core file. */
      readonly cwd: string;
      readonly env: NodeJS.ProcessEnv;
      readonly outputPath: string;
      readonly adminSocketPath: string;
    },
  ) {}

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.name} is not running`);
    return pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** What the daemon said when it last failed: not after an orderly end or a kill. */
  get crash(): string | undefined {
    return this.#crash;
  }

  start(): void {
    if (this.running) throw new Error(`${this.name} is already running`);
    const { args, cwd, env, outputPath } = this.options;
    const [type, id] = this.name.split('.') as [string, string];
    const output = openSync(outputPath, 'a');
    // `unref`: a cluster that nobody stopped must not keep the process alive; the reaper ends it.
    const child = spawn(`ceph-${type}`, ['-f', '-i', id, ...args], {
      cwd,
      env,
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    child.unref();
    this.#child = child;
    this.#exit = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#child = undefined;
        if (code !== 0 && signal !== 'SIGKILL') this.#crash = this.#lastWords();
        resolve();
      });
      child.once('error', ({ message }) => {
        this.#child = undefined;
        this.#crash = message;
        resolve();
      });
    });
  }

  /** Sends a signal; for one that ends the daemon, call `ended()` to wait for that. */
  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Settles when it stands still; `signal('SIGCONT')` lets it go on. */
  stopInPlace(): Promise<void> {
    return stopInPlace(this.pid);
  }

  /** Settles when the daemon is gone, at once if it is not running. */
  async ended(): Promise<void> {
    this.#child?.ref();
    await this.#exit;
  }

  /** Ends the daemon: the signal, and SIGKILL if it is still there after the grace. */
  async stop(signal: NodeJS.Signals, graceMs: number): Promise<void> {
    if (!this.running) return;
    this.signal(signal);
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), graceMs);
    await this.ended();
    clearTimeout(timer);
  }

  /** Asks the daemon itself over its admin socket, which costs no process and needs no quorum. */
  async ask(prefix: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const socket = createConnection(this.options.adminSocketPath);
    socket.write(`${JSON.stringify({ ...args, prefix, format: 'json' })}\0`);
    // A daemon that is paused accepts the connection, and says nothing.
    socket.setTimeout(ASK_TIMEOUT_MS, () => socket.destroy(new Error(`${this.name} is silent`)));
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    const reply = Buffer.concat(chunks);
    // A big-endian length, then the text; see AdminSocket::do_accept in common/admin_socket.cc.
    if (reply.length < 4 || reply.length - 4 !== reply.readUInt32BE(0)) {
      throw new Error(`${this.name} broke off its answer to '${prefix}'`);
    }
    const text = reply.toString('utf8', 4);
    if (text.startsWith('ERROR: ')) throw new Error(`${this.name}: ${prefix}: ${text}`);
    return JSON.parse(text);
  }

  /** Polls `ask(prefix)` until the answer satisfies; fails early if the daemon ends. */
  async waitFor(
    prefix: string,
    satisfied: (answer: Record<string, unknown>) => boolean,
    timeoutMs = 60_000,
  ): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    let last: unknown;
    while (Date.now() < deadline) {
      if (!this.running) throw new Error(`${this.name} ended: ${this.#crash ?? this.#lastWords()}`);
      try {
        last = await this.ask(prefix);
        if (satisfied(last as Record<string, unknown>)) return;
      } catch (error) {
        last = error;
      }
      await sleep(50);
    }
    throw new Error(
      `${this.name}: '${prefix}' did not settle in ${timeoutMs} ms: ${describe(last)}`,
    );
  }

  #lastWords(): string {
    const lines = readFileSync(this.options.outputPath, 'utf8').trim().split('\n');
    const assertion = lines.find((line) => /FAILED ceph_assert|Caught signal/.test(line));
    return assertion ?? lines.slice(-5).join('\n');
  }
}

/**
 * Ends every process of the cluster and removes its directory, when `reap` is called or when this
 * process is gone, however it went: the reaper waits for the end of a pipe that only we hold.
 */
export class Reaper {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(confPath: string, dir: string) {
    // A session of its own, so that the Ctrl-C which ends the tests does not end the reaper.
    this.#child = spawn('/bin/sh', ['-c', REAP, 'reaper', confPath, dir], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
      env: { PATH: process.env['PATH'] },
    });
    this.#ended = once(this.#child, 'exit');
    this.#child.unref();
    // The pipe is a socket for Node, and would keep the event loop alive as well.
    (this.#child.stdin as unknown as { unref(): void }).unref();
  }

  async reap(): Promise<void> {
    this.#child.ref();
    this.#child.stdin?.end();
    await this.#ended;
  }
}

// A killed process stays for a moment, and may still write: look again until none is left.
const REAP = `
cat
for round in $(seq 200); do
  pids=$(grep -lszxF "CEPH_CONF=$1" /proc/[0-9]*/environ | cut -d/ -f3)
  [ -n "$pids" ] || break
  kill -KILL $pids
  sleep 0.02
done
rm -rf "$2"
`;

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function describe(value: unknown): string {
  return value instanceof Error ? value.message : JSON.stringify(value);
}

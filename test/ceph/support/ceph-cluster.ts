// A throwaway Ceph cluster of real daemons on loopback: monitors and memstore OSDs, everything in
// one temporary directory, gone when it is stopped or when the process that started it ends.
// Needs Debian's ceph-mon, ceph-osd and ceph-common; no manager, no systemd, no container engine.

import { randomUUID } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, it } from 'vitest';
import { type ClaimedPorts, claimPorts } from '../../support/ports.js';
import {
  type CephClusterOptions,
  cephConf,
  HOST,
  type PoolOptions,
  radosClassesDir,
} from './ceph-conf.js';
import {
  Daemon,
  Reaper,
  type RunOptions,
  type RunResult,
  runOrThrow,
  runProcess,
  sleep,
} from './processes.js';

interface OsdDump {
  readonly epoch: number;
  readonly pools: readonly { readonly pool: number; readonly pg_num: number }[];
  readonly osds: readonly { readonly up: 0 | 1; readonly in: 0 | 1 }[];
}

interface PgQuery {
  /** Words joined by `+`, such as `active+undersized+degraded`. */
  readonly state: string;
  readonly epoch: number;
}

const STOP_GRACE_MS = 20_000;

export type { CephClusterOptions, PoolOptions };

export class CephCluster {
  readonly confPath: string;
  /** Holds `client.admin`, the monitors' and the OSDs' keys. */
  readonly keyringPath: string;
  readonly fsid: string = randomUUID();
  /** One per monitor, as `mon host` has them: `[v2:127.0.0.1:P,v1:127.0.0.1:Q]`. */
  readonly monAddrs: readonly string[];

  readonly #options: Required<CephClusterOptions>;
  /** The monitors'. Kept while one of them is down, too. */
  readonly #claimed: ClaimedPorts;
  readonly #env: NodeJS.ProcessEnv;
  readonly #mons: readonly Daemon[];
  readonly #osds: readonly Daemon[];
  readonly #reaper: Reaper;

  static async start(options: CephClusterOptions = {}): Promise<CephCluster> {
    const resolved = {
      osds: 3,
      mons: 1,
      auth: 'cephx' as const,
      size: 1,
      minSize: 1,
      pools: [{ name: 'rbd', pgNum: 8 }],
      conf: '',
      osdConf: '',
      ...options,
    };
    const dir = await mkdtemp(join(tmpdir(), 'linger-ceph-'));
    const cluster = new CephCluster(dir, resolved, await claimPorts(2 * resolved.mons));
    try {
      await cluster.#bringUp();
      return cluster;
    } catch (error) {
      await cluster.stop().catch(() => {}); // a crash would only say the same again
      throw error;
    }
  }

  private constructor(
    readonly dir: string,
    options: Required<CephClusterOptions>,
    claimed: ClaimedPorts,
  ) {
    this.#options = options;
    this.#claimed = claimed;
    this.confPath = join(dir, 'ceph.conf');
    this.keyringPath = join(dir, 'keyring');
    // In order, because monitors rank by address: `mon.a` is to be the first leader.
    const { ports } = claimed;
    this.monAddrs = Array.from(
      { length: options.mons },
      (_, i) => `[v2:${HOST}:${ports[2 * i]},v1:${HOST}:${ports[2 * i + 1]}]`,
    );
    this.#env = { ...process.env, CEPH_CONF: this.confPath, CEPH_ARGS: undefined };
    this.#mons = Array.from({ length: options.mons }, (_, i) => this.#daemon(`mon.${monId(i)}`));
    this.#osds = Array.from({ length: options.osds }, (_, i) => this.#daemon(`osd.${i}`));
    this.#reaper = new Reaper(this.confPath, dir);
  }

  /** Runs a tool with this cluster's configuration (CEPH_CONF); the exit code is in the result. */
  run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return runProcess(command, args, { ...options, env: { ...this.#env, ...options.env } });
  }

  /** As `run`, but a failure throws with the tool's stderr in the message. */
  runOrThrow(
    command: string,
    args: readonly string[],
    options: RunOptions = {},
  ): Promise<RunResult> {
    return runOrThrow(command, args, { ...options, env: { ...this.#env, ...options.env } });
  }

  /** `ceph ARGS` as `client.admin`: its stdout. Throws on failure, as `rbd` and `rados` do. */
  async ceph(...args: string[]): Promise<string> {
    return (await this.runOrThrow('ceph', args)).stdout;
  }

  async rbd(...args: string[]): Promise<string> {
    return (await this.runOrThrow('rbd', args)).stdout;
  }

  async rados(...args: string[]): Promise<string> {
    return (await this.runOrThrow('rados', args)).stdout;
  }

  /** Asks one daemon over its admin socket: `askDaemon('osd.0', 'dump_watchers')`. */
  askDaemon(
    name: string,
    prefix: string,
    args: Readonly<Record<string, unknown>> = {},
  ): Promise<unknown> {
    const daemon = [...this.#mons, ...this.#osds].find((each) => each.name === name);
    if (!daemon) throw new Error(`no daemon ${name} in this cluster`);
    return daemon.ask(prefix, args);
  }

  /** Of its monitors, then its OSDs, as far as they run. */
  get pids(): number[] {
    return [...this.#mons, ...this.#osds].filter(({ running }) => running).map(({ pid }) => pid);
  }

  osdPid(n: number): number {
    return this.#osd(n).pid;
  }

  /**
   * Sends a signal, and waits for the OSD's end, or, if it is one that only pauses it, until it stands still.
   * A memstore OSD that is killed has lost its data: what had no second copy is gone for good, and
   * its PGs of a pool of size 1 stay unavailable. `stopOsd` keeps the data. After another OSD has
   * come back, wait for `settled` first.
   */
  async killOsd(n: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const osd = this.#osd(n);
    if (signal === 'SIGSTOP') {
      await osd.stopInPlace();
      return;
    }
    osd.signal(signal);
    if (signal !== 'SIGCONT') await osd.ended();
  }

  /** Shuts an OSD down in order: it tells the monitors, and its store is kept for `startOsd`. */
  stopOsd(n: number): Promise<void> {
    return this.#osd(n).stop('SIGTERM', STOP_GRACE_MS);
  }

  /** Starts an OSD that was stopped or killed; settles when the monitors have it up. */
  async startOsd(n: number): Promise<void> {
    const osd = this.#osd(n);
    osd.start();
    await osdUp(osd);
  }

  /**
   * Settles when every PG is active with nothing left to peer or to recover: what one OSD has, the
   * others of its PGs have too. To be waited for between one OSD's return and the next one's end,
   * or PGs may go down with the only OSD that has the newest writes.
   */
  async settled(timeoutMs = 60_000): Promise<void> {
    const dump = JSON.parse(await this.ceph('osd', 'dump', '-f', 'json')) as OsdDump;
    const { epoch, pools, osds } = dump;
    const whole = osds.every((osd) => osd.up === 1 && osd.in === 1);
    const pending = new Map<string, string>();
    for (const { pool, pg_num } of pools) {
      for (let seed = 0; seed < pg_num; seed++)
        pending.set(`${pool}.${seed.toString(16)}`, 'unknown');
    }
    const deadline = Date.now() + timeoutMs;
    while (pending.size > 0) {
      const crashes = this.#crashes();
      if (crashes) throw new Error(crashes);
      if (Date.now() > deadline) {
        const states = [...pending].map(([pgid, state]) => `${pgid} ${state}`);
        throw new Error(`PGs not settled after ${timeoutMs} ms: ${states.join(', ')}`);
      }
      await Promise.all(
        [...pending.keys()].map(async (pgid) => {
          const pg = await this.#queryPg(pgid);
          if (pg) pending.set(pgid, pg.state);
          if (pg && pg.epoch >= epoch && isSettled(pg.state, whole)) pending.delete(pgid);
        }),
      );
      if (pending.size > 0) await sleep(50);
    }
  }

  /** Without a manager nobody has the PGs' states but their primaries; the others refuse. */
  async #queryPg(pgid: string): Promise<PgQuery | undefined> {
    const running = this.#osds.filter((osd) => osd.running);
    const query = (osd: Daemon) => osd.ask('pg', { pgid, cmd: 'query' }) as Promise<PgQuery>;
    const answers = await Promise.allSettled(running.map(query));
    return answers.find((answer) => answer.status === 'fulfilled')?.value;
  }

  /** Ends monitor `i` (0 is `mon.a`) the hard way; the others, if a majority, go on. */
  async killMon(i: number): Promise<void> {
    await this.#mon(i).stop('SIGKILL', 0);
  }

  /** Starts a killed monitor again; settles when it is back in the quorum. */
  async startMon(i: number): Promise<void> {
    const mon = this.#mon(i);
    mon.start();
    await inQuorum(mon);
  }

  /**
   * Creates a user, such as `createUser('client.app', { mon: 'profile rbd', osd: 'profile rbd' })`.
   * @returns the path of a keyring that holds this one key.
   */
  async createUser(name: string, caps: Readonly<Record<string, string>>): Promise<string> {
    const path = join(this.dir, `${name}.keyring`);
    await this.ceph('auth', 'get-or-create', name, ...Object.entries(caps).flat(), '-o', path);
    return path;
  }

  async addPool({ name, pgNum = 8, size, minSize, erasure }: PoolOptions): Promise<void> {
    const pgs = String(pgNum);
    if (erasure) {
      const profile = `${name}-profile`;
      const { k, m } = erasure;
      await this.ceph(
        ...['osd', 'erasure-code-profile', 'set', profile],
        ...[`k=${k}`, `m=${m}`, 'crush-failure-domain=osd'],
      );
      await this.ceph('osd', 'pool', 'create', name, pgs, pgs, 'erasure', profile);
      await this.ceph('osd', 'pool', 'set', name, 'allow_ec_overwrites', 'true');
      // Not `rbd pool init`: its rbd_info object needs omap, which erasure-coded pools lack.
      await this.ceph('osd', 'pool', 'application', 'enable', name, 'rbd');
    } else {
      const sizeArgs = size === undefined ? [] : [`--size=${size}`];
      await this.ceph('osd', 'pool', 'create', name, pgs, pgs, 'replicated', ...sizeArgs);
    }
    if (minSize !== undefined) {
      await this.ceph('osd', 'pool', 'set', name, 'min_size', String(minSize));
    }
    if (!erasure) await this.rbd('pool', 'init', name);
  }

  /**
   * Ends every process of this cluster, hung tools included, and removes the directory; safe to
   * call twice. Always by SIGKILL: an orderly end would first write out what is thrown away.
   * Then throws if a daemon had crashed, for whoever talked to it is to learn of that.
   */
  async stop(): Promise<void> {
    const daemons = [...this.#mons, ...this.#osds];
    await this.#reaper.reap();
    await Promise.all(daemons.map((daemon) => daemon.ended()));
    await this.#claimed[Symbol.asyncDispose]();
    const crashes = this.#crashes();
    if (crashes) throw new Error(crashes);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #bringUp(): Promise<void> {
    const { dir } = this;
    const osdUuids = this.#osds.map(() => randomUUID());
    await Promise.all([
      ...['run', 'log'].map((name) => mkdir(join(dir, name))),
      ...this.#mons.map((mon) => mkdir(join(dir, mon.name))),
      ...this.#osds.map((osd) => mkdir(join(dir, osd.name))),
      writeFile(this.confPath, cephConf(this, this.#options)),
    ]);
    await this.#createKeyrings();
    await Promise.all([
      this.#startMons(),
      ...this.#osds.map((osd, i) => {
        const uuid = osdUuids[i] as string;
        // Offline: the monitors may not be there yet.
        const args = ['-i', String(i), '--mkfs', '--osd-uuid', uuid, '--no-mon-config'];
        return this.runOrThrow(`ceph-osd`, args).then(() => osd);
      }),
    ]);
    // One session for all: `ceph` reads commands from stdin, in order, so that uuid i becomes osd.i.
    const created = await this.runOrThrow('ceph', [], {
      input: osdUuids.map((uuid) => `osd new ${uuid}\n`).join(''),
    });
    const ids = created.stdout.split('\n').filter((line) => /^\d+$/.test(line));
    if (ids.join() !== this.#osds.map((_, i) => i).join()) {
      throw new Error(`osd new: ${created.stdout}${created.stderr}`);
    }
    for (const osd of this.#osds) osd.start();
    await Promise.all(this.#osds.map(osdUp));
    // Only now, so that every PG is made where it stays.
    for (const pool of this.#options.pools) await this.addPool(pool);
    await this.settled();
  }

  /** The monitors' store is made from a keyring with every key, so no `auth add` is needed. */
  async #createKeyrings(): Promise<void> {
    const caps = (...pairs: [string, string][]) =>
      pairs.flatMap(([type, cap]) => ['--cap', type, cap]);
    const generate = (path: string, name: string, entityCaps: string[]) =>
      this.runOrThrow('ceph-authtool', ['-C', path, '--gen-key', '-n', name, ...entityCaps]);
    const osdCaps = caps(
      ['mon', 'allow profile osd'],
      ['osd', 'allow *'],
      ['mgr', 'allow profile osd'],
    );
    const adminCaps = caps(['mon', 'allow *'], ['osd', 'allow *'], ['mgr', 'allow *']);
    const parts = [
      { path: join(this.dir, 'mon.keyring'), name: 'mon.', caps: caps(['mon', 'allow *']) },
      { path: join(this.dir, 'admin.keyring'), name: 'client.admin', caps: adminCaps },
      ...this.#osds.map(({ name }) => ({
        path: join(this.dir, name, 'keyring'),
        name,
        caps: osdCaps,
      })),
    ];
    await Promise.all(parts.map((part) => generate(part.path, part.name, part.caps)));
    const texts = await Promise.all(parts.map((part) => readFile(part.path, 'utf8')));
    await writeFile(this.keyringPath, texts.join(''), { mode: 0o600 });
  }

  async #startMons(): Promise<void> {
    const monmap = join(this.dir, 'monmap');
    const addrs = this.monAddrs.flatMap((addr, i) => ['--addv', monId(i), addr]);
    await this.runOrThrow('monmaptool', ['--create', '--fsid', this.fsid, ...addrs, monmap]);
    await Promise.all(
      this.#mons.map(async (mon, i) => {
        const mkfs = ['--mkfs', '-i', monId(i), '--monmap', monmap, '--keyring', this.keyringPath];
        await this.runOrThrow('ceph-mon', mkfs);
        mon.start();
      }),
    );
    await Promise.all(this.#mons.map(inQuorum));
  }

  #daemon(name: string): Daemon {
    return new Daemon(name, {
      // CEPH_CONF says the same; in the arguments, `ps` shows whose daemon it is.
      args: ['-c', this.confPath],
      cwd: this.dir,
      env: this.#env,
      outputPath: join(this.dir, 'log', `${name}.out`),
      adminSocketPath: join(this.dir, 'run', `${name}.asok`),
    });
  }

  #crashes(): string | undefined {
    const crashed = [...this.#mons, ...this.#osds].filter(({ crash }) => crash !== undefined);
    if (crashed.length === 0) return undefined;
    return crashed.map(({ name, crash }) => `${name} crashed: ${crash}`).join('\n');
  }

  #osd(n: number): Daemon {
    const osd = this.#osds[n];
    if (!osd) throw new Error(`no osd.${n} in this cluster`);
    return osd;
  }

  #mon(i: number): Daemon {
    const mon = this.#mons[i];
    if (!mon) throw new Error(`no monitor ${i} in this cluster`);
    return mon;
  }
}

/** The Ceph binaries that a cluster needs are installed. */
export function cephAvailable(): boolean {
  const path = (process.env['PATH'] ?? '').split(delimiter);
  const installed = (name: string) => path.some((dir) => executable(join(dir, name)));
  const needed = ['ceph', 'rbd', 'rados', 'ceph-mon', 'ceph-osd', 'ceph-authtool', 'monmaptool'];
  return needed.every(installed) && radosClassesDir() !== undefined;
}

/**
 * A suite against real daemons. Without Ceph it is skipped, loudly; with LINGER_REQUIRE_CEPH=1 in
 * the environment, as continuous integration sets it, it fails instead.
 */
export function describeCeph(name: string, suite: () => void): void {
  if (cephAvailable()) {
    describe(name, suite);
  } else if (process.env['LINGER_REQUIRE_CEPH'] === '1') {
    describe(name, () => {
      it('finds the Ceph daemons and tools', () => {
        throw new Error(
          'LINGER_REQUIRE_CEPH=1, but ceph-mon, ceph-osd and ceph-common are missing',
        );
      });
    });
  } else {
    console.warn(`SKIPPED: ${name}: needs Debian's ceph-mon, ceph-osd and ceph-common`);
    describe.skip(name, suite);
  }
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function monId(i: number): string {
  return String.fromCharCode('a'.charCodeAt(0) + i);
}

/**
 * Whether a PG is in a state that lasts. While an OSD is down or out, copies may be missing for good; when all are
 * there, a PG that says so has only not begun to recover.
 */
function isSettled(pgState: string, whole: boolean): boolean {
  const words = pgState.split('+');
  const lasting = ['active', 'clean', 'snaptrim', 'snaptrim_wait'];
  if (!whole) lasting.push('undersized', 'degraded', 'remapped');
  return (
    words.includes(whole ? 'clean' : 'active') && words.every((word) => lasting.includes(word))
  );
}

function osdUp(osd: Daemon): Promise<void> {
  return osd.waitFor('status', ({ state }) => state === 'active');
}

function inQuorum(mon: Daemon): Promise<void> {
  return mon.waitFor('mon_status', ({ state }) => state === 'leader' || state === 'peon');
}

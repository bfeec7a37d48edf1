/**
 * What happens to real daemons and their clients meanwhile: signals, orderly restarts, wrong word of the monitor, and the
 * failures that Ceph's own messenger injects on request.
 *
 * OSDs go away one at a time, and the next one only when nothing is left to recover: memstore OSDs have no disk.
 */

import type { Draw } from '../../src/sim/random.js';
import type { CephCluster } from '../../test/ceph/support/ceph-cluster.js';
import type { RealHabitat } from './real-habitat.js';

export interface RealScene {
  readonly cluster: CephCluster;
  readonly habitat: RealHabitat;
  readonly osds: number;
  readonly draw: Draw;
}

interface RealFault {
  /** Needs an OSD for itself: not while another one is away. */
  readonly takesOsd?: boolean;
  /** Milliseconds that it stays at most. */
  readonly maxMs: number;
  /** Brings it about, and says how to undo it. Undefined: nothing to disturb. */
  readonly begin: (scene: RealScene) => Promise<(() => Promise<void>) | undefined>;
}

const osdOf = ({ draw, osds }: RealScene) => draw.int(0, osds - 1);

function clientOf({ draw, habitat }: RealScene) {
  const clients = habitat.clients.filter(({ isWorking }) => isWorking);
  return clients.length > 0 ? draw.pick(clients) : undefined;
}

/** Of a running OSD, by its admin socket. */
async function setOption({ cluster }: RealScene, osd: number, name: string, value: string) {
  await cluster.askDaemon(`osd.${osd}`, 'config set', { var: name, val: [value] });
  return true;
}

const faults = {
  'osd.restart': {
    takesOsd: true,
    maxMs: 10_000,
    begin: async (scene) => {
      const osd = osdOf(scene);
      await scene.cluster.stopOsd(osd);
      return () => scene.cluster.startOsd(osd);
    },
  },
  'osd.pause': {
    takesOsd: true,
    maxMs: 25_000,
    begin: async (scene) => {
      const osd = osdOf(scene);
      await scene.cluster.killOsd(osd, 'SIGSTOP');
      return () => scene.cluster.killOsd(osd, 'SIGCONT');
    },
  },
  'osd.wrongly-down': {
    takesOsd: true,
    maxMs: 0,
    begin: async (scene) => {
      await scene.cluster.ceph('osd', 'down', String(osdOf(scene)));
      return async () => {};
    },
  },
  'osd.out': {
    takesOsd: true,
    maxMs: 10_000,
    begin: async (scene) => {
      const osd = String(osdOf(scene));
      await scene.cluster.ceph('osd', 'out', osd);
      return async () => void (await scene.cluster.ceph('osd', 'in', osd));
    },
  },
  'mon.pause': {
    maxMs: 10_000,
    begin: async ({ cluster }) => {
      const [mon] = cluster.pids;
      if (mon === undefined) return undefined;
      process.kill(mon, 'SIGSTOP');
      return async () => void process.kill(mon, 'SIGCONT');
    },
  },
  'tcp.failures': {
    maxMs: 15_000,
    begin: async (scene) => {
      const oneIn = String(scene.draw.int(20, 500));
      const osd = osdOf(scene);
      // One that is away has no socket, and forgets what it was told.
      const set = (value: string) =>
        setOption(scene, osd, 'ms_inject_socket_failures', value).catch(() => false);
      return (await set(oneIn)) ? async () => void (await set('0')) : undefined;
    },
  },
  'client.killed': {
    maxMs: 0,
    begin: async (scene) => {
      const client = clientOf(scene);
      if (!client) return undefined;
      client.kill();
      return async () => {};
    },
  },
  'client.blocklisted': {
    maxMs: 15_000,
    begin: async (scene) => {
      const addr = await clientOf(scene)?.addr();
      if (addr === undefined) return undefined;
      await scene.cluster.ceph('osd', 'blocklist', 'add', addr, '600');
      return async () => void (await scene.cluster.ceph('osd', 'blocklist', 'rm', addr));
    },
  },
} satisfies Record<string, RealFault>;

export type RealFaultName = keyof typeof faults;
export const REAL_FAULTS: Readonly<Record<RealFaultName, RealFault>> = faults;
export const REAL_FAULT_NAMES = Object.keys(faults) as RealFaultName[];

const BETWEEN_MS = { min: 500, max: 6000 };

/** One fault after the other, some at the same time, until it is stopped. */
export class RealNemesis {
  readonly fired: Partial<Record<RealFaultName, number>> = {};
  readonly #scene: RealScene;
  readonly #trace: (line: string) => void;
  readonly #standing = new Set<Promise<void>>();
  #isOsdAway = false;
  #over = false;
  #stop: () => void = () => {};
  readonly #stopped = new Promise<void>((resolve) => {
    this.#stop = resolve;
  });

  constructor(scene: RealScene, trace: (line: string) => void) {
    this.#scene = scene;
    this.#trace = trace;
  }

  /** Rejects with what went wrong with a fault itself. */
  async run(): Promise<void> {
    const { draw } = this.#scene;
    while (!this.#over) {
      await this.#pause(draw.logarithmic(BETWEEN_MS.min, BETWEEN_MS.max));
      if (this.#over) break;
      const name = draw.pick(REAL_FAULT_NAMES);
      const { takesOsd = false, maxMs } = REAL_FAULTS[name];
      if (takesOsd && this.#isOsdAway) continue;
      const forMs = maxMs === 0 ? 0 : draw.logarithmic(100, maxMs);
      const standing = this.#disturb(name, forMs).finally(() => this.#standing.delete(standing));
      this.#standing.add(standing);
      // Its failure is told by `stop`; until then nobody listens.
      standing.catch(() => this.#standing.add(standing));
    }
    await Promise.all(this.#standing);
  }

  /** Everything is undone sooner. */
  stop(): void {
    this.#over = true;
    this.#stop();
  }

  async #disturb(name: RealFaultName, forMs: number): Promise<void> {
    const { takesOsd = false, begin } = REAL_FAULTS[name];
    if (takesOsd) this.#isOsdAway = true;
    try {
      const undo = await begin(this.#scene);
      if (!undo) return;
      this.fired[name] = (this.fired[name] ?? 0) + 1;
      this.#trace(`fault ${name}${forMs > 0 ? ` for ${forMs.toFixed(0)} ms` : ''}`);
      await this.#pause(forMs);
      await undo();
      if (takesOsd) await this.#scene.cluster.settled();
      this.#trace(`fault ${name} is over`);
    } finally {
      if (takesOsd) this.#isOsdAway = false;
    }
  }

  #pause(ms: number): Promise<void> {
    return Promise.race([this.#scene.habitat.sleep(ms), this.#stopped]);
  }
}

/** Writes a run down as a timeline. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { BlockDevice } from '../../block/device.js';
import { OSD_CHANNEL, type OsdDaemon } from '../../cluster/osd-daemon.js';
import type { OsdMap } from '../../osdmap/osdmap.js';
import { describeOp, type History, type Op } from '../checkers/history.js';
import type { Violation } from '../checkers/violation.js';
import type { SimFaultName } from '../faults/catalogue.js';
import type { RunPlan } from '../plan.js';
import type { RunReport } from '../run.js';
import type { SimulatedClient, Simulation } from '../simulation.js';
import type { WorkloadClient } from '../workloads/habitat.js';
import { LockOwners } from './lock-owners.js';
import { Lanes, type Mark, type Timeline } from './timeline.js';
import type { RunWitness } from './witness.js';

interface WatchedClient {
  readonly client: SimulatedClient;
  life: Mark | undefined;
  /** Of the image that it has mapped: the watch, or the lack of it. */
  watch: Mark | undefined;
}

export class RunRecorder implements RunWitness {
  readonly #lanes = new Lanes(() => this.#simulation?.now ?? 0);
  /** The newest daemon of each id, and its life. */
  readonly #osds = new Map<number, { osd: OsdDaemon; life: Mark }>();
  readonly #clients = new Map<string, WatchedClient>();
  readonly #lockOwners = new LockOwners((image, nonce) => this.#onOwner(image, nonce));
  /** Those that the map has as down. */
  readonly #down = new Map<number, Mark>();
  readonly #held = new Map<string, Mark>();
  /** Whose lock it is turns out when its client has told its address. */
  readonly #owned: { readonly mark: Mark; readonly nonce: number }[] = [];
  readonly #names = new Map<number, string>();
  #simulation: Simulation | undefined;
  #map: OsdMap | undefined;
  #phase: Mark | undefined;

  watch(): () => void {
    const onOsd = (message: unknown) => this.#follow(message as OsdDaemon);
    subscribe(OSD_CHANNEL, onOsd);
    return () => unsubscribe(OSD_CHANNEL, onOsd);
  }

  onStart(simulation: Simulation): void {
    this.#simulation = simulation;
    simulation.world.onStep = () => this.#look(simulation);
  }

  onPhase(name: string): void {
    this.#lanes.end(this.#phase);
    this.#phase = this.#lanes.begin('Run', 'phase', { kind: 'phase', label: name });
  }

  onFault(kind: SimFaultName, forMs: number): () => void {
    const fault = { kind: 'fault', label: kind } as const;
    if (forMs === 0) {
      this.#lanes.point('Faults', kind, fault);
      return () => {};
    }
    const mark = this.#lanes.begin('Faults', kind, { ...fault, detail: `for ${forMs} ms` });
    return () => this.#lanes.end(mark);
  }

  onMapped({ name }: WorkloadClient, device: BlockDevice): void {
    const watched = this.#clients.get(name);
    if (!watched) return;
    const nonce = Number(/\/(\d+)$/.exec(device.attributes.clientAddr)?.[1]);
    this.#names.set(nonce, name);
    const turn = (mark: Omit<Mark, 'from' | 'to'>) => {
      this.#lanes.end(watched.watch);
      watched.watch = this.#lanes.begin('Watches', name, mark);
    };
    turn({ kind: 'watched', label: 'registered' });
    device.on('watch-error', ({ message }) =>
      turn({ kind: 'lost', label: 'lost', detail: message }),
    );
    device.on('watch-restored', () => turn({ kind: 'watched', label: 'registered again' }));
    device.on('close', () => this.#lanes.end(watched.watch));
  }

  onViolation({ checker, message, ops = [] }: Violation): void {
    const detail = [message, ...ops].join('\n');
    this.#lanes.point('Run', 'violations', { kind: 'violation', label: checker, detail });
  }

  onEnd({ ops }: History): void {
    for (const op of ops) this.#lanes.add('Operations', op.client, markOf(op));
  }

  timeline(plan: RunPlan, report: RunReport): Timeline {
    for (const { mark, nonce } of this.#owned) mark.label = this.#names.get(nonce) ?? `/${nonce}`;
    const { steps, faults, ...rest } = plan;
    return {
      plan: { ...rest, steps: steps.length, faults: faults.length },
      report,
      lanes: this.#lanes.finish(),
    };
  }

  #follow(osd: OsdDaemon): void {
    const id = osd.whoami;
    this.#lanes.end(this.#osds.get(id)?.life);
    const life = this.#lanes.begin('OSDs', `osd.${id}`, { kind: 'up', label: 'runs' });
    this.#osds.set(id, { osd, life });
    this.#lockOwners.follow(osd);
  }

  /** After every event: what is the same as before is nothing to write down. */
  #look(simulation: Simulation): void {
    for (const { osd, life } of this.#osds.values()) {
      if (!osd.alive) this.#lanes.end(life, 'ended');
      else if (osd.epoch > (this.#map?.epoch ?? 0)) this.#onMap(osd.view.map);
    }
    for (const client of simulation.clients) {
      const watched = this.#clients.get(client.name);
      if (!watched) this.#clients.set(client.name, { client, life: undefined, watch: undefined });
      else this.#lookAt(watched);
    }
  }

  #lookAt(watched: WatchedClient): void {
    const { client, life } = watched;
    if (client.isWorking && !life) {
      const begun = { kind: 'lives', label: 'connected' } as const;
      watched.life = this.#lanes.begin('Clients', client.name, begun);
    } else if (!client.isWorking && life) {
      this.#lanes.end(life, client.alive ? 'closed' : 'died');
      this.#lanes.end(watched.watch);
    }
  }

  /** The first OSD that has a map has it a moment after the monitor made it. */
  #onMap(map: OsdMap): void {
    const before = this.#map;
    this.#map = map;
    const changes: string[] = [];
    for (let id = 0; id < map.maxOsd; id++) {
      if (before?.isUp(id) === map.isUp(id)) continue;
      if (before) changes.push(`osd.${id} is ${map.isUp(id) ? 'up' : 'down'}`);
      if (before && !map.isUp(id)) {
        const down = { kind: 'down', label: 'down in the map' } as const;
        this.#down.set(id, this.#lanes.begin('OSDs', `osd.${id}`, down));
      } else this.#lanes.end(this.#down.get(id));
    }
    const detail = changes.join(', ');
    this.#lanes.point('Monitor', 'osdmap', {
      kind: 'epoch',
      label: `epoch ${map.epoch}`,
      ...(detail ? { detail } : {}),
    });
  }

  #onOwner(image: string, nonce: number | undefined): void {
    this.#lanes.end(this.#held.get(image));
    this.#held.delete(image);
    if (nonce === undefined) return;
    const mark = this.#lanes.begin('Exclusive lock', image, { kind: 'held', label: '' });
    this.#held.set(image, mark);
    this.#owned.push({ mark, nonce });
  }
}

function markOf(op: Op): Mark {
  const { kind, end = 'unknown', startedAt, endedAt, snap } = op;
  return {
    kind: end,
    from: startedAt,
    ...(endedAt === undefined ? {} : { to: endedAt }),
    label: snap === undefined ? kind : `${kind} @${snap}`,
    detail: describeOp(op),
  };
}

/**
 * What the clients of a run do, as data: how many there are, on what kind of image, and how often each does what. The seed
 * draws the rest; `docs/simulation.md` has the table.
 */

import type { Layer } from '../faults/catalogue.js';
import type { Draw } from '../random.js';
import type { ActionName } from './actions/actions.js';

export type Mix = Readonly<Partial<Record<ActionName, number>>>;

export interface WorkloadKind {
  /** For people. */
  readonly summary: string;
  readonly clients: { readonly min: number; readonly max: number };
  /** Mean pause between two steps of one lane, in virtual milliseconds. */
  readonly thinkMs: { readonly min: number; readonly max: number };
  /** The image is one of these. */
  readonly features: readonly (readonly string[])[];
  /** Of its objects; 14 to 18 by default. */
  readonly order?: { readonly min: number; readonly max: number };
  /** Drawn only when it is asked for: the seeds of the others stay what they are. */
  readonly onRequest?: true;
  /** The image may be a clone. */
  readonly mayBeClone?: boolean;
  /** Faults of these happen every few seconds, besides those that a run has by chance. */
  readonly faults?: readonly Layer[];
  /** How often a step is each of these. */
  readonly mix: (draw: Draw) => Mix;
}

const PLAIN = ['layering'];
const LOCKED = ['layering', 'exclusive-lock'];
const MAPPED = ['layering', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten'];
const CLIENTS = { min: 1, max: 4 };
const THINK_MS = { min: 400, max: 8000 };
/** What is done to whole images costs many requests. */
const LONG_THINK_MS = { min: 800, max: 8000 };

function io(draw: Draw): Mix {
  return {
    read: draw.int(2, 8),
    write: draw.int(4, 8),
    writeZeroes: draw.int(0, 2),
    discard: draw.int(0, 2),
    compareAndWrite: draw.int(0, 2),
    flush: draw.int(0, 1),
  };
}

function snapshots(draw: Draw): Mix {
  return {
    snapCreate: draw.int(2, 4),
    snapRead: draw.int(1, 3),
    snapRemove: draw.int(0, 2),
    snapRename: draw.int(0, 2),
    snapProtect: draw.int(0, 2),
    rollback: draw.int(0, 2),
  };
}

function clones(draw: Draw): Mix {
  return {
    clone: draw.int(1, 2),
    useClone: draw.int(1, 4),
    flatten: draw.int(0, 1),
    removeClone: draw.int(0, 1),
  };
}

function maintenance(draw: Draw): Mix {
  return {
    snapCreate: draw.int(1, 2),
    snapRemove: draw.int(0, 1),
    resize: draw.int(1, 2),
    flatten: draw.int(0, 2),
    rename: draw.int(0, 2),
    setMetadata: draw.int(0, 2),
    getMetadata: draw.int(0, 2),
    rebuildObjectMap: draw.int(0, 2),
    sparsify: draw.int(0, 1),
  };
}

const kinds = {
  block: {
    summary: 'reads, writes, zeros, discards, flushes of any place and length',
    clients: CLIENTS,
    thinkMs: THINK_MS,
    features: [PLAIN, LOCKED, MAPPED],
    mix: io,
  },
  snapshots: {
    summary:
      'snapshots and clones made, read, renamed, rolled back to, flattened, removed under I/O',
    clients: CLIENTS,
    thinkMs: LONG_THINK_MS,
    features: [LOCKED, MAPPED],
    mayBeClone: true,
    mix: (draw) => ({ ...io(draw), ...snapshots(draw), ...clones(draw) }),
  },
  resize: {
    summary: 'the image grows and shrinks under I/O',
    clients: CLIENTS,
    thinkMs: THINK_MS,
    features: [LOCKED, MAPPED],
    mayBeClone: true,
    mix: (draw) => ({ ...io(draw), resize: draw.int(2, 5), snapCreate: 1, snapRead: 1 }),
  },
  lock: {
    summary: 'clients that take the exclusive lock from one another, that die and that sleep',
    clients: { min: 2, max: 4 },
    thinkMs: { min: 400, max: 4000 },
    features: [LOCKED, MAPPED],
    faults: ['lock', 'client'],
    mix: (draw) => ({ ...io(draw), leave: draw.int(0, 1) }),
  },
  maintenance: {
    summary: 'maintenance by clients that do not own the lock, while owners change',
    clients: { min: 2, max: 4 },
    thinkMs: LONG_THINK_MS,
    features: [LOCKED, MAPPED, MAPPED],
    mayBeClone: true,
    faults: ['lock', 'watch'],
    mix: (draw) => ({ ...io(draw), ...maintenance(draw), leave: draw.int(0, 1) }),
  },
  watch: {
    summary: 'watch errors every few seconds, under I/O, resizes and snapshots',
    clients: { min: 1, max: 3 },
    thinkMs: { min: 200, max: 2000 },
    features: [PLAIN, LOCKED],
    faults: ['watch'],
    mix: (draw) => ({ ...io(draw), resize: draw.int(0, 1), snapCreate: draw.int(0, 1) }),
  },
  objects: {
    summary: 'whole objects written, discarded, made sparse under I/O, and calls that are given up',
    clients: { min: 1, max: 3 },
    thinkMs: { min: 200, max: 2000 },
    features: [PLAIN, LOCKED, MAPPED],
    order: { min: 14, max: 15 },
    onRequest: true,
    mix: (draw) => ({
      ...io(draw),
      writeObject: draw.int(1, 2),
      discardObject: draw.int(2, 6),
      giveUp: draw.int(2, 6),
      sparsify: draw.int(0, 2),
    }),
  },
  headers: {
    summary: 'snapshots come and go while watches fail, and nobody has an exclusive lock',
    clients: { min: 2, max: 4 },
    thinkMs: { min: 200, max: 2000 },
    features: [PLAIN],
    faults: ['watch'],
    onRequest: true,
    mix: (draw) => ({
      ...io(draw),
      snapCreate: draw.int(1, 2),
      snapRemove: draw.int(1, 2),
    }),
  },
  mixed: {
    summary: 'anything of the others',
    clients: CLIENTS,
    thinkMs: LONG_THINK_MS,
    features: [LOCKED, MAPPED],
    mayBeClone: true,
    mix: (draw) => ({
      ...{ ...io(draw), ...snapshots(draw), ...clones(draw), ...maintenance(draw) },
      leave: draw.int(0, 1),
    }),
  },
} satisfies Record<string, WorkloadKind>;

export type WorkloadName = keyof typeof kinds;
export const WORKLOADS: Readonly<Record<WorkloadName, WorkloadKind>> = kinds;
export const WORKLOAD_NAMES = Object.keys(kinds) as WorkloadName[];
/** Those that a run draws from when nobody says which. */
export const DEFAULT_WORKLOAD_NAMES = WORKLOAD_NAMES.filter((name) => !WORKLOADS[name].onRequest);

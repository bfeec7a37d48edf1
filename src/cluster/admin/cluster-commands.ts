/** What a cluster answers at its own admin socket: above all its faults. */

import { RadosError } from '../../base/errors.js';
import type { FaultControl, FaultSpec } from '../faults/fault-spec.js';
import type { Json } from '../mon/formatter.js';
import { type AdminCommand, AdminCommands, intArg } from './admin-command.js';

export interface ClusterTarget {
  readonly faults: FaultControl;
}

const COMMANDS: readonly AdminCommand<ClusterTarget>[] = [
  {
    prefix: 'fault arm',
    args: [
      { name: 'kind', type: 'CephString' },
      { name: 'options', type: 'CephString', optional: true },
    ],
    help: 'put a fault in place: its kind, and its options as JSON',
    run: async ({ faults }, { kind, options }) => {
      const id = await faults.arm({ kind, options: optionsOf(options) } as FaultSpec);
      return { id };
    },
  },
  {
    prefix: 'fault ls',
    help: 'show the faults that are in place',
    run: async ({ faults }) =>
      (await faults.active()).map(({ id, kind, fired, over }) => ({ id, kind, fired, over })),
  },
  {
    prefix: 'fault stop',
    args: [{ name: 'id', type: 'CephInt' }],
    help: 'undo a fault',
    run: async ({ faults }, args) => {
      const id = intArg(args, 'id');
      const fired = await faults.fired(id);
      await faults.stop(id);
      return { id, fired };
    },
  },
  {
    prefix: 'fault clear',
    help: 'undo all faults',
    run: async ({ faults }) => {
      const stopped = (await faults.active()).length;
      await faults.clear();
      return { stopped };
    },
  },
  {
    prefix: 'fault counters',
    help: 'show how often faults of each kind have acted',
    run: async ({ faults }) => ({ ...(await faults.counters()) }),
  },
  {
    prefix: 'fault watches',
    help: 'show who watches what, to be hit',
    run: async ({ faults }) => (await faults.watches({})).map(definedOf),
  },
  {
    prefix: 'fault clients',
    help: 'show who is connected to which daemon, to be hit',
    run: async ({ faults }) => (await faults.clients()).map(definedOf),
  },
];

export const CLUSTER_COMMANDS = new AdminCommands(COMMANDS);

/** A tool sends them as a text, a program as they are. */
function optionsOf(value: unknown): object {
  if (value === undefined) return {};
  const parsed = typeof value === 'string' ? parseJson(value) : value;
  if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed;
  throw new RadosError('EINVAL', "a fault's options are a JSON object", { op: 'fault arm' });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function definedOf(status: object): Json {
  return Object.fromEntries(
    Object.entries(status).filter(([, value]) => value !== undefined),
  ) as Json;
}

/** On `rbd_trash`. */

import { encodeWith, type Infer, map, since, string, struct, u8 } from '../../encoding/codec.js';
import { utime } from '../../encoding/types.js';
import { reads, writes } from './calls.js';

/** Why an image is in the trash. REMOVING: `rbd rm` passes through it. */
export const TRASH_SOURCE = {
  USER: 0,
  MIRRORING: 1,
  MIGRATION: 2,
  REMOVING: 3,
  USER_PARENT: 4,
} as const;
export const TRASH_STATE = { NORMAL: 0, MOVING: 1, REMOVING: 2, RESTORING: 3 } as const;

export const trashImageSpec = struct(
  'TrashImageSpec',
  { version: 2, compat: 1 },
  {
    source: u8,
    name: string,
    deletionTime: utime,
    defermentEndTime: utime,
    state: since(2, u8, () => TRASH_STATE.NORMAL as number),
  },
);
export type TrashImageSpec = Infer<typeof trashImageSpec>;

export const trashGet = (id: string) => reads('trash_get', trashImageSpec, (e) => e.string(id));
export const trashList = (startAfterId: string, max: number) =>
  reads('trash_list', map(string, trashImageSpec), (e) => e.string(startAfterId).u64n(max));
/** EEXIST: it is there already. */
export const trashAdd = (id: string, spec: TrashImageSpec) =>
  writes('trash_add', (e) => e.string(id).raw(encodeWith(trashImageSpec, spec)));
export const trashRemove = (id: string) => writes('trash_remove', (e) => e.string(id));
/** ESTALE unless the state is `expected`, or `state` already. */
export const trashStateSet = (id: string, state: number, expected: number) =>
  writes('trash_state_set', (e) => e.string(id).u8(state).u8(expected));

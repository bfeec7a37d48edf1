/** On `rbd_id.NAME` and `rbd_directory`: which image has which name. */

import { map, string } from '../../encoding/codec.js';
import { reads, writes } from './calls.js';

// ---- rbd_id.NAME ----

export const getId = () => reads('get_id', string);
/** The object must have been created, in the same request for example. EEXIST: it has an id. */
export const setId = (id: string) => writes('set_id', (e) => e.string(id));

// ---- rbd_directory ----

export const DIRECTORY_STATE = { READY: 0, ADD_DISABLED: 1 } as const;

export const dirGetId = (name: string) => reads('dir_get_id', string, (e) => e.string(name));
/** Also of a group, in `rbd_group_directory`. */
export const dirGetName = (id: string) => reads('dir_get_name', string, (e) => e.string(id));
/** Name to id, up to `max` after the name `startAfter`, in name order. */
export const dirList = (startAfter: string, max: number) =>
  reads('dir_list', map(string, string), (e) => e.string(startAfter).u64n(max));
/** EEXIST: the name is taken; EBADF: the id is. */
export const dirAddImage = (name: string, id: string) =>
  writes('dir_add_image', (e) => e.string(name).string(id));
/** ESTALE unless name and id belong together. */
export const dirRemoveImage = (name: string, id: string) =>
  writes('dir_remove_image', (e) => e.string(name).string(id));
export const dirRenameImage = (from: string, to: string, id: string) =>
  writes('dir_rename_image', (e) => e.string(from).string(to).string(id));
/** ENOENT unless the directory is in this state. A namespace's directory has one; the default namespace's has not. */
export const dirStateAssert = (state: number) => writes('dir_state_assert', (e) => e.u8(state));
/** ADD_DISABLED: EBUSY while images are in it. */
export const dirStateSet = (state: number) => writes('dir_state_set', (e) => e.u8(state));

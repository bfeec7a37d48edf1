/** Class `rbd`, from names to images and back: `rbd_id.NAME` and `rbd_directory`. */

import { u8 } from '../../../encoding/codec.js';
import { encode } from '../../../encoding/encoder.js';
import { byteString, latin1Bytes } from '../../byte-string.js';
import { ClassError, type ClassObject, readMethod, writeMethod } from '../class-registry.js';
import {
  decodeStored,
  entry,
  findKey,
  listKeys,
  readKey,
  requireExists,
  writeKey,
} from './values.js';

const NAME_PREFIX = 'name_';
const ID_PREFIX = 'id_';
const STATE_KEY = 'state';
const STATE = { READY: 0, ADD_DISABLED: 1 } as const;

export function isValidImageId(id: string): boolean {
  return /^[0-9A-Za-z]+$/.test(id);
}

const getId = readMethod((object) => {
  if (object.size === 0) throw new ClassError('ENOENT');
  const id = decodeStored(byteString, object.readAll());
  return encode((e) => e.blob(latin1Bytes(id)));
});

const setId = writeMethod((object, input) => {
  requireExists(object);
  const id = byteString.decode(input);
  if (!isValidImageId(id)) throw new ClassError('EINVAL');
  if (object.size !== 0) throw new ClassError('EEXIST');
  object.write(
    0,
    encode((e) => e.blob(latin1Bytes(id))),
  );
});

function checkMapping(object: ClassObject, name: string, id: string): void {
  const storedId = readKey(object, NAME_PREFIX + name, byteString);
  const storedName = readKey(object, ID_PREFIX + id, byteString);
  if (storedId !== id || storedName !== name) throw new ClassError('ESTALE');
}

function checkNewName(object: ClassObject, name: string, id: string): void {
  if (name === '' || !isValidImageId(id)) throw new ClassError('EINVAL');
  if (object.omapGet(NAME_PREFIX + name) !== undefined) throw new ClassError('EEXIST');
}

function addMapping(object: ClassObject, name: string, id: string): void {
  object.omapSet(
    entry(NAME_PREFIX + name, byteString, id),
    entry(ID_PREFIX + id, byteString, name),
  );
}

const dirAddImage = writeMethod((object, input) => {
  object.create(false);
  const name = byteString.decode(input);
  const id = byteString.decode(input);
  checkNewName(object, name, id);
  if (object.omapGet(ID_PREFIX + id) !== undefined) throw new ClassError('EBADF');
  addMapping(object, name, id);
});

const dirRemoveImage = writeMethod((object, input) => {
  const name = byteString.decode(input);
  const id = byteString.decode(input);
  checkMapping(object, name, id);
  object.omapRemove(NAME_PREFIX + name, ID_PREFIX + id);
});

const dirRenameImage = writeMethod((object, input) => {
  const from = byteString.decode(input);
  const to = byteString.decode(input);
  const id = byteString.decode(input);
  checkMapping(object, from, id);
  checkNewName(object, to, id);
  object.omapRemove(NAME_PREFIX + from, ID_PREFIX + id);
  addMapping(object, to, id);
});

const dirList = readMethod((object, input) => {
  const startAfter = byteString.decode(input);
  const images = listKeys(object, NAME_PREFIX, startAfter, input.u64());
  return encode((e) => {
    e.u32(images.length);
    for (const [name, bytes] of images) {
      e.blob(latin1Bytes(name)).blob(latin1Bytes(decodeStored(byteString, bytes)));
    }
  });
});

const lookUp = (prefix: string) =>
  readMethod((object, input) => {
    const value = readKey(object, prefix + byteString.decode(input), byteString);
    return encode((e) => e.blob(latin1Bytes(value)));
  });

const dirStateSet = writeMethod((object, input) => {
  const state = input.u8();
  if (state > STATE.ADD_DISABLED) throw new ClassError('EINVAL');
  if (state === STATE.ADD_DISABLED) {
    requireExists(object);
    if (listKeys(object, NAME_PREFIX, '', 1n).length > 0) throw new ClassError('EBUSY');
  }
  writeKey(object, STATE_KEY, u8, state);
});

export const directoryMethods = {
  get_id: getId,
  set_id: setId,
  dir_get_id: lookUp(NAME_PREFIX),
  dir_get_name: lookUp(ID_PREFIX),
  dir_list: dirList,
  dir_add_image: dirAddImage,
  dir_remove_image: dirRemoveImage,
  dir_rename_image: dirRenameImage,
  dir_state_assert: readMethod((object, input) => {
    if (findKey(object, STATE_KEY, u8) !== input.u8()) throw new ClassError('ENOENT');
  }),
  dir_state_set: dirStateSet,
};

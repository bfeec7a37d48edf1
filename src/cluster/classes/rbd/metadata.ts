/** Class `rbd`, image metadata: free keys and values of users, and `conf_` overrides. Values are stored raw. */

import { blob, map } from '../../../encoding/codec.js';
import { encode } from '../../../encoding/encoder.js';
import { byteString, latin1Bytes } from '../../byte-string.js';
import { ClassError, readMethod, writeMethod } from '../class-registry.js';
import { listKeys } from './values.js';

const PREFIX = 'metadata_';
/** What a maximum of 0 means. */
const DEFAULT_PAGE = 64n;

const metadataMap = map(byteString, blob);

const metadataList = readMethod((object, input) => {
  const startAfter = byteString.decode(input);
  const max = input.u64() || DEFAULT_PAGE;
  const entries = listKeys(object, PREFIX, startAfter, max);
  return encode((e) => {
    e.u32(entries.length);
    for (const [key, value] of entries) e.blob(latin1Bytes(key)).blob(value);
  });
});

export const metadataMethods = {
  metadata_list: metadataList,
  metadata_set: writeMethod((object, input) => {
    const entries = [...metadataMap.decode(input)];
    object.omapSet(...entries.map(([key, value]): [string, Uint8Array] => [PREFIX + key, value]));
  }),
  metadata_get: readMethod((object, input) => {
    const value = object.omapGet(PREFIX + byteString.decode(input));
    if (value === undefined) throw new ClassError('ENOENT');
    return encode((e) => e.blob(value));
  }),
  metadata_remove: writeMethod((object, input) =>
    object.omapRemove(PREFIX + byteString.decode(input)),
  ),
};

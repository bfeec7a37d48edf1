/** Changing an image's metadata (`librbd/operation/MetadataSetRequest.cc`, `MetadataRemoveRequest.cc`). */

import { executeOne, mutate } from '../../rados/class-call.js';
import { getMetadata, removeMetadata, setMetadata } from '../../rados/cls-rbd.js';
import { headerObject } from '../names.js';
import type { OpenImage } from '../open-image.js';
import type { Operation, RequestOf } from './operation.js';

/** Without a value the key is removed: ENOENT when there is none. */
export const updateMetadata: Operation<RequestOf<'metadataUpdate'>> = {
  name: 'update metadata of',
  route: 'owner',
  exclusive: false,
  doneErrors: new Set(['ENOENT']),

  precheck: assertThere,

  async run(image, request, context) {
    await assertThere(image, request);
    const { key, value } = request;
    const call =
      value === undefined ? removeMetadata(key) : setMetadata(new Map([[key, Buffer.from(value)]]));
    await mutate(image.ioctx, headerObject(image.id), [call]);
    context.changed();
    await image.headerUpdated();
  },
};

/** The class removes what is not there without a word; librbd asks first, and so do we. */
async function assertThere(
  { ioctx, id }: OpenImage,
  { key, value }: RequestOf<'metadataUpdate'>,
): Promise<void> {
  if (value === undefined) await executeOne(ioctx, headerObject(id), getMetadata(key));
}

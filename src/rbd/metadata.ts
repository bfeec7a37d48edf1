/** An image's metadata: keys and values of the user's, and `conf_*` overrides of librbd's settings. */

import { RadosError } from '../base/errors.js';
import { type ClassCall, executeOne, mutate } from '../rados/class-call.js';
import { getMetadata, listMetadata, removeMetadata, setMetadata } from '../rados/cls-rbd.js';
import { imageError } from './errors.js';
import { assertWritable } from './features.js';
import { headerObject } from './names.js';
import { notifyHeaderUpdate } from './notify.js';
import type { ImageHandle } from './open.js';

const PAGE = 64;
const utf8 = new TextDecoder();

/** All pairs, in the order of the keys' bytes. */
export async function listImageMetadata(image: ImageHandle): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  try {
    for (let startAfter = ''; ; ) {
      const page = await executeOne(
        image.ioctx,
        headerObject(image.id),
        listMetadata(startAfter, PAGE),
      );
      for (const [key, value] of page) all.set(key, utf8.decode(value));
      if (page.size < PAGE) return all;
      startAfter = [...page.keys()].at(-1) as string;
    }
  } catch (error) {
    throw imageError(error, 'list metadata of', image.target);
  }
}

/** ENOENT: no such key. */
export async function getImageMetadata(image: ImageHandle, key: string): Promise<string> {
  try {
    return utf8.decode(await executeOne(image.ioctx, headerObject(image.id), getMetadata(key)));
  } catch (error) {
    throw imageError(error, `get metadata '${key}' of`, image.target);
  }
}

export async function setImageMetadata(
  image: ImageHandle,
  key: string,
  value: string,
): Promise<void> {
  await change(
    image,
    `set metadata '${key}' of`,
    setMetadata(new Map([[key, Buffer.from(value)]])),
  );
}

/** ENOENT: no such key. */
export async function removeImageMetadata(image: ImageHandle, key: string): Promise<void> {
  // The class removes what is not there without a word; librbd asks first, and so do we.
  await getImageMetadata(image, key);
  await change(image, `remove metadata '${key}' of`, removeMetadata(key));
}

async function change(image: ImageHandle, op: string, call: ClassCall<void>): Promise<void> {
  try {
    if (image.readOnly) throw new RadosError('EROFS', 'the image is open for reading only');
    assertWritable(image.header.features, image.target);
    await mutate(image.ioctx, headerObject(image.id), [call]);
  } catch (error) {
    throw imageError(error, op, image.target);
  }
  await notifyHeaderUpdate(image.ioctx, image.id, image.context.environment);
}

/** Reading an image's metadata: keys and values of the user's, and `conf_*` overrides of librbd's settings. */

import { executeOne } from '../rados/class-call.js';
import { getMetadata, listMetadata } from '../rados/cls-rbd.js';
import { imageError } from './errors.js';
import { headerObject } from './names.js';
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

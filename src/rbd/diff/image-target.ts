/** Open images, as what diffs come from and go to. */

import { findSnapshot } from '../header.js';
import type { Image } from '../image.js';
import type { DiffTarget } from './import-diff.js';

type Options = { readonly signal?: AbortSignal | undefined };

const signalOption = ({ signal }: Options) => (signal ? { signal } : {});

/** How an open image is read. */
export function readerOf(image: Image, options: Options) {
  const given = signalOption(options);
  return (offset: number, length: number) => image.read(offset, length, undefined, given);
}

/** An image that is open for writing. What a diff has beyond its end is left out. */
export function diffTarget(image: Image, options: Options): DiffTarget {
  const given = signalOption(options);
  return {
    get size() {
      return image.size;
    },
    resize: (size) => image.resize(size, { ...given, allowShrink: true }),
    write: (offset, data) => image.write(offset, data, given),
    writeZeroes: (offset, length) => image.writeZeroes(offset, length, given),
    hasSnapshot: (name) => findSnapshot(image.header, { snap: name }) !== undefined,
    createSnapshot: (name) => image.snapshots.create(name, given),
    protectSnapshot: (name) => image.snapshots.protect(name, given),
  };
}

/**
 * What the object maps of an image say, against what there is: read by a client of its own, straight from the objects.
 *
 *     OM      an object that exists in the head or a snapshot: its map has it, or is flagged as invalid, or missing
 *     FD      an object that differs from what it was in the snapshot before: EXISTS or PENDING, or flagged, or missing
 *     exact   the map is what Ceph's own `rbd object-map check` would want it to be
 */

import { isRadosError } from '../../src/base/errors.js';
import { BitVector } from '../../src/cluster/classes/rbd/bit-vector.js';
import { Decoder } from '../../src/encoding/decoder.js';
import { NOSNAP } from '../../src/encoding/types.js';
import { executeOne } from '../../src/rados/class-call.js';
import { dirGetId, getFlags, objectMapLoad } from '../../src/rados/cls-rbd.js';
import type { IoContext } from '../../src/rados/io-context.js';
import { type ImageHeader, readHeader } from '../../src/rbd/header.js';
import { dataObject } from '../../src/rbd/layout.js';
import { headerObject, objectMapObject, RBD_DIRECTORY } from '../../src/rbd/names.js';

/** What a snapshot or the head was found to be. */
export interface Version {
  /** Undefined: the head. */
  readonly snapId: bigint | undefined;
  /** A snapshot that was removed, or is about to be. */
  readonly isTrash: boolean;
  /** Undefined: missing, or torn. */
  readonly states: readonly number[] | undefined;
  readonly objectMapInvalid: boolean;
  readonly fastDiffInvalid: boolean;
  /** By object number: undefined where there is none. */
  readonly objects: readonly (Buffer | undefined)[];
}

export class MapOracle {
  readonly #ioctx: IoContext;
  readonly #name: string;
  #id: string | undefined;

  constructor(ioctx: IoContext, name: string) {
    this.#ioctx = ioctx;
    this.#name = name;
  }

  /** What is wrong, by OM and FD; empty when nothing is. */
  async violations(): Promise<string[]> {
    const found: string[] = [];
    let before: Version['objects'] | undefined = [];
    for (const version of await this.versions()) {
      const { states, objects, objectMapInvalid } = version;
      if (states && !objectMapInvalid) found.push(...wrongIn(version, states, before));
      // Of a snapshot that is half removed, with its map, the data may be gone: nobody asks for what has changed since.
      before = version.isTrash && !states ? undefined : objects;
    }
    return found;
  }

  async head(): Promise<Version> {
    return (await this.versions()).at(-1) as Version;
  }

  /** Oldest first, the head last. */
  async versions(): Promise<Version[]> {
    const header = await this.header();
    const snapshots = header.snapshots.map(({ id, imageSize, namespace }) => ({
      ...{ snapId: id, size: imageSize, isTrash: namespace.type === 'trash' },
    }));
    const head = { snapId: undefined, size: header.size, isTrash: false };
    return Promise.all(
      [...snapshots, head].map(async ({ snapId, size, isTrash }) => {
        const flags = await executeOne(this.#ioctx, headerObject(header.id), getFlags(snapId));
        return {
          ...{ snapId, isTrash },
          states: await this.#states(header.id, snapId),
          objectMapInvalid: (flags & 1n) !== 0n,
          fastDiffInvalid: (flags & 2n) !== 0n,
          objects: await this.#objects(header, header.layout.objectCount(size), snapId),
        };
      }),
    );
  }

  async header(): Promise<ImageHeader> {
    this.#id ??= await executeOne(this.#ioctx, RBD_DIRECTORY, dirGetId(this.#name));
    return readHeader(this.#ioctx, this.#id, { readOnly: true });
  }

  async #states(id: string, snapId: bigint | undefined): Promise<number[] | undefined> {
    try {
      const oid = objectMapObject(id, snapId);
      const loaded = await executeOne(this.#ioctx, oid, objectMapLoad());
      const states = BitVector.decode(new Decoder(loaded), () => 0);
      return Array.from({ length: states.size }, (_, i) => states.get(i));
    } catch (error) {
      if (isRadosError(error, 'ENOENT') || isRadosError(error, 'EINVAL')) return undefined;
      throw error;
    }
  }

  #objects(
    { objectPrefix }: ImageHeader,
    count: number,
    snapid: bigint = NOSNAP,
  ): Promise<(Buffer | undefined)[]> {
    return Promise.all(
      Array.from({ length: count }, async (_, objectNo) => {
        try {
          const oid = dataObject(objectPrefix, objectNo);
          return Buffer.from(await this.#ioctx.read(oid, 0, 0, { snapid }));
        } catch (error) {
          if (isRadosError(error, 'ENOENT')) return undefined;
          throw error;
        }
      }),
    );
  }
}

/** `before`: the objects of the version before this one; undefined when they are not known. */
function wrongIn(
  { snapId, objects, fastDiffInvalid }: Version,
  states: readonly number[],
  before: Version['objects'] | undefined,
): string[] {
  const found: string[] = [];
  objects.forEach((bytes, objectNo) => {
    const state = states[objectNo];
    const where = `${snapId === undefined ? 'head' : `snapshot ${snapId}`} object ${objectNo} is ${state}`;
    if (bytes && (state === undefined || state === 0)) found.push(`OM: ${where}`);
    const earlier = before?.[objectNo];
    const isSame = bytes && earlier ? bytes.equals(earlier) : bytes === earlier;
    if (before && !fastDiffInvalid && !isSame && state === 3) found.push(`FD: ${where}`);
  });
  return found;
}

/**
 * Runs CRUSH rules in WebAssembly (assembly/crush.ts) over map images that `src/osdmap/crush-layout.ts` makes.
 *
 * Maps come and go with every change of a cluster, and kernel memory is never given back. So at most
 * `RESIDENT_MAPS` maps are in it at a time; their regions have power-of-two sizes and are used again. A map that was
 * pushed out is copied in again when it is next asked for.
 */
import type { Kernels } from './load.js';

export interface CrushRun {
  rule: number;
  x: number;
  resultMax: number;
  /** Immutable: copied in when it is another object than at the last run. */
  weights: Uint32Array;
  /** Which set of choose_args of the image, -1 for none. */
  argSet: number;
  /** How many items may be weighed. */
  workLimit: number;
}

export interface LoadedCrushMap {
  /**
   * The chosen items, or `undefined` when the work limit was exceeded. Throws RangeError when kernel memory has no
   * room for the map.
   */
  doRule(run: CrushRun): Int32Array | undefined;
}

export interface CrushKernel {
  /** `image` is kept, not copied; it must not change any more. */
  load(image: Uint8Array): LoadedCrushMap;
}

/** The map in use, the one before it, and as many of a second cluster in the same thread. */
const RESIDENT_MAPS = 4;
/** As many items as the kernel returns at most, and some more. */
const RESULT_BYTES = 1024;
const SMALLEST_REGION = 4096;

/** `logs`: crush_ln(u) - 2^48 for every u of 16 bits. */
export function createCrushKernel(kernels: Kernels, logs: Float64Array): CrushKernel {
  const { buffer } = kernels.memory;
  const words = new Uint32Array(buffer);
  const logsAt = kernels.alloc(logs.byteLength);
  new Float64Array(buffer, logsAt, logs.length).set(logs);
  const scratch = kernels.alloc(kernels.exports.crushScratchBytes());
  const resultAt = kernels.alloc(RESULT_BYTES);
  const result = new Int32Array(buffer, resultAt, RESULT_BYTES / 4);
  const regions = createRegionPool(kernels);
  /** Least recently used first. */
  const residents: Resident[] = [];

  interface Resident {
    image: Uint8Array;
    map: Region;
    weights: Uint32Array | undefined;
    weightsAt: Region | undefined;
  }

  function residentOf(image: Uint8Array): Resident {
    const last = residents[residents.length - 1];
    if (last?.image === image) return last;
    const index = residents.findIndex((resident) => resident.image === image);
    const resident = index < 0 ? bringIn(image) : (residents.splice(index, 1)[0] as Resident);
    residents.push(resident);
    return resident;
  }

  function bringIn(image: Uint8Array): Resident {
    if (residents.length >= RESIDENT_MAPS) {
      const oldest = residents.shift() as Resident;
      regions.give(oldest.map);
      if (oldest.weightsAt) regions.give(oldest.weightsAt);
    }
    const map = regions.take(image.length);
    kernels.u8.set(image, map.address);
    return { image, map, weights: undefined, weightsAt: undefined };
  }

  function bringInWeights(resident: Resident, weights: Uint32Array): Region {
    if (resident.weights === weights && resident.weightsAt) return resident.weightsAt;
    if (resident.weightsAt) regions.give(resident.weightsAt);
    resident.weightsAt = undefined;
    resident.weightsAt = regions.take(weights.byteLength);
    resident.weights = weights;
    words.set(weights, resident.weightsAt.address >> 2);
    return resident.weightsAt;
  }

  return {
    load: (image) => ({
      doRule({ rule, x, resultMax, weights, argSet, workLimit }) {
        const resident = residentOf(image);
        const weightsAt = bringInWeights(resident, weights);
        const count = kernels.exports.crushDoRule(
          resident.map.address,
          logsAt,
          rule,
          x,
          resultMax,
          weightsAt.address,
          weights.length,
          argSet,
          workLimit,
          scratch,
          resultAt,
        );
        return count < 0 ? undefined : result.slice(0, count);
      },
    }),
  };
}

interface Region {
  address: number;
  bytes: number;
}

/** Regions of power-of-two sizes, kept for the next taker of the same size. */
function createRegionPool(kernels: Kernels) {
  const free = new Map<number, Region[]>();
  return {
    take(bytes: number): Region {
      let size = SMALLEST_REGION;
      while (size < bytes) size *= 2;
      return free.get(size)?.pop() ?? { address: kernels.alloc(size), bytes: size };
    },
    give(region: Region): void {
      const list = free.get(region.bytes);
      if (list) list.push(region);
      else free.set(region.bytes, [region]);
    },
  };
}

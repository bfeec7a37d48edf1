/** Hooks of Node's module loader that plant a bug in one file as it is loaded. They run in a thread of their own. */

import type { LoadHook } from 'node:module';
import { type PlantedBug, plant } from './planted-bug.js';

/** Set in the global object by the file with the bug: proof that it was loaded. */
export const PLANTED = 'linger.planted-bug';

export interface LoaderData {
  readonly bug: PlantedBug;
  /** URL of `dist/src/`. */
  readonly root: string;
}

let data: LoaderData | undefined;

export function initialize(given: LoaderData): void {
  data = given;
}

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context);
  if (!data || url !== new URL(data.bug.file, data.root).href) return loaded;
  const source = plant(data.bug, Buffer.from(loaded.source as Uint8Array).toString());
  return { ...loaded, source: `${source}\nglobalThis[Symbol.for('${PLANTED}')] = true;\n` };
};

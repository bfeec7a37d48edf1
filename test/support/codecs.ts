/** Every wire structure that the product declares: what the property tests and the golden tests run over. */

import { readdirSync } from 'node:fs';

import { type Codec, type Draw, encodeWith } from '../../src/encoding/codec.js';
import { seededRandom } from '../../src/sim/random.js';

export interface DeclaredCodec {
  /** `src/messages/mon-messages.ts: monMap`. */
  name: string;
  codec: Codec<unknown>;
}

/** The folders whose exported values are looked through. */
const FOLDERS = [
  ...['encoding', 'messages', 'msgr', 'auth', 'osdmap', 'osd-client', 'rados', 'rados/cls-rbd'],
  ...['rbd', 'cluster/classes', 'cluster/classes/rbd', 'cluster/store/durable'],
];
/** The sources, where this runs from them; what was built of them, where it was built itself. */
const ROOT = new URL('../../src/', import.meta.url);
const SUFFIX = import.meta.url.endsWith('.ts') ? '.ts' : '.js';

function isCodec(value: unknown): value is Codec<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    ['decode', 'encode', 'sample'].every(
      (method) => typeof (value as Record<string, unknown>)[method] === 'function',
    ) &&
    typeof (value as Codec<unknown>).minBytes === 'number'
  );
}

export async function declaredCodecs(): Promise<DeclaredCodec[]> {
  const found: DeclaredCodec[] = [];
  for (const folder of FOLDERS) {
    for (const file of readdirSync(new URL(`${folder}/`, ROOT)).sort()) {
      if (!file.endsWith(SUFFIX) || file.endsWith('.d.ts')) continue;
      const module = (await import(new URL(`${folder}/${file}`, ROOT).href)) as object;
      const path = `src/${folder}/${file.replace(/js$/, 'ts')}`;
      for (const [name, value] of Object.entries(module)) {
        if (isCodec(value)) found.push({ name: `${path}: ${name}`, codec: value });
      }
    }
  }
  return found;
}

export function seededDraw(seed: number): Draw {
  const random = seededRandom(seed);
  return (bound) => Math.floor(random.float() * bound);
}

/** Encodings of random values, the same for the same seed. */
export function sampleBytes(codec: Codec<unknown>, seed: number): Uint8Array {
  return encodeWith(codec, codec.sample(seededDraw(seed))).slice();
}

/** Calls of class `rbd`. */

import { type Codec, decodeFirst } from '../../encoding/codec.js';
import { type Encoder, encode } from '../../encoding/encoder.js';
import { type ClassCall, classCall } from '../class-call.js';

export function reads<T>(
  method: string,
  codec: Codec<T>,
  input?: (encoder: Encoder) => unknown,
): ClassCall<T> {
  return classCall('rbd', method, input && encode(input), (out) => decodeFirst(codec, out));
}

export function writes(method: string, input?: (encoder: Encoder) => unknown): ClassCall<void> {
  return classCall('rbd', method, input && encode(input), () => undefined);
}

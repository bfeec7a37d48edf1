import { describe, expect, it } from 'vitest';
import { latin1Text, utf8Text } from '../../src/base/bytes-as-text.js';

describe('text of bytes', () => {
  const text = '\ufeffé𝄞';

  it.each([
    ['of a Buffer', (bytes: Buffer) => bytes],
    ['of an array of bytes', (bytes: Buffer) => Uint8Array.from(bytes)],
    [
      'of shared memory, in the midst of it',
      (bytes: Buffer) => {
        const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 3), 3);
        shared.set(bytes);
        return shared;
      },
    ],
  ])('is what a Buffer says that it is: %s', (_, made) => {
    const bytes = Buffer.concat([Buffer.from(text), Buffer.from([0xff, 0])]);
    const given = made(bytes);
    expect(utf8Text(given, 0, bytes.length)).toBe(`${text}\ufffd\0`);
    expect(latin1Text(given, 0, bytes.length)).toBe(bytes.toString('latin1'));
    expect(utf8Text(given, 3, 5)).toBe('é');
    expect(latin1Text(given, 3, 3)).toBe('');
  });
});

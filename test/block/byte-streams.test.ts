// Goal: what makes bytes is asked for no more than is read, what takes them is given no more than it takes, and each learns when
// the other has enough or has failed.

import { pipeline } from 'node:stream/promises';
import { describe, expect, it } from 'vitest';
import { RadosError } from '../../src/base/errors.js';
import { joined, readableOf, writableTo } from '../../src/block/byte-streams.js';
import { rejection } from '../support/rejection.js';

const chunk = (fill: number, length = 1000) => Buffer.alloc(length, fill);
const turns = async (count = 20) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe('a stream of what makes bytes', () => {
  it('asks for what is read, and no more than fits', async () => {
    let made = 0;
    const bytes = async function* () {
      for (; made < 100; made++) yield await Promise.resolve(chunk(made));
    };
    const stream = readableOf(bytes, { highWaterMark: 3000 });
    stream.once('readable', () => {});
    await turns();
    expect(made).toBeLessThan(5);
    const all = Buffer.concat(await stream.toArray());
    expect(all).toEqual(Buffer.concat(Array.from({ length: 100 }, (_, i) => chunk(i))));
  });

  it('ends it when it is destroyed, while it makes something and while it waits', async () => {
    for (const isReading of [true, false]) {
      let ended = false;
      const stream = readableOf(
        async function* (signal) {
          try {
            yield chunk(1);
            await new Promise((_, reject) => {
              signal.addEventListener('abort', () => reject(new Error('aborted')));
            });
          } finally {
            ended = true;
          }
        },
        { highWaterMark: 1 },
      );
      stream.once('readable', () => {});
      await turns();
      if (isReading) {
        stream.read();
        await turns();
      }
      stream.destroy();
      await turns();
      expect(ended).toBe(true);
    }
  });

  it('fails as it fails', async () => {
    const stream = readableOf(
      async function* () {
        yield await Promise.resolve(chunk(1));
        throw new RadosError('EIO', 'no more');
      },
      { highWaterMark: 1000 },
    );
    expect(await rejection(stream.toArray())).toMatchObject({ code: 'EIO' });
  });
});

describe('a stream to what takes bytes', () => {
  it('gives them as they are taken, and finishes when all is done with them', async () => {
    const taken: Buffer[] = [];
    let go = () => {};
    const stream = writableTo(
      async (chunks) => {
        for await (const each of chunks) {
          taken.push(Buffer.from(each));
          await new Promise<void>((resolve) => {
            go = resolve;
          });
        }
        taken.push(chunk(99));
      },
      { highWaterMark: 1500 },
    );
    expect([stream.write(chunk(1)), stream.write(chunk(2))]).toEqual([true, false]);
    await turns();
    expect(taken).toEqual([chunk(1)]);
    let isFinished = false;
    stream.end(() => {
      isFinished = true;
    });
    go();
    await turns();
    expect([taken, isFinished]).toEqual([[chunk(1), chunk(2)], false]);
    go();
    await turns();
    expect([taken, isFinished]).toEqual([[chunk(1), chunk(2), chunk(99)], true]);
  });

  it('fails as it fails, whatever is still to be given', async () => {
    const source = async function* () {
      for (let i = 0; ; i++) yield await Promise.resolve(chunk(i));
    };
    const sink = writableTo(
      async (chunks) => {
        let left = 3;
        for await (const _ of chunks) if (--left === 0) break;
        throw new RadosError('EBADMSG', 'that is no diff');
      },
      { highWaterMark: 1000 },
    );
    expect(await rejection(pipeline(source, sink))).toMatchObject({ code: 'EBADMSG' });
  });

  it('drops what comes after it has had enough', async () => {
    const sink = writableTo(
      async (chunks) => {
        for await (const _ of chunks) return;
      },
      { highWaterMark: 1000 },
    );
    await pipeline([chunk(1), chunk(2), chunk(3)], sink);
  });

  it('closes when it is destroyed, and what takes the bytes has stopped', async () => {
    let release = () => {};
    let isClosed = false;
    const sink = writableTo(
      async (chunks) => {
        try {
          for await (const _ of chunks);
        } finally {
          await new Promise<void>((resolve) => {
            release = resolve;
          });
        }
      },
      { highWaterMark: 1000 },
    );
    sink.on('close', () => {
      isClosed = true;
    });
    sink.write(chunk(1));
    await turns();
    sink.destroy();
    await turns();
    expect(isClosed).toBe(false);
    release();
    await turns();
    expect(isClosed).toBe(true);
  });

  it('is aborted by a signal', async () => {
    const control = new AbortController();
    const sink = writableTo(
      async (chunks) => {
        for await (const _ of chunks);
      },
      { highWaterMark: 1000, signal: control.signal },
    );
    const failed = new Promise((resolve) => sink.on('error', resolve));
    control.abort();
    expect(await failed).toMatchObject({ code: 'ECANCELED' });
  });
});

describe('chunks that are joined', () => {
  it('are the same bytes, in pieces with memory of their own', async () => {
    const large = Buffer.from(Uint8Array.from({ length: 2_500_000 }, (_, i) => i % 251));
    const chunks = [large.subarray(0, 1), large.subarray(1, 1_700_000), large.subarray(1_700_000)];
    const pieces: Uint8Array[] = [];
    for await (const piece of joined(toAsync(chunks))) pieces.push(piece);
    expect(pieces.map(({ length }) => length)).toEqual([2 ** 20, 2 ** 20, 2_500_000 - 2 ** 21]);
    expect(pieces.map(({ buffer }) => buffer.byteLength)).toEqual(
      pieces.map((each) => each.length),
    );
    expect(Buffer.concat(pieces).equals(large)).toBe(true);
  });

  it('are none, of none', async () => {
    const pieces = [];
    for await (const piece of joined(toAsync([new Uint8Array(0)]))) pieces.push(piece);
    expect(pieces).toEqual([]);
  });
});

async function* toAsync(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const each of chunks) yield await Promise.resolve(each);
}

// Goal: what the checkers say about snapshots, sizes, metadata and diffs, by histories that are made up: good ones and bad ones.

import { describe, expect, it } from 'vitest';
import type { Images } from '../../src/block/images.js';
import { checkDiffs } from '../../src/sim/checkers/diffs.js';
import type { Op } from '../../src/sim/checkers/history.js';
import { checkSectors } from '../../src/sim/checkers/linearizability.js';
import { checkSnapshots } from '../../src/sim/checkers/snapshots.js';
import { checkMetadata, checkSize } from '../../src/sim/checkers/whole-images.js';

type Made = Partial<Omit<Op, 'values'>> &
  Pick<Op, 'kind'> & { at: [number, number?]; values?: number[] };

/** Operations of an image of two sectors, numbered from 1. */
function history(made: readonly Made[]): Op[] {
  return made.map(({ at: [from, to], values, ...op }, i) => ({
    ...{ id: i + 1, client: 'client.1', image: 'vm', firstSector: 0, sectors: 2 },
    ...{ startedAt: from, startedAs: from, end: to === undefined ? 'unknown' : 'ok' },
    ...(to === undefined ? {} : { endedAt: to, endedAs: to }),
    ...(values ? { values: Uint32Array.from(values) } : {}),
    ...op,
  }));
}

const create = (from: number, to?: number): Made => ({
  ...{ kind: 'snapCreate', snap: 's', sectors: 0 },
  at: to === undefined ? [from] : [from, to],
});
const snapRead = (from: number, values: number[]): Made => ({
  ...{ kind: 'read', snap: 's', values, at: [from, from + 1] },
});
const resize = (sectors: number, from: number, to: number): Made => ({
  ...{ kind: 'resize', sectors, at: [from, to] },
});

const sectors = (made: readonly Made[]) => checkSectors(history(made), 2);
const instants = (made: readonly Made[]) => checkSnapshots(history(made), { atOnce: true });

describe('a snapshot', () => {
  it('is what the image was while it was made, whenever it is read', () => {
    const made: Made[] = [
      { kind: 'write', at: [1, 2] },
      create(3, 6),
      { kind: 'write', sectors: 1, at: [4, 5] },
      { kind: 'write', at: [7, 8] },
      snapRead(9, [3, 1]),
    ];
    expect(sectors(made)).toBeUndefined();
    expect(instants(made)).toEqual([]);
  });

  it('that has what was written after it is told', () => {
    const made = [create(1, 2), { kind: 'write', at: [3, 4] } as Made, snapRead(5, [2, 2])];
    expect(sectors(made)).toMatchObject({ checker: 'linearizability' });
    expect(instants(made)).toMatchObject([{ message: 'the snapshot s is of no instant' }]);
  });

  it('that lacks what was written before it is told', () => {
    const made = [{ kind: 'write', at: [1, 2] } as Made, create(3, 4), snapRead(5, [0, 0])];
    expect(sectors(made)).toMatchObject({ checker: 'linearizability' });
    expect(instants(made)).toMatchObject([{ message: 'the snapshot s is of no instant' }]);
  });

  it('of which each sector is of another time is told, though each by itself might be', () => {
    const made: Made[] = [
      create(1, 10),
      { kind: 'write', firstSector: 0, sectors: 1, at: [2, 3] },
      { kind: 'write', firstSector: 1, sectors: 1, at: [4, 5] },
      snapRead(11, [0, 3]),
    ];
    expect(sectors(made)).toBeUndefined();
    expect(instants(made)).toMatchObject([{ message: 'the snapshot s is of no instant' }]);
    expect(checkSnapshots(history(made), { atOnce: false })).toEqual([]);
  });

  it('that changes is told', () => {
    const made = [
      { kind: 'write', at: [1, 2] } as Made,
      ...[create(3, 8), snapRead(9, [1, 1]), snapRead(11, [1, 0])],
    ];
    expect(instants(made)).toMatchObject([{ message: expect.stringContaining('changed') }]);
  });

  it('of which nobody knows whether it was made was, when somebody can read it', () => {
    const made: Made[] = [create(1), { kind: 'write', at: [2, 3] }, snapRead(4, [2, 2])];
    expect(sectors(made)).toBeUndefined();
    expect(instants(made)).toEqual([]);
  });
});

describe('an image', () => {
  it('has zeros where it was cut off and grew again', () => {
    const cut: Made[] = [{ kind: 'write', at: [1, 2] }, resize(1, 3, 4), resize(2, 5, 6)];
    expect(sectors([...cut, { kind: 'read', values: [1, 0], at: [7, 8] }])).toBeUndefined();
    expect(sectors([...cut, { kind: 'read', values: [1, 1], at: [7, 8] }])).toBeDefined();
    expect(sectors([...cut, { kind: 'read', values: [0, 0], at: [7, 8] }])).toBeDefined();
  });

  it('is what the snapshot was after a rollback', () => {
    const back: Made[] = [
      { kind: 'write', at: [1, 2] },
      { kind: 'write', at: [3, 4] },
      { kind: 'rollback', values: [1, 0], at: [5, 6] },
    ];
    expect(sectors([...back, { kind: 'read', values: [1, 0], at: [7, 8] }])).toBeUndefined();
    expect(sectors([...back, { kind: 'read', values: [2, 2], at: [7, 8] }])).toBeDefined();
  });

  it('takes a compare-and-write once', () => {
    const swap = (at: [number, number?]): Made => ({
      ...{ kind: 'compareAndWrite', sectors: 1, expected: Uint32Array.of(0), at },
    });
    const read = (value: number): Made => ({
      kind: 'read',
      sectors: 1,
      values: [value],
      at: [5, 6],
    });
    expect(sectors([swap([1, 2]), read(1)])).toBeUndefined();
    expect(sectors([swap([1]), read(0)])).toBeUndefined();
    expect(sectors([swap([1, 2]), swap([3, 4]), read(2)])).toBeDefined();
    // It was refused, because it had been done before.
    expect(sectors([{ ...swap([1, 2]), end: 'failed' }, read(1)])).toBeDefined();
  });

  it('has the size that was set last', () => {
    const size = (found: number) =>
      checkSize(
        history([
          resize(5, 1, 2),
          resize(7, 3, 4),
          { kind: 'sizeGet', sectors: found, at: [5, 6] },
        ]),
        { image: 'vm', sectors: 2, lagMs: 0 },
      );
    expect(size(7)).toBeUndefined();
    expect(size(5)).toMatchObject({ checker: 'maintenance' });
  });

  it('has the metadata that were set last', () => {
    const metadata = (found: number) =>
      checkMetadata(
        history([
          { kind: 'metadataSet', detail: 'a', at: [1, 2] },
          { kind: 'metadataSet', detail: 'b', at: [3, 4] },
          { kind: 'metadataGet', detail: 'a', values: [found], at: [5, 6] },
        ]),
      );
    expect(metadata(1)).toBeUndefined();
    expect(metadata(2)).toMatchObject({ checker: 'maintenance' });
    expect(metadata(0)).toBeDefined();
  });
});

describe('a diff', () => {
  const SECTOR = 512;
  const contents: Record<string, Uint32Array> = {
    a: Uint32Array.of(1, 1),
    b: Uint32Array.of(2, 1),
    now: Uint32Array.of(2, 1),
  };

  /** Of an image of two sectors; the diff from a to now, over b, is as given. */
  async function wrong(fastOverOne: readonly number[]): Promise<string[]> {
    const images = {
      async *diff(_: string, { from, to, wholeObject }: Parameters<Images['diff']>[1] = {}) {
        const before = from === undefined ? Uint32Array.of(0, 0) : contents[String(from)];
        const after = contents[String(to ?? 'now')];
        const isOverOne = from === 'a' && to === undefined;
        const changed = [0, 1].filter((i) => before?.[i] !== after?.[i]);
        for (const i of wholeObject && isOverOne ? fastOverOne : changed)
          yield { offset: i * SECTOR, length: SECTOR, exists: true };
      },
    } as unknown as Images;
    const subject = { name: 'vm', snapshots: ['a', 'b'] };
    return checkDiffs(images, subject, (snap) => contents[snap ?? 'now']);
  }

  it('over a snapshot tells what changed before it', async () => {
    expect(await wrong([0])).toEqual([]);
    expect(await wrong([0, 1])).toEqual([]);
  });

  it('that looks at the maps of both ends only is told', async () => {
    expect(await wrong([])).toEqual(['vm from a to now: the fast diff lacks what is at 0']);
  });
});

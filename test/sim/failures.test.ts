// Goal: of errors that a client is told only those pass that the run explains.

import { describe, expect, it } from 'vitest';
import { type ErrnoCode, RadosError } from '../../src/base/errors.js';
import type { Op, OpKind } from '../../src/sim/checkers/history.js';
import type { SimFaultName } from '../../src/sim/faults/catalogue.js';
import {
  type Doing,
  type Failure,
  type Judged,
  judgeFailure,
} from '../../src/sim/workloads/failures.js';

/** What is said of a failure in a run with these faults, in which this was done. */
function said(
  failure: Partial<Failure> & { doing: Doing; error: unknown },
  { faults = [], ops = [], fenced = [] }: Run = {},
): string[] {
  const messages: string[] = [];
  const image = { key: 'vm', names: ['vm'], snapshots: [], renames: [] };
  const run = {
    plan: { faults: faults.map((kind) => ({ kind })) },
    history: { ops },
    images: { all: [image] },
    image,
    violate: ({ message }: { message: string }) => messages.push(message),
    onFenced: ({ name }: { name: string }) => fenced.push(name),
  } as unknown as Judged;
  judgeFailure(run, { client: { name: 'client.1' }, ...failure } as Failure);
  return messages;
}

interface Run {
  faults?: SimFaultName[];
  ops?: Op[];
  /** Who has said so. */
  fenced?: string[];
}

const errorOf = (code: ErrnoCode) => new RadosError(code, 'told');

const op = (kind: OpKind, firstSector: number, sectors: number, end?: Op['end']) =>
  ({ kind, image: 'vm', firstSector, sectors, startedAt: 0, ...(end && { end }) }) as Op;

describe('an error that a client is told', () => {
  it('is one of the program, whatever else is told of it', () => {
    const slip = new TypeError('x is not a function');
    const told = new RadosError('EBLOCKLISTED', 'told', { cause: slip });
    expect(said({ doing: 'flush', error: slip })).toEqual([expect.stringContaining('TypeError')]);
    expect(said({ doing: 'flush', error: told })).toEqual([expect.stringContaining('TypeError')]);
  });

  it('of input and output passes when an OSD was to fail what it was asked', () => {
    const error = errorOf('EIO');
    expect(said({ doing: 'read', error })).toHaveLength(1);
    expect(said({ doing: 'read', error }, { faults: ['tcp.reset', 'osd.kill'] })).toHaveLength(1);
    expect(said({ doing: 'read', error }, { faults: ['osd.write-error'] })).toHaveLength(1);
    expect(said({ doing: 'read', error }, { faults: ['osd.read-error'] })).toEqual([]);
    expect(said({ doing: 'write', error }, { faults: ['osd.write-error'] })).toEqual([]);
  });

  it('passes beyond the end of an image that may have been made as small', () => {
    const write = op('write', 90, 20);
    const failure = { doing: 'write', op: write, error: errorOf('EINVAL') } as const;
    expect(said(failure)).toHaveLength(1);
    expect(said(failure, { ops: [op('resize', 0, 110)] })).toHaveLength(1);
    expect(said(failure, { ops: [op('resize', 0, 100, 'failed')] })).toHaveLength(1);
    expect(said(failure, { ops: [op('resize', 0, 100, 'unknown')] })).toEqual([]);
  });

  it('tells that the client is fenced: whether it was is asked of who knows', () => {
    const fenced: string[] = [];
    expect(said({ doing: 'device', error: errorOf('EBLOCKLISTED') }, { fenced })).toEqual([]);
    expect(fenced).toEqual(['client.1']);
  });

  it('passes of a device that is closed, and of a call that is given up', () => {
    const closed = { closed: true } as unknown as NonNullable<Failure['device']>;
    expect(said({ doing: 'write', error: errorOf('EBADF') })).toHaveLength(1);
    expect(said({ doing: 'write', error: errorOf('EBADF'), device: closed })).toEqual([]);
    expect(said({ doing: 'write', error: errorOf('ECANCELED') })).toHaveLength(1);
    expect(said({ doing: 'write', error: errorOf('ECANCELED'), isGivenUp: true })).toEqual([]);
  });

  it('never passes when nothing can bring it about', () => {
    for (const code of ['ENOSPC', 'ETIMEDOUT', 'ENOTCONN', 'EAGAIN', 'ECONNRESET'] as const) {
      expect(said({ doing: 'write', error: errorOf(code) })).toHaveLength(1);
    }
  });
});

import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';

import { RadosError } from '../../src/base/errors.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { ControlClient } from '../../src/block/control.js';
import { errorFromPlain, errorToPlain } from '../../src/block/error-transfer.js';
import { buildSupport } from './support/build.js';
import type { FakeControl } from './support/control-worker.js';
import { rejection } from './support/hosts.js';

async function withWorker(
  run: (client: ControlClient<FakeControl>, worker: Worker) => Promise<void>,
): Promise<void> {
  const worker = new Worker(new URL(buildSupport('control-worker')));
  const client = new ControlClient<FakeControl>(nodeEnvironment(), worker);
  try {
    await run(client, worker);
  } finally {
    await worker.terminate();
  }
}

describe('the control path', () => {
  it('calls methods and returns plain results', async () => {
    await withWorker(async (client) => {
      expect(await client.call('add', [2, 3], { deadlineMs: 5000 })).toBe(5);
      expect(client.pending).toBe(0);
    });
  });

  it('keeps what an error says', async () => {
    await withWorker(async (client) => {
      const error = await rejection(client.call('fail', ['rados'], { deadlineMs: 5000 }));
      expect(error).toBeInstanceOf(RadosError);
      expect(error).toMatchObject({
        name: 'RadosError',
        code: 'EBLOCKLISTED',
        errno: -108,
        op: 'write',
        target: 'osd.1',
        retryable: true,
        outcome: 'unknown',
        message: 'fenced',
      });
      expect((error.cause as Error).message).toBe('by an operator');
      expect(error.stack).toContain('control-worker');
    });
  });

  it("leaves other errors to comlink's own way", async () => {
    await withWorker(async (client) => {
      const error = await rejection(client.call('fail', ['type'], { deadlineMs: 5000 }));
      expect(error).toMatchObject({ name: 'TypeError', message: 'not ours' });
    });
  });

  it('gives up at the deadline and on a signal, and ignores what comes later', async () => {
    await withWorker(async (client) => {
      const late = await rejection(client.call('answerAfter', [200], { deadlineMs: 20 }));
      expect(late).toMatchObject({ code: 'ETIMEDOUT', op: 'answerAfter', retryable: true });
      const signal = AbortSignal.timeout(20);
      const aborted = await rejection(client.call('answerAfter', [200], { deadlineMs: 0, signal }));
      expect(aborted).toMatchObject({ code: 'ETIMEDOUT' });
      const before = AbortSignal.abort();
      const never = await rejection(client.call('add', [1, 1], { deadlineMs: 0, signal: before }));
      expect(never).toMatchObject({ code: 'ECANCELED' });
      expect(client.pending).toBe(0);
      expect(await client.call('answerAfter', [250], { deadlineMs: 5000 })).toBe('late');
    });
  });

  it('settles every call when the worker ends, and refuses later ones', async () => {
    await withWorker(async (client, worker) => {
      const calls = Array.from({ length: 10 }, () =>
        rejection(client.call('answerAfter', [60_000], { deadlineMs: 0 })),
      );
      const gone = new RadosError('ENOTCONN', 'the worker ended');
      worker.once('exit', () => client.fail(gone));
      await client.call('exit', [], { deadlineMs: 0 }).catch((error) => expect(error).toBe(gone));
      expect(new Set(await Promise.all(calls))).toEqual(new Set([gone]));
      expect(await rejection(client.call('add', [1, 1], { deadlineMs: 0 }))).toBe(gone);
      expect(client.pending).toBe(0);
    });
  });
});

describe('an error as plain data', () => {
  it('survives a structured clone', () => {
    const error = new RadosError('EIO', 'broken', { op: 'read', cause: { not: 'an error' } });
    const back = errorFromPlain(structuredClone(errorToPlain(error)));
    expect(back).toMatchObject({ code: 'EIO', errno: -5, op: 'read', message: 'broken' });
    expect(back.stack).toBe(error.stack);
  });

  it('is made of anything that was thrown', () => {
    expect(errorToPlain('text')).toMatchObject({ errno: -5, message: 'text' });
    const system = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    expect(errorToPlain(system)).toMatchObject({ errno: -111, message: 'refused' });
  });
});

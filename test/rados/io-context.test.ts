import { describe, expect, it } from 'vitest';

import { isRadosError } from '../../src/base/errors.js';
import { OP, type OsdOp, statOp } from '../../src/messages/osd-op.js';
import {
  IoContext,
  type ObjectOperator,
  type OperateOptions,
  type OperateResult,
} from '../../src/rados/io-context.js';
import type { Watch, WatchHandler } from '../../src/osd-client/watch-types.js';

interface Call {
  target: Parameters<ObjectOperator['operate']>[0];
  ops: readonly OsdOp[];
  options: OperateOptions | undefined;
}

function setUp(answer: OperateResult['ops'] = [{ rval: 0, outdata: Uint8Array.of(1, 2) }]) {
  const calls: Call[] = [];
  const snaps: [string, number, bigint?][] = [];
  const lingers: unknown[][] = [];
  const operator: ObjectOperator = {
    async operate(target, ops, options) {
      calls.push({ target, ops, options });
      return { result: 0, ops: answer, userVersion: 1n };
    },
    async watch(target, _handler, options) {
      lingers.push(['watch', target, options]);
      return { cookie: 5n } as Watch;
    },
    async notify(target, payload, options) {
      lingers.push(['notify', target, payload, options]);
      return { notifyId: 6n, replies: [], missed: [] };
    },
    async createSelfManagedSnap(pool) {
      snaps.push(['create', pool]);
      return 7n;
    },
    async removeSelfManagedSnap(pool, snapid) {
      snaps.push(['remove', pool, snapid]);
    },
  };
  return { calls, snaps, lingers, ioctx: new IoContext(operator, { id: 3, name: 'rbd' }) };
}

describe('an I/O context', () => {
  it('names its pool and namespace in every operation, and passes options on', async () => {
    const { calls, ioctx } = setUp();
    const options = { snapid: 5n };
    await ioctx.operate('x', [statOp()], options);
    await ioctx.withNamespace('ns').operate('y', [statOp()]);
    expect(calls.map(({ target }) => target)).toEqual([
      { pool: 3, nspace: '', oid: 'x' },
      { pool: 3, nspace: 'ns', oid: 'y' },
    ]);
    expect(calls[0]?.options).toBe(options);
  });

  it('watches and notifies objects of its pool and namespace', async () => {
    const { lingers, ioctx } = setUp();
    const inside = ioctx.withNamespace('ns');
    const target = { pool: 3, nspace: 'ns', oid: 'x' };
    const payload = Uint8Array.of(1);
    const watch = await inside.watch('x', {} as WatchHandler, { timeoutSeconds: 9 });
    const result = await inside.notify('x', payload, { timeoutSeconds: 5 });
    expect([watch.cookie, result.notifyId]).toEqual([5n, 6n]);
    expect(lingers).toEqual([
      ['watch', target, { timeoutSeconds: 9 }],
      ['notify', target, payload, { timeoutSeconds: 5 }],
    ]);
  });

  it('is the same in the namespace that it has', () => {
    const { ioctx } = setUp();
    expect(ioctx.withNamespace('')).toBe(ioctx);
    expect(ioctx.withNamespace('a').withNamespace('').nspace).toBe('');
  });

  it('reads, and calls classes, with their output', async () => {
    const { calls, ioctx } = setUp();
    expect(await ioctx.read('x', 4, 8)).toEqual(Uint8Array.of(1, 2));
    expect(await ioctx.call('x', 'rbd', 'get_id', Uint8Array.of(9))).toEqual(Uint8Array.of(1, 2));
    expect(calls.map(({ ops }) => ops[0]?.code)).toEqual([OP.READ, OP.CALL]);
    expect(calls[0]?.ops[0]?.arg).toMatchObject({ offset: 4, length: 8 });
    expect(calls[1]?.ops[0]?.arg).toMatchObject({
      classLength: 3,
      methodLength: 6,
      indataLength: 1,
    });
    expect(Buffer.from(calls[1]?.ops[0]?.indata ?? []).toString('latin1')).toBe('rbdget_id\x09');
  });

  it('refuses an answer without the operation', async () => {
    const { ioctx } = setUp([]);
    for (const call of [() => ioctx.read('x', 0, 1), () => ioctx.call('x', 'a', 'b')]) {
      const error = await call().catch((reason: unknown) => reason);
      expect(isRadosError(error, 'EBADMSG')).toBe(true);
    }
  });

  it('takes and gives back snapshot ids of its pool', async () => {
    const { snaps, ioctx } = setUp();
    expect(await ioctx.createSelfManagedSnap()).toBe(7n);
    await ioctx.removeSelfManagedSnap(7n);
    expect(snaps).toEqual([
      ['create', 3],
      ['remove', 3, 7n],
    ]);
  });

  it('describes objects for messages', () => {
    const { ioctx } = setUp();
    expect(ioctx.describe('x')).toBe('rbd/x');
    expect(ioctx.withNamespace('ns').describe('x')).toBe('rbd/ns/x');
  });
});

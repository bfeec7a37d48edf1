import { describe, expect, it } from 'vitest';
import { headerUpdatePayload, notifyHeaderUpdate } from '../../src/rbd/notify.js';
import { FakeObjects, fakeContext } from '../support/fake-objects.js';

describe('notifyHeaderUpdate', () => {
  it('sends what librbd sends', async () => {
    expect(Buffer.from(headerUpdatePayload()).toString('hex')).toBe('07010400000003000000');
    const objects = new FakeObjects();
    const context = fakeContext(objects);
    await notifyHeaderUpdate(await context.ioctx('rbd'), '10ab', context.environment);
    const [request] = objects.requests;
    expect(request?.oid).toBe('rbd_header.10ab');
    expect(request?.ops[0]?.arg.kind).toBe('notify');
    // u32 1, u32 timeout, blob payload: 22 bytes, as librbd's own.
    expect(Buffer.from(request?.ops[0]?.indata ?? []).toString('hex')).toBe(
      '01000000050000000a00000007010400000003000000',
    );
  });
});

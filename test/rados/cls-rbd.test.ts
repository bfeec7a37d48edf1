import { describe, expect, it } from 'vitest';
import { type ClassCall, execute } from '../../src/rados/class-call.js';
import * as rbd from '../../src/rados/cls-rbd.js';
import { IoContext } from '../../src/rados/io-context.js';
import { listWatchers } from '../../src/rados/watchers.js';
import { FakeObjects } from '../support/fake-objects.js';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

/** The argument of a call, without class and method name. */
function argument(call: ClassCall<unknown>, method: string): string {
  const bytes = Buffer.from(call.op.indata);
  expect(bytes.toString('latin1', 0, 3 + method.length)).toBe(`rbd${method}`);
  return bytes.subarray(3 + method.length).toString('hex');
}

const ascii = (text: string) => Buffer.from(text).toString('hex');

describe('class rbd', () => {
  it('encodes arguments as librbd does', () => {
    const fields = {
      size: 10 << 20,
      order: 22,
      features: 3n,
      objectPrefix: 'rbd_data.101d2638fe4d',
    };
    const header = `0000a00000000000 16 0300000000000000 15000000 ${ascii('rbd_data.101d2638fe4d')}`;
    expect(argument(rbd.createHeader(fields), 'create')).toBe(
      hex(`${header} ffffffffffffffff`).toString('hex'),
    );
    // As long as librbd's own call on the wire.
    expect(rbd.createHeader(fields).op.indata).toHaveLength(59);
    expect(argument(rbd.createHeader({ ...fields, dataPoolId: 4 }), 'create')).toBe(
      hex(`${header} 0400000000000000`).toString('hex'),
    );
    expect(argument(rbd.getFeatures(true), 'get_features')).toBe('feffffffffffffff01');
    expect(argument(rbd.getSize(), 'get_size')).toBe('feffffffffffffff');
    expect(argument(rbd.dirAddImage('p1', '101d26'), 'dir_add_image')).toBe(
      hex(`02000000 ${ascii('p1')} 06000000 ${ascii('101d26')}`).toString('hex'),
    );
    expect(argument(rbd.listMetadata('conf_', 64), 'metadata_list')).toBe(
      hex(`05000000 ${ascii('conf_')} 4000000000000000`).toString('hex'),
    );
    expect(argument(rbd.setMetadata(new Map([['k', Buffer.from('v')]])), 'metadata_set')).toBe(
      hex(`01000000 01000000 ${ascii('k')} 01000000 ${ascii('v')}`).toString('hex'),
    );
    expect(argument(rbd.trashStateSet('ab', 2, 0), 'trash_state_set')).toBe(
      hex(`02000000 ${ascii('ab')} 02 00`).toString('hex'),
    );
  });

  it('encodes what clones, snapshots and object maps need', () => {
    const child = { poolId: 2, imageId: 'c1', poolNamespace: 'n' };
    const childSpec = `0201 13000000 0200000000000000 02000000 ${ascii('c1')} 01000000 ${ascii('n')}`;
    expect(argument(rbd.attachChild(6n, child), 'child_attach')).toBe(
      hex(`0600000000000000 ${childSpec}`).toString('hex'),
    );
    const parent = { poolId: 1, poolNamespace: '', imageId: 'p1', snapId: 6n };
    const parentSpec = `0101 1a000000 0100000000000000 00000000 02000000 ${ascii('p1')} 0600000000000000`;
    expect(argument(rbd.attachParent(parent, 4096), 'parent_attach')).toBe(
      hex(`${parentSpec} 0010000000000000 00`).toString('hex'),
    );
    expect(argument(rbd.addChild(parent, 'c1'), 'add_child')).toBe(
      hex(
        `0100000000000000 02000000 ${ascii('p1')} 0600000000000000 02000000 ${ascii('c1')}`,
      ).toString('hex'),
    );
    expect(argument(rbd.addSnapshot('s1', 6n, { type: 'user' }), 'snapshot_add')).toBe(
      hex(`02000000 ${ascii('s1')} 0600000000000000 0101 04000000 00000000`).toString('hex'),
    );
    expect(argument(rbd.sparseCopyup([[8, 2]], Buffer.from('ab')), 'sparse_copyup')).toBe(
      hex(`01000000 0800000000000000 0200000000000000 02000000 ${ascii('ab')}`).toString('hex'),
    );
    expect(argument(rbd.objectMapUpdate(1, 3, 2, 1), 'object_map_update')).toBe(
      hex('0100000000000000 0300000000000000 02 01 01').toString('hex'),
    );
    expect(() => rbd.sparsifyObject(0, true)).toThrow(RangeError);
  });

  it('writes the trash entry of an image under removal as rbd rm does', () => {
    const time = { sec: 0x6b0071a5, nsec: 0x2d3681b8 };
    const entry = {
      source: rbd.TRASH_SOURCE.REMOVING,
      name: 'h2-huge2',
      deletionTime: time,
      defermentEndTime: time,
      state: rbd.TRASH_STATE.REMOVING,
    };
    const stored = hex(
      `02011e000000 03 08000000 ${ascii('h2-huge2')} a571006b b881362d a571006b b881362d 02`,
    );
    expect(argument(rbd.trashAdd('12ab', entry), 'trash_add')).toBe(
      hex(`04000000 ${ascii('12ab')}`).toString('hex') + stored.toString('hex'),
    );
    expect(rbd.trashGet('12ab').decode(stored)).toEqual(entry);
  });

  it('reads an entry that an old release wrote, without a state', () => {
    const old = hex(`010118000000 00 03000000 ${ascii('old')} 0100000002000000 0300000004000000`);
    expect(rbd.trashGet('x').decode(old)).toMatchObject({ name: 'old', source: 0, state: 0 });
  });

  it('reads snapshots of every kind', () => {
    const info = (namespace: string) => {
      const body = hex(`0800000000000000 ${namespace} 02000000 ${ascii('s1')} 0000800200000000
        4271006b 227b9708 01000000`);
      return Buffer.concat([Uint8Array.of(1, 1, body.length, 0, 0, 0), body]);
    };
    expect(rbd.getSnapshot(8n).decode(info('01010400000000000000'))).toEqual({
      id: 8n,
      name: 's1',
      namespace: { type: 'user' },
      imageSize: 41_943_040,
      timestamp: { sec: 0x6b007142, nsec: 0x08977b22 },
      childCount: 1,
    });
    const trash = '01010e000000 02000000 02000000 7332 00000000';
    expect(rbd.getSnapshot(8n).decode(info(trash)).namespace).toEqual({
      type: 'trash',
      originalName: 's2',
      originalType: 0,
    });
    const group = `010117000000 01000000 0500000000000000 01000000 67 02000000 6773`;
    expect(rbd.getSnapshot(8n).decode(info(group)).namespace).toEqual({
      type: 'group',
      poolId: 5,
      groupId: 'g',
      groupSnapshotId: 'gs',
    });
    // One of the future, and one that is not as it should be: the image is read all the same.
    for (const [code, odd] of [
      [4, '010106000000 04000000 0201'],
      [3, '010106000000 03000000 0201'],
    ] as const) {
      const namespace = { type: 'unknown', code };
      expect(rbd.getSnapshot(8n).decode(info(odd)).namespace).toEqual(namespace);
    }
  });

  it('reads what may be absent', () => {
    expect(rbd.getParentOverlap().decode(hex('00'))).toBeUndefined();
    expect(rbd.getParentOverlap().decode(hex('01 0010000000000000'))).toBe(4096);
    expect(rbd.getDataPool().decode(hex('ffffffffffffffff'))).toBe(-1);
  });

  it('ignores what follows an answer, and names the call of one that is too short', () => {
    expect(rbd.getSize().decode(hex('16 0000100000000000 ffff'))).toEqual({
      order: 22,
      size: 1 << 20,
    });
    expect(() => rbd.getSize().decode(hex('16 0000'))).toThrow(/rbd\.get_size/);
    expect(() => rbd.dirList('', 10).decode(hex('ffffff7f'))).toThrow(
      /does not fit .* rbd\.dir_list/,
    );
    expect(() => rbd.getSize().decode(hex('16 ffffffffffffffff'))).toThrow(/2\^53/);
  });
});

describe('execute', () => {
  it('refuses a reply that lacks an answer', async () => {
    const objects = new FakeObjects();
    objects.operate = async () => ({ result: 0, ops: [], userVersion: 0n });
    const ioctx = new IoContext(objects, { id: 1, name: 'rbd' });
    await expect(execute(ioctx, 'oid', [rbd.getSize()])).rejects.toMatchObject({ code: 'EPROTO' });
  });
});

describe('listWatchers', () => {
  it('reads the answer of an OSD', async () => {
    const objects = new FakeObjects();
    const captured = hex(`0101 48000000 01000000 0201 38000000 08 0c77000000000000 10a500bca67f0000
      1e000000 01 01011c000000 03000000 9e936f1b 10000000 0200 0000 ac154001 0000000000000000`);
    captured.writeUInt32LE(captured.length - 6, 2);
    objects.operate = async () => ({
      result: 0,
      ops: [{ rval: 0, outdata: captured }],
      userVersion: 0n,
    });
    expect(await listWatchers(new IoContext(objects, { id: 1, name: 'rbd' }), 'oid')).toEqual([
      {
        name: { type: 8, num: 0x770cn },
        cookie: 0x7fa6bc00a510n,
        timeoutSeconds: 30,
        addr: { type: 3, nonce: 0x1b6f939e, host: '172.21.64.1', port: 0 },
      },
    ]);
  });
});

// Goal: every operation that we send means to a real OSD what Ceph's own `rados` command and librados mean by it. Method:
// what we write, `rados` reads; what `rados` writes, we read; and each operation's edges as the OSD answers them.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { decodeFirst, list, map, string, u64n, blob } from '../../src/encoding/codec.js';
import { Decoder } from '../../src/encoding/decoder.js';
import { NOSNAP, utime, utimeToMs } from '../../src/encoding/types.js';
import { OSD_FLAG } from '../../src/messages/osd-messages.js';
import {
  allocHintOp,
  appendOp,
  assertVersionOp,
  callOp,
  CMP,
  cmpExtOp,
  cmpXattrOp,
  cmpXattrU64Op,
  createOp,
  deleteOp,
  getXattrOp,
  getXattrsOp,
  OP_FLAG,
  omapClearOp,
  omapCmpOp,
  omapGetHeaderOp,
  omapGetKeysOp,
  omapGetValsByKeysOp,
  omapGetValsOp,
  omapRmKeyRangeOp,
  omapRmKeysOp,
  omapSetHeaderOp,
  omapSetValsOp,
  type OsdOp,
  readOp,
  rmXattrOp,
  rollbackOp,
  setXattrOp,
  sparseReadOp,
  statOp,
  truncateOp,
  writeFullOp,
  writeOp,
  writeSameOp,
  zeroOp,
} from '../../src/messages/osd-op.js';
import type { IoContext, OperateOptions } from '../../src/rados/io-context.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { listWatchers } from '../../src/rados/watchers.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { connectTo } from './support/rados-clients.js';

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array | undefined) => Buffer.from(data ?? []).toString();

describeCeph('operations on a real OSD', () => {
  let cluster: CephCluster;
  let client: RadosClient;
  let ioctx: IoContext;

  beforeAll(async () => {
    cluster = await CephCluster.start({ osds: 2 });
    client = await connectTo(cluster);
    ioctx = await client.ioctx('rbd');
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });

  const rados = (...args: string[]) => cluster.rados('-p', 'rbd', ...args);
  async function outputs(
    oid: string,
    ops: OsdOp[],
    options?: OperateOptions,
  ): Promise<Uint8Array[]> {
    const result = await ioctx.operate(oid, ops, options);
    return result.ops.map(({ outdata }) => outdata);
  }
  const content = async (oid: string) => text(await ioctx.read(oid, 0, 0));

  describe('data', () => {
    it('that we write is what rados gets, and the other way round', async () => {
      await ioctx.operate('ours', [writeFullOp(bytes('from linger'))]);
      expect(await rados('get', 'ours', '-')).toBe('from linger');
      const path = join(cluster.dir, 'theirs');
      await writeFile(path, 'from rados');
      await rados('put', 'theirs', path);
      expect(await content('theirs')).toBe('from rados');
    });

    it('is written at offsets, with zeros in the gap, appended, truncated and removed', async () => {
      await ioctx.operate('d', [writeOp(4, bytes('four'))]);
      expect(await content('d')).toBe('\0\0\0\0four');
      await ioctx.operate('d', [appendOp(bytes('!'))]);
      await ioctx.operate('d', [truncateOp(7)]);
      expect(await content('d')).toBe('\0\0\0\0fou');
      await ioctx.operate('d', [truncateOp(9)]);
      expect(await rados('get', 'd', '-')).toBe('\0\0\0\0fou\0\0');
      await ioctx.operate('d', [deleteOp()]);
      await expect(ioctx.read('d', 0, 0)).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(ioctx.operate('d', [deleteOp()])).rejects.toMatchObject({
        code: 'ENOENT',
        outcome: 'not-applied',
      });
    });

    it('is zeroed within the object; a range that reaches its end shortens it', async () => {
      await ioctx.operate('z', [writeFullOp(bytes('0123456789'))]);
      await ioctx.operate('z', [zeroOp(2, 3)]);
      expect(await content('z')).toBe('01\0\0\x0056789');
      await ioctx.operate('z', [zeroOp(8, 100)]);
      expect(await content('z')).toBe('01\0\0\x00567');
      await ioctx.operate('z', [zeroOp(50, 10)]);
      expect(await content('z')).toBe('01\0\0\x00567');
      await expect(ioctx.operate('none', [zeroOp(0, 10)])).resolves.toMatchObject({ result: 0 });
    });

    it('is read short at the end, empty beyond it, and whole with length 0', async () => {
      await ioctx.operate('r', [writeFullOp(bytes('0123456789'))]);
      expect(text(await ioctx.read('r', 8, 100))).toBe('89');
      expect(text(await ioctx.read('r', 100, 5))).toBe('');
      expect(text(await ioctx.read('r', 3, 0))).toBe('3456789');
      expect(text(await ioctx.read('r', 3, 2))).toBe('34');
    });

    it('is read sparsely as extents and their bytes', async () => {
      await ioctx.operate('s', [writeFullOp(bytes('sparse'))]);
      const [out] = await outputs('s', [sparseReadOp(0, 100)]);
      const decoder = new Decoder(out as Uint8Array);
      expect(map(u64n, u64n).decode(decoder)).toEqual(new Map([[0, 6]]));
      expect(text(decoder.blob())).toBe('sparse');
      const [beyond] = await outputs('s', [sparseReadOp(100, 100)]);
      expect(beyond).toEqual(Buffer.alloc(8));
    });

    it('is written as a repeated pattern', async () => {
      await ioctx.operate('w', [writeSameOp(2, 9, bytes('abc'))]);
      expect(await content('w')).toBe('\0\0abcabcabc');
      await expect(ioctx.operate('w', [writeSameOp(0, 8, bytes('abc'))])).rejects.toMatchObject({
        code: 'EINVAL',
      });
    });

    it('is compared, and the write with it is done only if it is the same', async () => {
      await ioctx.operate('c', [writeFullOp(bytes('before'))]);
      const swap = (expected: string, next: string) =>
        ioctx.operate('c', [cmpExtOp(0, bytes(expected)), writeOp(0, bytes(next))]);
      await swap('before', 'after!');
      expect(await content('c')).toBe('after!');
      await expect(swap('afteR!', 'again!')).rejects.toMatchObject({
        errno: -(4095 + 4),
        outcome: 'not-applied',
      });
      expect(await content('c')).toBe('after!');
    });

    it("of megabytes goes through both ways, into the caller's buffer", async () => {
      const data = Buffer.alloc(5 * 1024 * 1024 + 3);
      for (let i = 0; i < data.length; i += 4)
        data.writeUInt32LE((i * 2654435761) >>> 0, Math.min(i, data.length - 4));
      await ioctx.operate('big', [writeFullOp(data)]);
      const into = new Uint8Array(data.length);
      const { ops } = await ioctx.operate('big', [readOp(0, data.length)], { into });
      expect(ops[0]?.outdata.buffer).toBe(into.buffer);
      expect(Buffer.compare(into, data)).toBe(0);
      const path = join(cluster.dir, 'big');
      await rados('get', 'big', path);
      expect(await rados('stat', 'big')).toContain(`size ${data.length}`);
    });

    it('beyond what an object may hold is refused', async () => {
      await expect(ioctx.operate('huge', [writeOp(1 << 30, bytes('x'))])).rejects.toMatchObject({
        code: 'EFBIG',
      });
      const long = 'x'.repeat(2049);
      await expect(ioctx.operate(long, [statOp()])).rejects.toMatchObject({ code: 'ENAMETOOLONG' });
    });
  });

  describe('existence', () => {
    it('is made by create, exclusively if wished, and told by stat', async () => {
      await ioctx.operate('e', [createOp(true)]);
      await expect(ioctx.operate('e', [createOp(true)])).rejects.toMatchObject({ code: 'EEXIST' });
      await ioctx.operate('e', [createOp(false)]);
      await ioctx.operate('e', [writeOp(0, bytes('12345'))]);
      const [out] = await outputs('e', [statOp()]);
      const decoder = new Decoder(out as Uint8Array);
      expect(decoder.u64n()).toBe(5);
      expect(Math.abs(utimeToMs(utime.decode(decoder)) - Date.now())).toBeLessThan(60_000);
      expect(await rados('stat', 'e')).toContain('size 5');
      await expect(ioctx.operate('nobody', [statOp()])).rejects.toMatchObject({
        code: 'ENOENT',
        op: 'stat',
        target: expect.stringMatching(/^rbd\/nobody at osd\.\d$/) as string,
      });
    });

    it('may be hinted at with the size to come', async () => {
      await ioctx.operate('h', [allocHintOp(4 << 20, 4 << 20), writeOp(0, bytes('hinted'))]);
      expect(await content('h')).toBe('hinted');
    });
  });

  describe('versions', () => {
    it('are told with every answer, and asserted', async () => {
      const first = await ioctx.operate('v', [writeFullOp(bytes('1'))]);
      const second = await ioctx.operate('v', [writeFullOp(bytes('2'))]);
      expect(second.userVersion).toBeGreaterThan(first.userVersion);
      expect((await ioctx.operate('v', [readOp(0, 0)])).userVersion).toBe(second.userVersion);
      await ioctx.operate('v', [assertVersionOp(second.userVersion), readOp(0, 0)]);
      const stale = ioctx.operate('v', [assertVersionOp(first.userVersion), readOp(0, 0)]);
      await expect(stale).rejects.toMatchObject({ code: 'ERANGE' });
      const future = ioctx.operate('v', [assertVersionOp(second.userVersion + 100n), readOp(0, 0)]);
      await expect(future).rejects.toMatchObject({ code: 'EOVERFLOW' });
    });
  });

  describe('attributes', () => {
    it('are those of rados', async () => {
      await ioctx.operate('a', [
        setXattrOp('ours', bytes('value')),
        setXattrOp('empty', bytes('')),
      ]);
      expect(await rados('getxattr', 'a', 'ours')).toBe('value');
      expect((await rados('listxattr', 'a')).trim().split('\n')).toEqual(['empty', 'ours']);
      await rados('setxattr', 'a', 'theirs', 'other');
      const [value, all] = await outputs('a', [getXattrOp('theirs'), getXattrsOp()]);
      expect(text(value)).toBe('other');
      expect([...decodeFirst(map(string, blob), all as Uint8Array).keys()]).toEqual([
        'empty',
        'ours',
        'theirs',
      ]);
      await ioctx.operate('a', [rmXattrOp('ours')]);
      await expect(outputs('a', [getXattrOp('ours')])).rejects.toMatchObject({ code: 'ENODATA' });
    });

    it('are compared as text and as numbers', async () => {
      await ioctx.operate('ac', [setXattrOp('t', bytes('mmm')), setXattrOp('n', bytes('7'))]);
      const compare = (op: OsdOp) => ioctx.operate('ac', [op]);
      expect((await compare(cmpXattrOp('t', CMP.EQ, bytes('mmm')))).result).toBe(1);
      expect((await compare(cmpXattrU64Op('n', CMP.GT, 8n))).result).toBe(1);
      for (const op of [
        cmpXattrOp('t', CMP.EQ, bytes('nnn')),
        cmpXattrOp('missing', CMP.EQ, bytes('x')),
        cmpXattrU64Op('n', CMP.GT, 6n),
      ]) {
        await expect(compare(op)).rejects.toMatchObject({ code: 'ECANCELED' });
      }
    });
  });

  describe('omaps', () => {
    it('are those of rados', async () => {
      await ioctx.operate('o', [
        omapSetValsOp(new Map(['k1', 'k2', 'k3', 'm1'].map((key) => [key, bytes(`v-${key}`)]))),
        omapSetHeaderOp(bytes('header')),
      ]);
      expect((await rados('listomapkeys', 'o')).trim().split('\n')).toEqual([
        'k1',
        'k2',
        'k3',
        'm1',
      ]);
      expect(await rados('getomapheader', 'o')).toContain('header');
      await rados('setomapval', 'o', 'theirs', 'other');
      const [keys, values, header, some] = await outputs('o', [
        omapGetKeysOp('k1', 2),
        omapGetValsOp('', 100, 'k'),
        omapGetHeaderOp(),
        omapGetValsByKeysOp(['theirs', 'm1', 'nobody']),
      ]);
      const keyDecoder = new Decoder(keys as Uint8Array);
      expect(list(string).decode(keyDecoder)).toEqual(['k2', 'k3']);
      expect(keyDecoder.bool()).toBe(true);
      const pairs = map(string, blob);
      expect([...decodeFirst(pairs, values as Uint8Array)].map(([k, v]) => [k, text(v)])).toEqual([
        ['k1', 'v-k1'],
        ['k2', 'v-k2'],
        ['k3', 'v-k3'],
      ]);
      expect(text(header)).toBe('header');
      expect([...decodeFirst(pairs, some as Uint8Array).keys()]).toEqual(['m1', 'theirs']);
    });

    it('lose keys, ranges and everything', async () => {
      const set = () =>
        ioctx.operate('or', [
          omapSetValsOp(new Map(['a', 'b', 'c', 'd', 'e'].map((key) => [key, bytes(key)]))),
        ]);
      const keys = async () => (await rados('listomapkeys', 'or')).trim().split('\n').join('');
      await set();
      await ioctx.operate('or', [omapRmKeysOp(['a', 'nobody'])]);
      expect(await keys()).toBe('bcde');
      await ioctx.operate('or', [omapRmKeyRangeOp('b', 'd')]);
      expect(await keys()).toBe('de');
      await ioctx.operate('or', [omapClearOp()]);
      expect(await keys()).toBe('');
    });

    it('are compared', async () => {
      await ioctx.operate('oc', [omapSetValsOp(new Map([['k', bytes('mmm')]]))]);
      const compare = (op: number, value: string) =>
        ioctx.operate('oc', [omapCmpOp(new Map([['k', { value: bytes(value), op }]]))]);
      await compare(CMP.EQ, 'mmm');
      await compare(CMP.GT, 'lll');
      await compare(CMP.LT, 'nnn');
      await expect(compare(CMP.EQ, 'x')).rejects.toMatchObject({ code: 'ECANCELED' });
      await expect(compare(CMP.GT, 'nnn')).rejects.toMatchObject({ code: 'ECANCELED' });
    });
  });

  describe('class calls', () => {
    it('bring their output and their errors, by name', async () => {
      await ioctx.operate('hello', [createOp(false)]);
      const output = await ioctx.call('hello', 'hello', 'say_hello', bytes('linger'), {
        write: false,
      });
      expect(text(output)).toBe('Hello, linger!');
      await expect(ioctx.call('x', 'nobody', 'nothing')).rejects.toMatchObject({
        code: 'EOPNOTSUPP',
        op: 'nobody.nothing',
      });
      await expect(ioctx.call('x', 'rbd', 'get_id')).rejects.toMatchObject({ op: 'rbd.get_id' });
    });

    it('that write are one transaction with what comes along', async () => {
      const id = Buffer.concat([Buffer.from([4, 0, 0, 0]), Buffer.from('abcd')]);
      const ops = [createOp(true), callOp('rbd', 'set_id', id), writeOp(20, bytes('tail'))];
      await ioctx.operate('cls', ops, { write: true });
      expect(text(await ioctx.call('cls', 'rbd', 'get_id'))).toBe('\x04\0\0\0abcd');
      await expect(ioctx.operate('cls', ops, { write: true })).rejects.toMatchObject({
        code: 'EEXIST',
      });
    });
  });

  describe('vectors', () => {
    it('are one transaction: one failure, and nothing is changed', async () => {
      await ioctx.operate('t', [writeFullOp(bytes('before'))]);
      const vector = ioctx.operate('t', [
        writeFullOp(bytes('after')),
        setXattrOp('x', bytes('y')),
        assertVersionOp(1n),
      ]);
      await expect(vector).rejects.toMatchObject({ code: 'ERANGE', outcome: 'not-applied' });
      expect(await content('t')).toBe('before');
      await expect(outputs('t', [getXattrOp('x')])).rejects.toMatchObject({ code: 'ENODATA' });
    });

    it('go on after a failure that is allowed, and tell it', async () => {
      await ioctx.operate('f', [writeFullOp(bytes('x'))]);
      const { ops } = await ioctx.operate('f', [
        { ...getXattrOp('nobody'), flags: OP_FLAG.FAILOK },
        readOp(0, 0),
      ]);
      expect(ops[0]?.rval).toBe(-61);
      expect(text(ops[1]?.outdata)).toBe('x');
    });
  });

  describe('names', () => {
    it('live in namespaces', async () => {
      const inside = ioctx.withNamespace('ns');
      await inside.operate('same', [writeFullOp(bytes('inside'))]);
      await ioctx.operate('same', [writeFullOp(bytes('outside'))]);
      expect(await rados('-N', 'ns', 'get', 'same', '-')).toBe('inside');
      expect(await rados('get', 'same', '-')).toBe('outside');
      expect(text(await inside.read('same', 0, 0))).toBe('inside');
    });

    it('may be placed by another key', async () => {
      const target = { pool: ioctx.pool.id, nspace: '', oid: 'keyed', key: 'locator' };
      await client.operate(target, [writeFullOp(bytes('by key'))]);
      expect(await rados('--object-locator', 'locator', 'get', 'keyed', '-')).toBe('by key');
    });

    it('may be any text', async () => {
      for (const name of [
        'a b',
        'ünïcödé 🦀',
        'slash/and%20',
        '\ufeffmark',
        'quote\'"',
        'x'.repeat(2048),
      ]) {
        await ioctx.operate(name, [writeFullOp(bytes(name))]);
        expect(await content(name)).toBe(name);
        expect(await rados('get', name, '-')).toBe(name);
      }
    });
  });

  describe('snapshots', () => {
    it('keep what a write with their context replaces', async () => {
      await ioctx.operate('snapped', [writeFullOp(bytes('first'))]);
      const snapid = await ioctx.createSelfManagedSnap();
      const snapContext = { seq: snapid, snaps: [snapid] };
      await ioctx.operate('snapped', [writeFullOp(bytes('second'))], { snapContext });
      const at = async (id: bigint) =>
        text((await outputs('snapped', [readOp(0, 0)], { snapid: id }))[0]);
      expect(await at(snapid)).toBe('first');
      expect(await at(NOSNAP)).toBe('second');
      await ioctx.operate('snapped', [rollbackOp(snapid)], { snapContext });
      expect(await at(NOSNAP)).toBe('first');
      await ioctx.removeSelfManagedSnap(snapid);
    });

    it('refuse a context that goes back in time, when asked to', async () => {
      const older = await ioctx.createSelfManagedSnap();
      const newer = await ioctx.createSelfManagedSnap();
      const write = (seq: bigint, flags = 0) =>
        ioctx.operate('ordered', [writeFullOp(bytes('x'))], {
          snapContext: { seq, snaps: [seq] },
          flags,
        });
      await write(newer);
      await expect(write(older, OSD_FLAG.ORDERSNAP)).rejects.toMatchObject({ code: 'ERESTART' });
      await write(older);
      await expect(
        ioctx.operate('ordered', [writeFullOp(bytes('x'))], {
          snapContext: { seq: newer, snaps: [older, newer] },
        }),
      ).rejects.toMatchObject({ code: 'EINVAL' });
    });
  });

  it('watchers are listed as rados lists them', async () => {
    await ioctx.operate('watched', [createOp(false)]);
    expect(await listWatchers(ioctx, 'watched')).toEqual([]);
    expect(await rados('listwatchers', 'watched')).toBe('');
  });

  it('an opcode that the OSD does not know is refused', async () => {
    await ioctx.operate('op', [createOp(false)]);
    await expect(ioctx.operate('op', [{ ...statOp(), code: 0x12ff }])).rejects.toMatchObject({
      code: 'EOPNOTSUPP',
    });
  });

  it('space and pools are those that ceph tells', async () => {
    const { stdout } = await cluster.runOrThrow('ceph', ['osd', 'lspools', '-f', 'json']);
    const theirs = JSON.parse(stdout) as { poolnum: number; poolname: string }[];
    expect(client.pools()).toEqual(
      theirs.map(({ poolnum, poolname }) => ({ id: poolnum, name: poolname })),
    );
    // Without a manager nobody has counted anything yet.
    expect(await client.statfs()).toMatchObject({ fsid: cluster.fsid, kb: 0, numObjects: 0 });
    expect(client.fsid).toBe(cluster.fsid);
  });
});

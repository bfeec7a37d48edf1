/** Who may connect and do what, how sessions are protected, and what is said when something is refused. */

import { createServer, Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';

import type { Cluster, ClusterOptions, MapImageOptions } from '../../src/index.js';
import { connect } from '../../src/index.js';
import { FEATURE } from '../../src/rbd/features.js';
import { rejection } from '../block/support/hosts.js';
import { connectTo, expectSameBytes, type GetTarget, KIB, MIB, NAMESPACE } from './support.js';
import type { TargetKind } from './target.js';

/** A well-formed key that is nobody's. */
const WRONG_KEY = 'AQAAAAAAAAAAABAAAQIDBAUGBwgJCgsMDQ4PEA==';

type SocketWrite = (this: Socket, ...args: unknown[]) => boolean;
const socketWrite = Socket.prototype.write as SocketWrite;

export function access(kind: TargetKind, getTarget: GetTarget): void {
  describe('access', () => {
    let admin: Cluster;

    beforeAll(async () => {
      admin = await connectTo(getTarget());
      await admin.pool('rbd').images.create('guarded', { size: MIB });
      await admin.pool('data').images.create('elsewhere', { size: MIB });
      await admin.pool('rbd', NAMESPACE).images.create('inside', { size: MIB });
    });
    afterAll(() => admin?.close());

    /** Makes a user, and connects as it. */
    const connectAs = async (id: string, osdCaps: string, options: ClusterOptions = {}) => {
      const { output } = await admin.command({
        prefix: 'auth get-or-create-key',
        entity: `client.${id}`,
        caps: ['mon', 'profile rbd', 'osd', osdCaps],
      });
      const key = Buffer.from(output).toString().trim();
      return connectTo(getTarget(), { name: `client.${id}`, key, ...options });
    };

    describe('a key with limited caps', () => {
      it('of one pool opens that pool and no other', async () => {
        await using cluster = await connectAs('one-pool', 'profile rbd pool=rbd');
        await cluster.pool('rbd').images.create('own', { size: MIB });
        await using device = await cluster.map('rbd/own');
        await device.write(0, Buffer.from('mine'));
        expect(Buffer.from(await device.read(0, 4)).toString()).toBe('mine');
        for (const [call, target] of [
          [() => cluster.map('data/elsewhere'), 'data/elsewhere'],
          [() => cluster.pool('data').images.create('another', { size: 1 }), 'data/another'],
          [() => cluster.pool('data').images.info('elsewhere'), 'data/elsewhere'],
        ] as const) {
          const error = await rejection(call());
          expect(error).toMatchObject({ code: 'EPERM', errno: -1, target });
          expect(error.message).toContain(target);
        }
        expect(await rejection(cluster.pool('data').images.list())).toMatchObject({
          code: 'EPERM',
        });
        // Nor may it act as an administrator.
        expect(await rejection(cluster.command({ prefix: 'osd down', ids: ['0'] }))).toMatchObject({
          code: 'EACCES',
        });
      });

      it('of one namespace opens that namespace and no other', async () => {
        const caps = `profile rbd pool=rbd namespace=${NAMESPACE}`;
        await using cluster = await connectAs('one-namespace', caps);
        await using device = await cluster.map(`rbd/${NAMESPACE}/inside`);
        await device.write(0, Buffer.alloc(10, 1));
        const error = await rejection(cluster.map('rbd/guarded'));
        expect(error).toMatchObject({ code: 'EPERM', target: 'rbd/guarded' });
      });

      it.each([1, 0])('for reading reads, and writes nothing (threads: %i)', async (threads) => {
        const caps = 'profile rbd-read-only pool=rbd';
        await using cluster = await connectAs('reader', caps, { threads });
        {
          await using device = await admin.map('rbd/guarded');
          await device.write(0, Buffer.alloc(8 * KIB, 7));
        }
        await using reading = await cluster.map('rbd/guarded', { readOnly: true });
        expectSameBytes(await reading.read(0, 8 * KIB), Buffer.alloc(8 * KIB, 7));
        // The header cannot be watched, so it is not opened for writing at all, as with krbd and librbd.
        const error = await rejection(cluster.map('rbd/guarded'));
        expect(error).toMatchObject({ code: 'EPERM', target: 'rbd/guarded' });
        expect(error.message).toContain('Operation not permitted');
        for (const call of [
          () => reading.write(0, Buffer.alloc(1)),
          () => reading.writeZeroes(0, 4096),
          () => reading.compareAndWrite(0, Buffer.alloc(1, 7), Buffer.alloc(1)),
          () => reading.discard(0, MIB),
        ]) {
          const refused = await rejection(call());
          expect(refused).toMatchObject({ code: 'EROFS', target: 'rbd/guarded' });
          expect(refused['outcome']).toBe('not-applied');
        }
        const removal = await rejection(cluster.pool('rbd').images.remove('guarded'));
        expect(removal).toMatchObject({ code: 'EPERM', target: 'rbd/guarded' });
        expectSameBytes(await reading.read(0, 8 * KIB), Buffer.alloc(8 * KIB, 7));
      });
    });

    describe('connecting is refused', () => {
      const refused = (options: ClusterOptions) => rejection(connectTo(getTarget(), options));

      it('with a wrong key, without a word of the key', async () => {
        const error = await refused({ key: WRONG_KEY });
        expect(error).toMatchObject({ code: 'EACCES', errno: -13 });
        expect(error.message).toContain('client.admin');
        expect(`${error.message}${error.stack}${String(error.cause)}`).not.toContain(WRONG_KEY);
      });

      it('to a user that the cluster does not know', async () => {
        const error = await refused({ name: 'client.nobody', key: WRONG_KEY });
        expect(error).toMatchObject({ code: 'EACCES', errno: -13 });
        expect(error.message).toContain('client.nobody');
      });

      it('without a key, and says where it was looked for', async () => {
        const keyring = join(getTarget().dir, 'no-such-keyring');
        const error = await refused({ name: 'client.admin', keyring });
        expect(error).toMatchObject({ code: 'ENOENT' });
        expect(error.message).toContain(keyring);
      });

      it('without a configuration, and names the file', async () => {
        const conf = join(getTarget().dir, 'no-such.conf');
        const error = await rejection(connect({ conf }));
        expect(error).toMatchObject({ code: 'ENOENT' });
        expect(error.message).toContain(conf);
      });

      it('by a cluster that is not the one asked for', async () => {
        const fsid = '00000000-1111-2222-3333-444444444444';
        const error = await refused({ fsid });
        expect(error).toMatchObject({ code: 'EINVAL' });
        expect(error.message).toContain(fsid);
      });

      it('by nobody: where no monitor answers, within the time allowed, and names it', async () => {
        // It accepts, and never says a word.
        const silent = createServer(() => {});
        await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
        const { port } = silent.address() as { port: number };
        const started = Date.now();
        const monHost = `[v2:127.0.0.1:${port}]`;
        const error = await refused({ monHost, mountTimeoutMs: 1500 });
        silent.close();
        expect(error).toMatchObject({ code: 'ETIMEDOUT' });
        expect(error.message).toContain(`127.0.0.1:${port}`);
        expect(Date.now() - started).toBeLessThan(10_000);
      });
    });

    describe('what is not there is named', () => {
      it.each([
        ['a pool', 'nowhere/image', 'nowhere'],
        ['a namespace', 'rbd/nowhere/image', 'rbd/nowhere'],
        ['an image', 'rbd/nothing', 'rbd/nothing'],
        ['a snapshot', 'rbd/guarded@never', 'never'],
      ])('%s', async (_, spec, named) => {
        const error = await rejection(admin.map(spec));
        expect(error).toMatchObject({ code: 'ENOENT', errno: -2 });
        expect(error.message).toContain(named);
      });
    });

    describe('an image', () => {
      it('that is mapped for reading refuses every change, at once', async () => {
        await using device = await admin.map('rbd/guarded', { options: 'ro' });
        for (const call of [
          () => device.write(0, Buffer.alloc(1)),
          () => device.writeZeroes(0, 1),
          () => device.discard(0, 1),
          () => device.writeSame(0, 1, Buffer.alloc(1)),
          () => device.compareAndWrite(0, Buffer.alloc(1), Buffer.alloc(1)),
          () => device.resize(2 * MIB),
        ]) {
          const error = await rejection(call());
          expect(error).toMatchObject({ code: 'EROFS', errno: -30, outcome: 'not-applied' });
          expect(error.message).toContain('rbd/guarded');
        }
        await device.flush();
      });

      it('that shrinks under its writers fails what lies beyond with EIO or EINVAL, and keeps nothing of it', async () => {
        await admin.pool('rbd').images.create('shrunk', { size: 8 * MIB, order: 16 });
        await using device = await admin.map('rbd/shrunk');
        const shrinking = device.resize(MIB);
        const writes = Array.from({ length: 200 }, (_, i) =>
          device.write((i * 40_960) % (8 * MIB - 4096), Buffer.alloc(4096, 1)),
        );
        const results = await Promise.allSettled(writes);
        await shrinking;
        for (const result of results) {
          if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'EIO' });
        }
        const beyond = await rejection(device.read(MIB - 1, 2));
        expect(beyond).toMatchObject({ code: 'EINVAL' });
        await device.resize(8 * MIB);
        expectSameBytes(await device.read(MIB, 7 * MIB), Buffer.alloc(7 * MIB));
      });

      it('cannot be created with a feature that is not there yet, which is named', async () => {
        const features = FEATURE.LAYERING | FEATURE.JOURNALING | FEATURE.NON_PRIMARY;
        const error = await rejection(
          admin.pool('rbd').images.create('features', { size: 1, features }),
        );
        expect(error).toMatchObject({ code: 'ENOSYS', outcome: 'not-applied' });
        expect(error.message).toMatch(/'journaling'.*'non-primary'/);
      });

      // The embedded cluster has no journals.
      if (kind.hasTools && !kind.name.includes('embedded')) {
        it('with features that are not there yet is refused for writing by their names, and read', async () => {
          const { tools } = getTarget();
          await tools?.rbd('create', '--size', '4M', '--image-feature', 'layering', 'rbd/featured');
          {
            await using device = await admin.map('rbd/featured');
            await device.write(1000, Buffer.from('before'));
          }
          await tools?.rbd('feature', 'enable', 'rbd/featured', 'exclusive-lock', 'journaling');
          const error = await rejection(admin.map('rbd/featured'));
          expect(error).toMatchObject({ code: 'ENOSYS', errno: -38 });
          expect(error.message).toContain("'journaling'");
          await using device = await admin.map('rbd/featured', { readOnly: true });
          expect(Buffer.from(await device.read(1000, 6)).toString()).toBe('before');
          expect(await rejection(device.write(0, Buffer.alloc(1)))).toMatchObject({
            code: 'EROFS',
          });
        });
      }
    });

    describe('sessions', () => {
      afterEach(() => vi.restoreAllMocks());

      const SECRET = Buffer.from('this is what nobody on the wire may read');

      /** Whether the data of a write can be read on the wire, by whoever listens. */
      async function isReadableOnTheWire(
        connectOptions: ClusterOptions,
        mapOptions: MapImageOptions,
      ): Promise<boolean> {
        await using cluster = await connectTo(getTarget(), { ...connectOptions, threads: 0 });
        await using device = await cluster.map('rbd/guarded', mapOptions);
        let readable = false;
        // Looked at as they are sent: the memory of a frame is used again.
        const tap: SocketWrite = function (...args) {
          readable ||= Buffer.from(args[0] as Uint8Array).includes(SECRET);
          return socketWrite.apply(this, args);
        };
        vi.spyOn(Socket.prototype, 'write').mockImplementation(
          tap as typeof Socket.prototype.write,
        );
        await device.write(5000, SECRET);
        vi.restoreAllMocks();
        expectSameBytes(await device.read(5000, SECRET.length), SECRET);
        await using again = await admin.map('rbd/guarded', { readOnly: true });
        expectSameBytes(await again.read(5000, SECRET.length), SECRET);
        return readable;
      }

      it('are encrypted in mode secure, and checked but readable in mode crc', async () => {
        expect(await isReadableOnTheWire({}, { msMode: 'crc' })).toBe(true);
        expect(await isReadableOnTheWire({}, { options: 'ms_mode=secure' })).toBe(false);
      });

      it('are as the connection asked, for whatever is mapped over it', async () => {
        expect(await isReadableOnTheWire({ msMode: 'secure' }, {})).toBe(false);
        expect(await isReadableOnTheWire({ msMode: 'crc' }, {})).toBe(true);
        expect(await isReadableOnTheWire({ msMode: 'secure' }, { msMode: 'crc' })).toBe(true);
      });

      it.each(['crc', 'secure'] as const)('carry large transfers in mode %s', async (msMode) => {
        await admin.pool('rbd').images.create(`large-${msMode}`, { size: 24 * MIB });
        await using device = await admin.map(`rbd/large-${msMode}`, { msMode });
        const content = Buffer.alloc(24 * MIB);
        for (let i = 0; i < content.length; i += 4) content.writeUInt32LE(i, i);
        await device.write(0, content);
        expectSameBytes(await device.read(0, content.length), content);
        expect(device.attributes.configInfo).toContain(`ms_mode=${msMode}`);
      });
    });
  });
}

// Linux's own rbd driver, the client that linger is made after, on the embedded cluster and on a real one: what it writes
// we read, and the other way round, and the lock goes from one to the other and back.

import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type BlockDevice, type Cluster, connect } from '../../src/index.js';
import { describeCeph } from './support/ceph-cluster.js';
import { KrbdGuest, type KrbdTarget, krbdMissing } from './support/krbd-guest.js';
import { callLinger } from './support/linger-cli.js';
import { runOrThrow } from './support/processes.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const MIB = 1024 * 1024;
/** The file system is at the front; behind it, both write blocks of their own. */
const FS_MIB = 32;
const KRBD_AT = 40 * MIB;
const LINGER_AT = 44 * MIB;
const BLOCK = 64 * 1024;

// More than the guest allows itself: its kernel may have to be downloaded before it boots, and a test runs several commands.
vi.setConfig({ hookTimeout: 600_000, testTimeout: 600_000 });

/** As `yes WORD | head -c SIZE`. */
const words = (word: string, size: number) =>
  Buffer.from(`${word}\n`.repeat(Math.ceil(size / (word.length + 1)))).subarray(0, size);
const md5 = (data: Uint8Array) => createHash('md5').update(data).digest('hex');

describeKrbd('krbd', () => {
  // One machine maps images of both clusters, as a host of several clusters does.
  let guest: KrbdGuest;
  beforeAll(async () => {
    guest = await KrbdGuest.boot();
  });
  afterAll(() => guest?.[Symbol.asyncDispose]());

  describe.each(SERVERS)('on $name', (kind) => krbdOn(kind, () => guest));
});

function krbdOn(kind: ServerKind, theGuest: () => KrbdGuest): void {
  let server: Server;
  let target: KrbdTarget;
  let guest: KrbdGuest;
  let cluster: Cluster;
  let ours: BlockDevice;
  let theirs: string;
  const lost: string[] = [];

  const krbdWrites = async (word: string) => {
    const write = `dd of=/dev/${theirs} bs=64k count=1 seek=${KRBD_AT / BLOCK} oflag=direct conv=notrunc`;
    await guest.runOrThrow(`yes ${word} | head -c ${BLOCK} > /tmp/block`);
    await guest.runOrThrow(`${write} if=/tmp/block 2>/tmp/said || { cat /tmp/said; false; }`);
  };
  const krbdReads = (at: number) =>
    guest.runOrThrow(
      `dd if=/dev/${theirs} bs=64k count=1 skip=${at / BLOCK} iflag=direct 2>/dev/null | md5sum | cut -c 1-32`,
    );

  beforeAll(async () => {
    server = await kind.start({ osds: 3, pools: [{ name: 'rbd' }] });
    await server.rbd('create', '--size', '48M', '--object-size', '1M', 'rbd/disk');
    const dump = JSON.parse(await server.ceph('mon', 'dump', '-f', 'json')) as MonDump;
    const addr = dump.mons[0]?.public_addrs.addrvec.find(({ type }) => type === 'v2')?.addr;
    const key = (await server.ceph('auth', 'print-key', 'client.admin')).trim();
    target = { port: Number(addr?.split(':')[1]), key };
    guest = theGuest();
    cluster = await connect({ conf: server.confPath });
  });
  afterAll(async () => {
    await cluster?.close();
    await server?.stop();
  });

  it('maps an image with lock and object map, and makes a file system on it', async () => {
    theirs = await guest.map(target, 'rbd', 'disk');
    expect(await guest.runOrThrow(`cat /sys/bus/rbd/devices/${theirs.slice(3)}/features`)).toBe(
      '0x000000000000003d',
    );
    await guest.runOrThrow(`/e2fsprogs/mke2fs -q -t ext4 /dev/${theirs} ${FS_MIB}M`);
    await guest.runOrThrow(`mount -t ext4 /dev/${theirs} /mnt`);
    await guest.runOrThrow('yes first | head -c 3000000 > /mnt/first; sync');
    expect(await server.rbd('lock', 'ls', 'disk')).toContain('auto ');
  });

  it('gives linger the lock that it holds, and reads what linger wrote', async () => {
    ours = await cluster.map('rbd/disk');
    ours.on('lock-lost', (reason) => lost.push(reason));
    const written = words('linger', BLOCK);
    await ours.write(LINGER_AT, written);
    expect(await krbdReads(LINGER_AT)).toBe(md5(written));
    // With an object map, krbd wants the lock for reading, too; and in between whenever ext4 commits.
    expect(new Set(lost)).toEqual(new Set(['requested']));
  });

  it('takes the lock back, again and again, and linger reads what it wrote', async () => {
    for (const round of ['one', 'two', 'three']) {
      await krbdWrites(`krbd-${round}`);
      const read = Buffer.from(await ours.read(KRBD_AT, BLOCK));
      expect(read.equals(words(`krbd-${round}`, BLOCK))).toBe(true);
      const written = words(`linger-${round}`, BLOCK);
      await ours.write(LINGER_AT, written);
      expect(await krbdReads(LINGER_AT)).toBe(md5(written));
    }
    expect(lost.length).toBeGreaterThanOrEqual(4);
    expect(new Set(lost)).toEqual(new Set(['requested']));
  });

  it('goes on with its file system, and linger tells it of a new size', async () => {
    await guest.runOrThrow('yes second | head -c 2000000 > /mnt/second; rm /mnt/first; sync');
    await ours.resize(50 * MIB);
    const sectors = () => guest.runOrThrow(`cat /sys/block/${theirs}/size`);
    await expect.poll(sectors).toBe(String((50 * MIB) / 512));
  });

  it('discards objects, which are gone from the map, and unmaps', async () => {
    await guest.runOrThrow(`umount /mnt && blkdiscard -o ${KRBD_AT} -l ${2 * MIB} /dev/${theirs}`);
    await guest.unmap(theirs);
    expect(md5(await ours.read(KRBD_AT, BLOCK))).toBe(md5(new Uint8Array(BLOCK)));
    expect(await server.rbd('lock', 'ls', 'disk')).toBe('');
    await ours.close();
    expect(await server.rbd('status', 'disk')).toContain('Watchers: none');
    await server.rbd('object-map', 'check', 'disk', '--no-progress');
    const info = JSON.parse(await server.rbd('info', 'disk', '--format', 'json')) as Info;
    expect(info.flags).toEqual([]);
  });

  it("leaves a file system that linger's export carries away whole", async () => {
    const exported = join(server.dir, 'exported');
    const { code, stderr } = await callLinger(server.confPath, ['export', 'rbd/disk', exported]);
    expect([code, stderr]).toEqual([0, expect.anything()]);
    await runOrThrow('truncate', ['-s', `${FS_MIB}M`, exported]);
    await runOrThrow('e2fsck', ['-f', '-n', exported]);
    const { stdout } = await runOrThrow('debugfs', ['-R', 'cat /second', exported]);
    expect(stdout).toBe(words('second', 2_000_000).toString());
  });

  it('mounts a file system that linger imported, from a snapshot of linger and from a clone', async () => {
    const files = join(server.dir, 'files');
    await mkdir(files);
    const content = words('imported', 1_500_000);
    await writeFile(join(files, 'file'), content);
    const made = join(server.dir, 'made');
    await runOrThrow('mke2fs', ['-q', '-t', 'ext4', '-d', files, made, '16M']);
    for (const args of [
      ['import', made, 'rbd/imported'],
      ['snap', 'create', 'rbd/imported@base'],
      ['snap', 'protect', 'rbd/imported@base'],
      ['clone', 'rbd/imported@base', 'rbd/cloned'],
    ]) {
      expect(await callLinger(server.confPath, args)).toMatchObject({ code: 0 });
    }
    const sum = 'md5sum < /mnt/file | cut -c 1-32';
    const snapshot = await guest.map(target, 'rbd', 'imported', 'base');
    expect(await guest.runOrThrow(`mount -t ext4 -o ro,noload /dev/${snapshot} /mnt; ${sum}`)).toBe(
      md5(content),
    );
    await guest.runOrThrow('umount /mnt');
    await guest.unmap(snapshot);

    const clone = await guest.map(target, 'rbd', 'cloned');
    expect(await guest.runOrThrow(`mount -t ext4 /dev/${clone} /mnt; ${sum}`)).toBe(md5(content));
    await guest.runOrThrow('yes more | head -c 500000 > /mnt/more; umount /mnt');
    await guest.unmap(clone);
    expect(await callLinger(server.confPath, ['flatten', 'rbd/cloned'])).toMatchObject({ code: 0 });
    const exported = join(server.dir, 'cloned');
    await callLinger(server.confPath, ['export', 'rbd/cloned', exported]);
    await runOrThrow('e2fsck', ['-f', '-n', exported]);
    const { stdout } = await runOrThrow('debugfs', ['-R', 'cat /more', exported]);
    expect(stdout).toBe(words('more', 500_000).toString());
    await server.rbd('object-map', 'check', 'cloned', '--no-progress');
    expect(await server.rbd('info', 'cloned')).not.toContain('flags: object map invalid');
  });
}

interface MonDump {
  mons: { public_addrs: { addrvec: { type: string; addr: string }[] } }[];
}

interface Info {
  flags: string[];
}

/** A suite with a virtual machine: as `describeCeph` where there can be none. */
function describeKrbd(name: string, suite: () => void): void {
  const missing = krbdMissing();
  if (missing === undefined) return describeCeph(name, suite);
  if (process.env['LINGER_REQUIRE_CEPH'] === '1') {
    describe(name, () => {
      it('finds what a virtual machine needs', () => {
        throw new Error(`LINGER_REQUIRE_CEPH=1, but krbd ${missing}`);
      });
    });
    return;
  }
  console.warn(`SKIPPED: ${name}: ${missing}`);
  describe.skip(name, suite);
}

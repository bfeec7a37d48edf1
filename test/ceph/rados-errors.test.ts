// Goal: what goes wrong with a real cluster is told with the right errno and with the daemon or object that it is about:
// wrong keys, missing rights, daemons that are gone or silent, pools that are missing, and being fenced.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { createOp, readOp, statOp, writeFullOp } from '../../src/messages/osd-op.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { rejection } from '../support/rejection.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { connectTo } from './support/rados-clients.js';

const bytes = (text: string) => new TextEncoder().encode(text);

describeCeph('identities', () => {
  let cluster: CephCluster;
  beforeAll(async () => {
    cluster = await CephCluster.start({ osds: 1, pools: [{ name: 'rbd' }, { name: 'other' }] });
  });
  afterAll(() => cluster?.stop());

  async function keyOf(keyring: string): Promise<string> {
    const { stdout } = await cluster.runOrThrow('ceph-authtool', [keyring, '-l']);
    return /key = (\S+)/.exec(stdout)?.[1] ?? '';
  }

  it('with a wrong key are refused at once with EACCES', async () => {
    const path = join(cluster.dir, 'wrong.keyring');
    const { stdout } = await cluster.runOrThrow('ceph-authtool', ['--gen-print-key']);
    await writeFile(path, `[client.admin]\n\tkey = ${stdout.trim()}\n`);
    const started = Date.now();
    const failure = await rejection(connectTo(cluster, { keyring: path }));
    expect(failure).toMatchObject({ code: 'EACCES', errno: -13 });
    expect(failure.message).toContain('the key or the user was refused');
    expect(failure.message).toContain('mon at v2:127.0.0.1');
    expect(failure.message).not.toContain(stdout.trim());
    expect(Date.now() - started).toBeLessThan(20_000);
  });

  it('that nobody knows are refused at once with EACCES', async () => {
    const path = join(cluster.dir, 'nobody.keyring');
    const { stdout } = await cluster.runOrThrow('ceph-authtool', ['--gen-print-key']);
    await writeFile(path, `[client.nobody]\n\tkey = ${stdout.trim()}\n`);
    expect(
      await rejection(connectTo(cluster, { name: 'client.nobody', keyring: path })),
    ).toMatchObject({
      code: 'EACCES',
    });
  });

  it('with a key that is no key are refused before anything is sent', async () => {
    expect(await rejection(connectTo(cluster, { key: 'not a key' }))).toMatchObject({
      code: 'EINVAL',
    });
  });

  it('with rights to one pool are refused in another with EPERM, by name', async () => {
    const keyring = await cluster.createUser('client.one', {
      mon: 'allow r',
      osd: 'allow rwx pool=rbd',
    });
    using client = await connectTo(cluster, { name: 'client.one', keyring });
    const mine = await client.ioctx('rbd');
    await mine.operate('x', [writeFullOp(bytes('mine'))]);
    const other = await client.ioctx('other');
    expect(await rejection(other.operate('x', [writeFullOp(bytes('no'))]))).toMatchObject({
      code: 'EPERM',
      outcome: 'not-applied',
      op: 'writefull',
      target: 'other/x at osd.0',
    });
    expect(await rejection(other.read('x', 0, 0))).toMatchObject({ code: 'EPERM' });
  });

  it('that may only read are refused a write, and a class call that writes', async () => {
    const keyring = await cluster.createUser('client.reader', { mon: 'allow r', osd: 'allow r' });
    using client = await connectTo(cluster, { name: 'client.reader', keyring });
    const ioctx = await client.ioctx('rbd');
    expect(Buffer.from(await ioctx.read('x', 0, 0)).toString()).toBe('mine');
    expect(await rejection(ioctx.operate('x', [createOp(false)]))).toMatchObject({ code: 'EPERM' });
    const call = ioctx.call('x', 'rbd', 'set_id', Buffer.from('\x01\0\0\0i'), { write: true });
    expect(await rejection(call)).toMatchObject({ code: 'EPERM', op: 'rbd.set_id' });
  });

  it('confined to a namespace are refused outside of it', async () => {
    const keyring = await cluster.createUser('client.tenant', {
      mon: 'allow r',
      osd: 'allow rw pool=rbd namespace=tenant',
    });
    using client = await connectTo(cluster, { name: 'client.tenant', keyring });
    await (await client.ioctx('rbd', 'tenant')).operate('x', [writeFullOp(bytes('in'))]);
    const outside = await client.ioctx('rbd');
    expect(await rejection(outside.operate('x', [statOp()]))).toMatchObject({ code: 'EPERM' });
  });

  it('without any right to OSDs are told so in time', async () => {
    const keyring = await cluster.createUser('client.monitor', { mon: 'allow r' });
    using client = await connectTo(cluster, { name: 'client.monitor', keyring });
    const ioctx = await client.ioctx('rbd');
    const failure = await rejection(ioctx.operate('x', [statOp()], { timeoutMs: 20_000 }));
    expect(['EPERM', 'EACCES']).toContain(failure.code);
    expect(failure.message).toContain('osd.0');
  });

  it('without the right to a command are refused it with EACCES', async () => {
    const keyring = await keyOf(join(cluster.dir, 'client.reader.keyring'));
    using client = await connectTo(cluster, { name: 'client.reader', key: keyring });
    const failure = await rejection(client.command({ prefix: 'osd pool create', pool: 'mine' }));
    expect(failure).toMatchObject({ code: 'EACCES', op: "mon command 'osd pool create'" });
  });

  it('are never told in errors with their key', async () => {
    const key = await keyOf(join(cluster.dir, 'client.reader.keyring'));
    const failure = await rejection(connectTo(cluster, { name: 'client.stranger', key }));
    expect(
      JSON.stringify([failure, failure.message, failure.stack, String(failure.cause)]),
    ).not.toContain(key.slice(4, 30));
  });
});

describeCeph('daemons that are gone or silent', () => {
  let cluster: CephCluster;
  beforeAll(async () => {
    // Long grace: a stopped OSD stays in the map as up.
    cluster = await CephCluster.start({
      osds: 2,
      mons: 1,
      osdConf: 'osd heartbeat grace = 3600',
      conf: 'mon osd report timeout = 3600',
    });
  });
  afterAll(() => cluster?.stop());

  it('a monitor that nobody runs: ETIMEDOUT, naming the address and ECONNREFUSED', async () => {
    const failure = await rejection(
      connectTo(cluster, { monHost: 'v2:127.0.0.1:1', mountTimeoutMs: 2000 }),
    );
    expect(failure).toMatchObject({ code: 'ETIMEDOUT', op: 'connect', retryable: true });
    expect(failure.message).toMatch(
      /no monitor of v2:127\.0\.0\.1:1\/0 answered in 2 s; last: .*ECONNREFUSED/,
    );
  });

  it('one monitor of several that nobody runs is passed over', async () => {
    const real = /v2:127\.0\.0\.1:\d+/.exec(cluster.monAddrs[0] ?? '')?.[0] ?? '';
    for (let i = 0; i < 4; i++) {
      const monHost = `v2:127.0.0.1:1,${real},v2:127.0.0.1:2`;
      using client = await connectTo(cluster, { monHost });
      expect(client.fsid).toBe(cluster.fsid);
    }
  });

  it('an OSD that is stopped: ETIMEDOUT naming it, outcome unknown; it goes on when the OSD does', async () => {
    using client = await connectTo(cluster);
    const ioctx = await client.ioctx('rbd');
    const oid = await objectOn(client, 0);
    await ioctx.operate(oid, [writeFullOp(bytes('before'))]);
    await cluster.killOsd(0, 'SIGSTOP');
    try {
      const failure = await rejection(
        ioctx.operate(oid, [writeFullOp(bytes('silent'))], { timeoutMs: 2000 }),
      );
      expect(failure).toMatchObject({ code: 'ETIMEDOUT', outcome: 'unknown', retryable: true });
      expect(failure.message).toMatch(
        new RegExp(
          `^writefull rbd/${oid}: osd\\.0 at v2:127\\.0\\.0\\.1:\\d+/\\d+ did not answer in \\d+\\.\\d s$`,
        ),
      );
      const abort = new AbortController();
      const aborted = rejection(ioctx.operate(oid, [readOp(0, 0)], { signal: abort.signal }));
      setTimeout(() => abort.abort(), 100);
      expect(await aborted).toMatchObject({ code: 'ECANCELED' });
    } finally {
      await cluster.killOsd(0, 'SIGCONT');
    }
    expect(['before', 'silent']).toContain(Buffer.from(await ioctx.read(oid, 0, 0)).toString());
  });

  it('an OSD that cannot be connected to: nothing was sent, and the error says so', async () => {
    const oid = await (async () => {
      using finder = await connectTo(cluster);
      return await objectOn(finder, 1);
    })();
    await cluster.killOsd(1, 'SIGSTOP');
    try {
      using client = await connectTo(cluster);
      const ioctx = await client.ioctx('rbd');
      const failure = await rejection(
        ioctx.operate(oid, [writeFullOp(bytes('x'))], { timeoutMs: 2000 }),
      );
      expect(failure).toMatchObject({ code: 'ETIMEDOUT', outcome: 'not-applied' });
      expect(failure.message).toContain('osd.1 at v2:');
      expect(failure.message).toContain('(not connected)');
    } finally {
      await cluster.killOsd(1, 'SIGCONT');
    }
  });

  it('a pool that does not exist: ENOENT by name and by id', async () => {
    using client = await connectTo(cluster);
    expect(await rejection(client.ioctx('nobody'))).toMatchObject({
      code: 'ENOENT',
      target: "'nobody'",
    });
    const failure = await rejection(
      client.operate({ pool: 999, nspace: '', oid: 'x' }, [statOp()]),
    );
    expect(failure).toMatchObject({ code: 'ENOENT' });
    expect(failure.message).toContain('pool 999 does not exist');
  });

  it('a pool that was made by another client a moment ago is found', async () => {
    using client = await connectTo(cluster);
    await cluster.ceph('osd', 'pool', 'create', 'fresh', '4', '4');
    const ioctx = await client.ioctx('fresh');
    await ioctx.operate('x', [writeFullOp(bytes('x'))]);
  });
});

describeCeph('being fenced', () => {
  let cluster: CephCluster;
  beforeAll(async () => {
    cluster = await CephCluster.start({ osds: 2 });
  });
  afterAll(() => cluster?.stop());

  it('ends every operation with EBLOCKLISTED, and another client goes on', async () => {
    using fenced = await connectTo(cluster);
    using other = await connectTo(cluster);
    const ioctx = await fenced.ioctx('rbd');
    await ioctx.operate('x', [writeFullOp(bytes('before'))]);
    await other.blocklistAdd(fenced.clientAddr, 60);
    expect(await cluster.ceph('osd', 'blocklist', 'ls')).toContain(fenced.clientAddr);
    // A request carries its client's epoch to the OSD: from here on the fence holds there, and later its end.
    const mine = await other.ioctx('rbd');
    await mine.operate('x', [statOp()]);
    for (const op of [writeFullOp(bytes('after')), statOp()]) {
      expect(await rejection(ioctx.operate('x', [op]))).toMatchObject({
        code: 'EBLOCKLISTED',
        errno: -108,
      });
    }
    expect(Buffer.from(await mine.read('x', 0, 0)).toString()).toBe('before');
    await other.blocklistRemove(fenced.clientAddr);
    await mine.operate('x', [statOp()]);
    await ioctx.operate('x', [writeFullOp(bytes('after'))]);
  });

  it('of ourselves by ourselves works as well', async () => {
    using client = await connectTo(cluster);
    const ioctx = await client.ioctx('rbd');
    await client.blocklistAdd(client.clientAddr);
    expect(await rejection(ioctx.operate('x', [statOp()]))).toMatchObject({ code: 'EBLOCKLISTED' });
  });
});

/** A name whose primary is this OSD, by the monitors' own answer. */
async function objectOn(client: RadosClient, osd: number): Promise<string> {
  for (let i = 0; i < 100; i++) {
    const oid = `object-${i}`;
    const { output } = await client.command({
      prefix: 'osd map',
      pool: 'rbd',
      object: oid,
      format: 'json',
    });
    const { acting_primary } = JSON.parse(Buffer.from(output).toString()) as {
      acting_primary: number;
    };
    if (acting_primary === osd) return oid;
  }
  throw new Error(`no object on osd.${osd}`);
}

// A worker that dies is replaced: what can be done again is, what cannot is said, and nothing is lost.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

import type { Environment } from '../../src/base/environment.js';
import { isRadosError } from '../../src/base/errors.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { packageFile } from '../../src/base/paths.js';
import type { BlockDevice, WorkerReplacement } from '../../src/block/device.js';
import { mapOptions } from '../../src/block/map-options.js';
import { WorkerHost } from '../../src/block/worker-host.js';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { parseFeatures } from '../../src/rbd/features.js';
import { buildSupport } from './support/build.js';
import type { DeathKind } from './support/fake-runtime.js';
import {
  type FakeOptions,
  openFake,
  pattern,
  rejection,
  spec,
  thrown,
  withFake,
} from './support/hosts.js';

const KIB = 1024;
const MIB = 1024 * KIB;

function words(...values: number[]): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(4 * values.length);
  new Int32Array(buffer).set(values);
  return buffer;
}

/** A fake image that outlives its threads, of which the first `deaths` die at their n-th request. */
function mortal(deaths: number, request: number, how: DeathKind = 'exit', more: FakeOptions = {}) {
  const disk = new SharedArrayBuffer(MIB);
  const options = { disk, deaths: words(deaths), die: { request, how }, maxDelayTurns: 3, ...more };
  return { disk: Buffer.from(disk), options };
}

describe('a worker that dies', () => {
  it.each<DeathKind>(['exit', 'silent-exit', 'throw', 'reject'])(
    'is replaced, and no acknowledged write is lost: %s',
    async (how) => {
      const { disk, options } = mortal(2, 60, how);
      await withFake(1, options, async ({ device }) => {
        const replacements: WorkerReplacement[] = [];
        device.on('worker-replaced', (replacement) => replacements.push(replacement));
        const sectors = Array.from({ length: 400 }, (_, i) => i);
        const writes = sectors.map((i) => device.write(i * 512, pattern(512, i + 1)));
        const reads = sectors.map((i) => device.read(512 * KIB + i * 512, 512));
        const flushes = [device.flush(), device.flush()];
        const outcomes = await Promise.allSettled(writes);
        await Promise.all([...reads, ...flushes]);
        let unknown = 0;
        outcomes.forEach((outcome, i) => {
          if (outcome.status === 'fulfilled') {
            expect(disk.subarray(i * 512, i * 512 + 512).equals(pattern(512, i + 1))).toBe(true);
          } else {
            unknown++;
            const error = { code: 'ENOTCONN', op: 'write', target: 'rbd/disk', outcome: 'unknown' };
            expect(outcome.reason).toMatchObject(error);
          }
        });
        expect(replacements).toHaveLength(2);
        expect(replacements.reduce((sum, { unknown }) => sum + unknown, 0)).toBe(unknown);
        expect(replacements[0]?.reason.message).toContain('the osd-client worker ended');
        expect(replacements.some(({ repeated }) => repeated > 0)).toBe(true);
        expect(device.load).toEqual({ inFlight: 0, waiting: 0, viewBytes: 0 });
      });
    },
  );

  it('did not begin with what it left in the ring: that is done as if nothing had happened', async () => {
    const { disk, options } = mortal(1, 40, 'exit', { maxDelayTurns: 0 });
    await withFake(1, options, async ({ device }) => {
      const writes = Array.from({ length: 100 }, (_, i) =>
        device.write(i * 4096, pattern(4096, i + 1)),
      );
      const outcomes = await Promise.allSettled(writes);
      const failed = outcomes.flatMap(({ status }, i) => (status === 'rejected' ? [i] : []));
      // The one that killed it, and those before it whose answers it did not live to give.
      expect(failed.length).toBeGreaterThan(0);
      expect(Math.max(...failed)).toBe(39);
      for (let i = 40; i < 100; i++) {
        expect(disk.subarray(i * 4096, (i + 1) * 4096).equals(pattern(4096, i + 1))).toBe(true);
      }
    });
  });

  it('leaves a large write half done with an unknown outcome', async () => {
    const { options } = mortal(1, 5, 'exit', { open: { pieceBytes: 4096 } });
    await withFake(1, options, async ({ device }) => {
      const error = await rejection(device.write(0, Buffer.alloc(256 * KIB, 1)));
      expect(error).toMatchObject({ code: 'ENOTCONN', outcome: 'unknown' });
      await device.write(0, Buffer.alloc(256 * KIB, 2));
      expect(await device.read(0, 256 * KIB)).toEqual(Buffer.alloc(256 * KIB, 2));
      expect(device.load).toEqual({ inFlight: 0, waiting: 0, viewBytes: 0 });
    });
  });

  it('takes no view with it that was handed out before', async () => {
    const { disk, options } = mortal(1, 3, 'exit', { open: { arenaBytes: 256 * KIB } });
    disk.fill(7);
    await withFake(1, options, async ({ device }) => {
      const held = await device.readView(0, 64 * KIB);
      const views = [device.readView(0, 4096), device.readView(4096, 4096)];
      for (const view of await Promise.all(views)) view.release();
      expect(device.load.viewBytes).toBe(0);
      await device.write(0, Buffer.alloc(64 * KIB, 8));
      expect(Buffer.from(held.data).equals(Buffer.alloc(64 * KIB, 7))).toBe(true);
      held.release();
      expect(device.load.viewBytes).toBe(0);
      // All of the memory can be had.
      const half = await device.readView(0, 128 * KIB);
      expect(half.data[0]).toBe(8);
      half.release();
    });
  });

  it('ends a synchronous call, and those until the thread has been at its event loop', async () => {
    const { options } = mortal(1, 3);
    await withFake(1, options, async ({ device }) => {
      device.writeSync(0, Buffer.alloc(10, 1));
      device.writeSync(0, Buffer.alloc(10, 2));
      const replaced = once(device, 'worker-replaced');
      const write = thrown(() => device.writeSync(0, Buffer.alloc(10, 3)));
      expect(write).toMatchObject({ code: 'ENOTCONN', outcome: 'unknown' });
      const later = thrown(() => device.writeSync(20, Buffer.alloc(10, 4)));
      expect(later).toMatchObject({ code: 'ENOTCONN', outcome: 'not-applied' });
      expect(later.message).toContain('needs the event loop');
      const read = thrown(() => device.readSync(0, 10));
      expect(read).toMatchObject({ code: 'ENOTCONN', retryable: true });
      await replaced;
      device.writeSync(0, Buffer.alloc(10, 5));
      expect(Buffer.from(device.readSync(0, 10))).toEqual(Buffer.alloc(10, 5));
      expect(Buffer.from(device.readSync(20, 1))).toEqual(Buffer.alloc(1));
    });
  });

  it('is taken for dead when it is silent, and then may have begun with anything', async () => {
    const real = nodeEnvironment();
    const env: Environment = {
      ...real,
      clock: { now: real.clock.now, monotonic: () => real.clock.monotonic() * 200 },
    };
    const { options } = mortal(1, 2, 'silent-exit', { env });
    await withFake(1, options, async ({ device }) => {
      device.readSync(0, 10);
      const replaced = once(device, 'worker-replaced');
      const behind = rejection(device.write(512, Buffer.alloc(512)));
      const error = thrown(() => device.writeSync(0, Buffer.alloc(10)));
      expect(error).toMatchObject({ code: 'ENOTCONN', outcome: 'unknown' });
      expect(error.message).toContain('no sign of life');
      expect(await behind).toMatchObject({ code: 'ENOTCONN', outcome: 'unknown' });
      await replaced;
      expect(device.readSync(0, 10)).toHaveLength(10);
    });
  });

  it('is replaced three times within a minute, then the device fails', async () => {
    await withFake(1, { die: { request: 5, how: 'exit' } }, async ({ host, device }) => {
      const replaced: WorkerReplacement[] = [];
      const errors: unknown[] = [];
      device.on('worker-replaced', (replacement) => replaced.push(replacement));
      device.on('error', (error) => errors.push(error));
      let error: Error & Record<string, unknown>;
      for (;;) {
        const outcome = await device.read(0, 512).catch((reason: unknown) => reason);
        if (outcome instanceof Uint8Array) continue;
        error = outcome as typeof error;
        break;
      }
      expect(replaced).toHaveLength(3);
      expect(errors).toHaveLength(1);
      expect(error).toMatchObject({ code: 'ENOTCONN', retryable: true });
      expect(error.message).toContain('3 others were started within 60 s');
      expect(await rejection(host.open(spec(), mapOptions()))).toMatchObject({ code: 'ENOTCONN' });
      expect(await rejection(host.status())).toMatchObject({ code: 'ENOTCONN' });
      await device.close();
    });
  });

  it('serves nobody any more whose image is gone', async () => {
    const { options } = mortal(1, 2, 'exit', { opens: words(1) });
    await withFake(1, options, async ({ device }) => {
      const failed = once(device, 'error');
      await device.read(0, 1);
      const read = rejection(device.read(0, 1));
      const [error] = (await failed) as [Error];
      expect(error).toMatchObject({ code: 'ENOENT' });
      expect(await read).toMatchObject({ code: 'ENOENT' });
      expect(device.closed).toBe(true);
    });
  });

  it('is replaced for whoever asks next, also when no image is open', async () => {
    const { options } = mortal(1, 1);
    await withFake(1, options, async ({ host, device }) => {
      const pending = device.read(0, 512);
      const first = device.close();
      expect(await pending).toHaveLength(512);
      await first;
      const second = await host.open(spec(), mapOptions());
      expect(await second.read(0, 512)).toHaveLength(512);
    });
  });

  it.each([true, false])('does not keep a device from being closed (force: %s)', async (force) => {
    const { options } = mortal(1, 2, 'exit', { maxDelayTurns: 0 });
    const { host, device } = await openFake(1, options);
    await device.read(0, 512);
    const write = device.write(0, Buffer.alloc(512)).catch((error: unknown) => error);
    const read = device.read(512, 512).catch((error: unknown) => error);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await device.close({ force });
    expect(device.closed).toBe(true);
    expect(isRadosError(await write)).toBe(true);
    expect(isRadosError(await read)).toBe(force);
    await host.close();
  });
});

describe('a worker that dies under load on a cluster', () => {
  const SECTOR = 4096;
  const SECTORS = 32;

  /** Writes that nobody answered for certain, and the last one that was acknowledged. */
  interface Stamps {
    acknowledged: number;
    possible: Set<number>;
  }

  /** A sector full of one number. */
  function stamped(stamp: number): Buffer {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(stamp);
    return Buffer.alloc(SECTOR, word);
  }

  const stampOf = async (device: BlockDevice, sector: number) => {
    const bytes = Buffer.from(await device.read(sector * SECTOR, SECTOR));
    const stamp = bytes.readUInt32LE(0);
    expect(bytes.equals(stamped(stamp))).toBe(true);
    return stamp;
  };

  it('loses no acknowledged write, and its own last writes come not too late', async () => {
    await using cluster = await EmbeddedCluster.start({ osds: 3, pools: ['rbd'] });
    const runtimeModule = buildSupport('poisoned-runtime');
    const poison = words(3, 120);
    const config = { ...cluster.connectOptions, poison };
    await using host = await WorkerHost.start({ env: nodeEnvironment(), config, runtimeModule });
    await host.manage('createImage', [
      { pool: 'rbd', namespace: '', name: 'disk' },
      { size: 4 * MIB },
    ]);
    await using device = await host.open(spec(), mapOptions({ queueDepth: 32 }));
    const addrs = [device.attributes.clientAddr];
    const replacements: WorkerReplacement[] = [];
    /** What was read of the unknown ones when the new worker took over. */
    const settled: { sector: number; stamp: number; written: number }[] = [];
    const checks: Promise<void>[] = [];
    const stamps = Array.from({ length: SECTORS }, () => ({
      acknowledged: 0,
      possible: new Set<number>(),
      writes: 0,
    }));
    device.on('worker-replaced', (replacement) => {
      replacements.push(replacement);
      addrs.push(device.attributes.clientAddr);
      stamps.forEach((state, sector) => {
        if (state.possible.size === 0) return;
        const { writes } = state;
        checks.push(
          stampOf(device, sector).then(
            (stamp) => void settled.push({ sector, stamp, written: writes }),
            () => undefined,
          ),
        );
      });
    });
    let next = 1;
    const writer = async (sector: number) => {
      const state = stamps[sector] as Stamps & { writes: number };
      while (replacements.length < 3 || next < 600) {
        const stamp = next++;
        state.writes++;
        try {
          await device.write(sector * SECTOR, stamped(stamp));
          state.acknowledged = stamp;
          state.possible.clear();
        } catch (error) {
          expect(error).toMatchObject({ code: 'ENOTCONN', outcome: 'unknown' });
          state.possible.add(stamp);
          // Left alone for a while: a write that comes too late would show.
          await new Promise((resolve) => setTimeout(resolve, sector % 2 === 0 ? 0 : 100));
        }
        if (next % 7 === 0) {
          const found = await stampOf(device, sector);
          expect([state.acknowledged, ...state.possible]).toContain(found);
        }
      }
    };
    await Promise.all(Array.from({ length: SECTORS }, (_, sector) => writer(sector)));
    await Promise.all(checks);
    for (const [sector, state] of stamps.entries()) {
      const found = await stampOf(device, sector);
      expect([state.acknowledged, ...state.possible]).toContain(found);
    }
    for (const { sector, stamp, written } of settled) {
      const state = stamps[sector]!;
      if (state.writes === written) expect(await stampOf(device, sector)).toBe(stamp);
    }
    expect(replacements).toHaveLength(3);
    expect(replacements.every(({ unknown }) => unknown > 0)).toBe(true);
    expect(new Set(addrs).size).toBe(4);
    // Every client that had writes under way was fenced, and the one that lives was not.
    const listed = await host.manage('command', [{ prefix: 'osd blocklist ls', format: 'json' }]);
    // The list of blocked networks follows.
    const [json = ''] = /^\[.*?\]/s.exec(Buffer.from(listed.output).toString()) ?? [];
    const blocked = JSON.parse(json) as { addr: string }[];
    expect(blocked.map(({ addr }) => addr).sort()).toEqual(addrs.slice(0, 3).sort());
  }, 60_000);

  it.each([{ exclusive: true }, {}])(
    'has its exclusive lock taken over by the one that follows: %j',
    async (input) => {
      await using cluster = await EmbeddedCluster.start({ osds: 2, pools: ['rbd'] });
      const runtimeModule = buildSupport('poisoned-runtime');
      const config = { ...cluster.connectOptions, poison: words(1, 20) };
      await using host = await WorkerHost.start({ env: nodeEnvironment(), config, runtimeModule });
      const image = { pool: 'rbd', namespace: '', name: 'disk' };
      const features = parseFeatures(['layering', 'exclusive-lock']);
      await host.manage('createImage', [image, { size: MIB, features }]);
      await using device = await host.open(spec(), mapOptions(input));
      const owner = async () => {
        const { locks } = await host.manage('imageLocks', [image]);
        return locks.map(({ address }) => address);
      };
      await device.write(0, pattern(512, 1));
      const first = device.attributes.clientAddr;
      expect(await owner()).toEqual([first]);
      const replaced = once(device, 'worker-replaced');
      const writes = Array.from({ length: 30 }, (_, i) => device.write(i * 512, pattern(512, 2)));
      const outcomes = await Promise.allSettled(writes);
      expect(outcomes.some(({ status }) => status === 'rejected')).toBe(true);
      await replaced;
      await device.write(0, pattern(512, 3));
      expect(await device.read(0, 512)).toEqual(pattern(512, 3));
      const second = device.attributes.clientAddr;
      expect(second).not.toBe(first);
      expect(await owner()).toEqual([second]);
    },
    30_000,
  );

  it('leaves no thread behind: the program ends by itself', async () => {
    const url = (file: string) => pathToFileURL(packageFile(`dist/src/${file}`)).href;
    const program = `
      import { EmbeddedCluster } from '${url('index.js')}';
      import { WorkerHost } from '${url('block/worker-host.js')}';
      import { mapOptions } from '${url('block/map-options.js')}';
      import { nodeEnvironment } from '${url('base/node-environment.js')}';
      const embedded = await EmbeddedCluster.start({ osds: 1, size: 1, pools: ['rbd'] });
      const poison = new SharedArrayBuffer(8);
      new Int32Array(poison).set([2, 10]);
      const config = { ...embedded.connectOptions, poison };
      const runtimeModule = '${buildSupport('poisoned-runtime')}';
      const host = await WorkerHost.start({ env: nodeEnvironment(), config, runtimeModule });
      const name = { pool: 'rbd', namespace: '', name: 'disk' };
      await host.manage('createImage', [name, { size: 2 ** 20 }]);
      const device = await host.open({ pool: 'rbd', namespace: '', image: 'disk' }, mapOptions());
      let replaced = 0;
      device.on('worker-replaced', () => replaced++);
      for (let i = 0; i < 60; i++) await device.write(0, Buffer.alloc(512)).catch(() => {});
      console.log('replaced ' + replaced);
      await device.close();
      await host.close();
      await embedded.stop();
    `;
    const args = ['--input-type=module', '-e', program];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 30_000 });
    expect(stdout).toBe('replaced 2\n');
  });
});

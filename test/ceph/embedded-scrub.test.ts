// What scrubs of the embedded cluster find, as Ceph's own tools list it.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import type { CorruptObjectOptions } from '../../src/cluster/faults/fault-spec.js';
import { describeCeph } from './support/ceph-cluster.js';
import { runOrThrow, runProcess } from './support/processes.js';

interface Listing {
  epoch: number;
  inconsistents: {
    object: { name: string; nspace: string; locator: string; snap: string | number };
    errors: string[];
    union_shard_errors: string[];
    shards: {
      osd: number;
      primary: boolean;
      errors: string[];
      size?: number;
      data_digest?: string;
    }[];
  }[];
}

describeCeph('scrubs of the embedded cluster', () => {
  let cluster: EmbeddedCluster;
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'linger-scrub-'));
    cluster = await EmbeddedCluster.start({ size: 3, pools: [{ name: 'rbd', pgNum: 1 }] });
  });
  afterAll(async () => {
    await cluster?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const options = () => ({
    env: { ...process.env, CEPH_CONF: cluster.confPath, CEPH_ARGS: undefined },
  });
  const run = async (command: string, ...args: string[]) =>
    (await runOrThrow(command, args, options())).stdout;
  const list = async () =>
    JSON.parse(await run('rados', 'list-inconsistent-obj', '1.0', '--format=json')) as Listing;

  /** Until it is through. */
  async function scrub(word: string): Promise<string> {
    await run('ceph', 'pg', word, '1.0');
    for (;;) {
      const [state = ''] = Object.keys((await cluster.status()).pgs);
      if (!state.includes('scrubbing')) return state;
    }
  }

  it('list nothing before the first', async () => {
    const { code, stderr } = await runProcess('rados', ['list-inconsistent-obj', '1.0'], options());
    expect(code).not.toBe(0);
    expect(stderr).toContain('No scrub information available for pg 1.0');
  });

  it.each<[what: NonNullable<CorruptObjectOptions['what']>, errors: string[], shard: string[]]>([
    ['data', ['data_digest_mismatch'], ['data_digest_mismatch_info']],
    ['size', ['data_digest_mismatch', 'size_mismatch'], ['data_digest_mismatch_info']],
    ['xattr', ['attr_value_mismatch'], []],
    ['omap', ['omap_digest_mismatch'], []],
    ['missing', [], ['missing']],
  ])('list a copy with other %s', async (what, errors, shardErrors) => {
    const file = join(dir, 'content');
    await writeFile(file, randomBytes(100_000));
    for (let i = 0; i < 5; i++) await run('rados', '-p', 'rbd', 'put', `object-${i}`, file);
    await run('rados', '-p', 'rbd', 'setxattr', 'object-3', 'tag', 'value');
    await run('rados', '-p', 'rbd', 'setomapval', 'object-3', 'key', 'value');
    expect(await scrub('deep-scrub')).toBe('active+clean');
    expect((await list()).inconsistents).toEqual([]);
    await cluster.faults.corruptObject({ pool: 'rbd', object: 'object-3', what, osd: 1 });
    expect(await scrub('deep-scrub')).toBe('active+clean+inconsistent');
    const { inconsistents } = await list();
    expect(inconsistents.map(({ object }) => object)).toEqual([
      { name: 'object-3', nspace: '', locator: '', snap: 'head', version: expect.any(Number) },
    ]);
    const [found] = inconsistents;
    expect(found?.errors).toEqual(errors);
    expect(found?.union_shard_errors).toEqual(shardErrors);
    expect(found?.shards.map(({ osd }) => osd)).toEqual([0, 1, 2]);
    expect(found?.shards.map(({ errors }) => errors)).toEqual([[], shardErrors, []]);
    if (what === 'data') {
      const [a, b, c] = found?.shards.map(({ data_digest }) => data_digest) ?? [];
      expect(a).toMatch(/^0x[\da-f]{8}$/);
      expect([a === c, a === b]).toEqual([true, false]);
    }
    expect(await run('ceph', 'health', 'detail')).toMatch(
      /HEALTH_ERR[^]*OSD_SCRUB_ERRORS: 1 scrub errors[^]*PG_DAMAGED: Possible data damage: 1 pg inconsistent\n +pg 1\.0 is active\+clean\+inconsistent, acting \[/,
    );
    expect(await scrub('repair')).toBe('active+clean');
    expect((await list()).inconsistents).toEqual([]);
    expect(await run('ceph', 'health')).toBe('HEALTH_OK\n');
  });

  it('are refused for what is no PG', async () => {
    for (const pgid of ['1.9', '77.0']) {
      const { code } = await runProcess('ceph', ['pg', 'scrub', pgid], options());
      expect(code).toBe(2);
    }
  });
});

// Stores that older lingers wrote are opened, with all that is in them. The fixture is one of format 1, left without being
// closed: half of it is in the checkpoint, half in the log.

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import type { Disk } from '../../../../src/base/environment.js';
import { packageFile } from '../../../../src/base/paths.js';
import { FORMAT_VERSION } from '../../../../src/cluster/store/durable/format.js';
import { contentsOf } from '../support/contents.js';
import { DurableWorld, STORE_DIR } from '../support/durable-world.js';

const { files, contents } = JSON.parse(
  gunzipSync(readFileSync(packageFile('test/fixtures/store/format-1.json.gz'))).toString(),
) as { files: Record<string, string>; contents: Record<string, { objects: unknown[] }> };

const plain = (value: unknown) =>
  JSON.parse(
    JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? String(part) : part)),
  ) as unknown;

async function lay(scene: DurableWorld): Promise<void> {
  const disk: Disk = scene.disk;
  await scene.world.until(disk.mkdir(STORE_DIR));
  for (const [name, content] of Object.entries(files)) {
    const file = await scene.world.until(disk.open(`${STORE_DIR}/${name}`, { create: true }));
    await scene.world.until(file.write([Buffer.from(content, 'base64')], 0));
    await scene.world.until(file.sync());
    await scene.world.until(file.close());
  }
  await scene.world.until(disk.syncDir(STORE_DIR));
}

it('a store of format 1 is opened with all that is in it, and is one of this format from then on', async () => {
  const scene = new DurableWorld();
  await lay(scene);
  expect(Object.keys(contents)).toEqual(['1.0', '1.1']);
  const version = () =>
    (JSON.parse(scene.disk.contentOf(`${STORE_DIR}/store.json`).toString()) as { version: number })
      .version;
  expect(version()).toBe(1);
  let store = await scene.open();
  expect(plain(contentsOf(store))).toMatchObject(contents);
  expect(version()).toBe(FORMAT_VERSION);
  await scene.close(store);
  store = await scene.open();
  expect(plain(contentsOf(store))).toMatchObject(contents);
  expect(scene.failures).toEqual([]);
});

// Goal: images hold what the rules say, whoever works on them. Method: random operations on an image and its clones, by us
// and by librbd in turns, which both have them open all the time: the exclusive lock goes to and fro, maintenance is done by
// whoever has it. After every step the model knows what is there; both clients must see it, and the object maps must be true.
//
// LINGER_MODEL_OPS and LINGER_MODEL_SEED: a longer run, or another one.

import { expect, it } from 'vitest';
import { describeCeph } from './support/ceph-cluster.js';
import { ModelRun } from './support/image-model-run.js';
import { LibrbdActor, LibrbdImages } from './support/librbd-actor.js';
import { LingerImages } from './support/linger-images.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server } from './support/servers.js';

const KIB = 1024;
const OBJECT = 256 * KIB;
const SIZE = 8 * OBJECT;
const FEATURES = 'layering,exclusive-lock,object-map,fast-diff,deep-flatten';
const OPERATIONS = Number(process.env['LINGER_MODEL_OPS'] ?? 1_000);
const SEED = Number(process.env['LINGER_MODEL_SEED'] ?? 1);
const STEP_LIMIT_MS = 1_000;

for (const kind of SERVERS) {
  describeCeph(`an image and its clones on ${kind.name}`, () => {
    it(
      `hold what the model holds after ${OPERATIONS} operations of two clients`,
      async () => {
        const server = await kind.start({ osds: 2, pools: [{ name: 'rbd' }] });
        try {
          await server.ceph('osd', 'set-require-min-compat-client', 'mimic');
          const layout = ['--size', `${SIZE}B`, '--object-size', `${OBJECT}B`];
          await server.rbd('create', ...layout, '--image-feature', FEATURES, 'base');
          await run(server);
        } finally {
          await server.stop();
        }
      },
      120_000 + OPERATIONS * STEP_LIMIT_MS,
    );
  });
}

async function run(server: Server): Promise<void> {
  using client = await connectTo(server);
  const ours = new LingerImages(client);
  await using librbd = await LibrbdActor.start(server.confPath);
  const model = new ModelRun({
    seed: SEED,
    operations: OPERATIONS,
    actors: [ours, new LibrbdImages(librbd)],
    base: { name: 'base', size: SIZE, objectSize: OBJECT },
    inspect: (image) => checkMaps(server, image),
  });
  try {
    await model.run();
  } finally {
    await ours.closeAll();
  }
  // A run in which something was never tried proves nothing of it.
  if (OPERATIONS >= 1_000) {
    for (const kind of [
      'write',
      'discard',
      'snap create',
      'rollback',
      'clone',
      'flatten',
      'diff',
    ]) {
      expect(model.taken.get(kind) ?? 0, kind).toBeGreaterThan(0);
    }
  }
  console.log(`seed ${SEED}:`, Object.fromEntries(model.taken));
}

/**
 * By rbd's own check, and no map may have been given up as invalid. It takes for damage what librbd does itself: an object that
 * is cut to the size that it had is marked as changed, and for its OSDs is as it was. Where a map says more than is true like
 * that, and nothing else is wrong with it, rbd rebuilds it.
 */
async function checkMaps(server: Server, image: string): Promise<void> {
  const snapshots = JSON.parse(await server.rbd('snap', 'ls', image, '--format', 'json')) as {
    name: string;
  }[];
  for (const spec of [image, ...snapshots.map(({ name }) => `${image}@${name}`)]) {
    const { stderr } = await server.run('rbd', ['object-map', 'check', '--no-progress', spec]);
    const wrong = [...stderr.matchAll(/marked as (\d), but should be (\d)/g)];
    if (wrong.length > 0 && wrong.every(([, marked, is]) => marked === '1' && is === '3')) {
      await server.rbd('object-map', 'rebuild', '--no-progress', spec);
    }
    const { flags } = JSON.parse(await server.rbd('info', spec, '--format', 'json')) as {
      flags: string[];
    };
    expect(flags, spec).toEqual([]);
  }
}

/** Faults of the monitor, of maps and of OSDs. */

import {
  aClient,
  anOsd,
  byCluster,
  DATA,
  type FaultKindOfSim,
  onRequest,
  lostReplies,
  POOL,
  SAFE,
  type Scene,
} from './fault-kind.js';

/** How long an OSD serves while nobody hears it, in virtual milliseconds. */
const ALONE_MAX_MS = 3000;

/** Where a request may be when something happens. */
const POINTS = [
  'G1.wait_pg_ready.entered',
  'O1.process.entered',
  '*.submit',
  'O2.wait_repop.entered',
  '*.commit',
  '*.reply',
];

const EVERY_COMMIT = 'osd.*.store.commit';

/** Something happens to an OSD, or to a connection, just as a request comes to a point. */
function atPoint(action: 'kill' | 'reset' | 'move' | 'delay'): FaultKindOfSim {
  const kind = byCluster('osd', SAFE, 10_000, ({ simulation, draw }) =>
    simulation.cluster.faults.opPoint({
      point: `osd.*.op.${draw.pick(POINTS)}`,
      action,
      ops: draw.pick(['read', 'write', 'call', 'watch', 'notify'] as const),
      times: draw.int(1, 2),
      ...(action === 'delay' ? { ms: draw.int(100, 5000) } : {}),
    }),
  );
  return onRequest(kind);
}

/**
 * An OSD makes changes that no other hears of, and dies: when it comes back, its log tells of what the others have gone on
 * without. Perhaps a client on the same host dies too: what it had asked for nobody asks for again.
 */
async function diesAlone(scene: Scene) {
  const { simulation, draw } = scene;
  const { osds, faults } = simulation.cluster;
  const alone = draw.int(0, osds - 1);
  const others = Array.from({ length: osds }, (_, osd) => osd).filter((osd) => osd !== alone);
  const frozen = await Promise.all(others.map((osd) => faults.freezeOsd({ osd, graceMs: 0 })));
  try {
    await simulation.sleep(draw.int(20, ALONE_MAX_MS));
    if (draw.chance(0.5)) aClient(scene)?.kill();
    // The others hear of the map without it before they hear what it had sent.
    return await faults.killOsd(alone);
  } finally {
    await Promise.all(frozen.map((each) => each.stop()));
  }
}

export const clusterFaults = {
  'mon.silent': byCluster('mon', SAFE, 45_000, (scene) =>
    scene.simulation.cluster.faults.monUnavailable({ how: 'silent' }),
  ),
  'mon.refuses': byCluster('mon', SAFE, 30_000, (scene) =>
    scene.simulation.cluster.faults.monUnavailable({ how: 'refuse' }),
  ),
  'mon.reset': byCluster('mon', SAFE, 0, (scene) =>
    scene.simulation.cluster.faults.resetConnections({ mon: true }),
  ),
  'mon.slow': byCluster(
    'mon',
    'maps come late; no operation goes by one that is too old',
    20_000,
    (scene) =>
      scene.simulation.cluster.faults.delayConnections({
        mon: true,
        ms: scene.draw.int(100, 5000),
      }),
  ),
  'map.churn': byCluster('map', 'a map that changes nothing disturbs nothing', 0, (scene) =>
    scene.simulation.cluster.faults.churnMap(scene.draw.int(1, 60)),
  ),
  'map.pg-temp': byCluster('map', SAFE, 20_000, ({ simulation, draw }) =>
    simulation.cluster.faults.movePg({ pool: POOL, object: `any.${draw.int(0, 15)}` }),
  ),
  'map.upmap': byCluster('map', SAFE, 20_000, ({ simulation, draw }) =>
    simulation.cluster.faults.movePg({ pool: POOL, object: `any.${draw.int(0, 15)}`, by: 'upmap' }),
  ),
  'map.pause': byCluster('map', 'nothing is sent before the flag is gone', 15_000, (scene) =>
    scene.simulation.cluster.faults.setFlags('pause'),
  ),
  'map.pause-reads': byCluster('map', 'reads wait, and pings with them', 45_000, (scene) =>
    scene.simulation.cluster.faults.setFlags('pauserd'),
  ),
  'map.pause-writes': byCluster('map', 'writes wait', 15_000, (scene) =>
    scene.simulation.cluster.faults.setFlags('pausewr'),
  ),
  'map.full': byCluster('map', 'writes wait; what removes goes on', 15_000, ({ simulation }) =>
    simulation.cluster.faults.full({ pool: POOL }),
  ),
  'osd.kill': byCluster('osd', SAFE, 20_000, (scene) =>
    scene.simulation.cluster.faults.killOsd(anOsd(scene)),
  ),
  'osd.stop': byCluster('osd', SAFE, 20_000, (scene) =>
    scene.simulation.cluster.faults.stopOsd(anOsd(scene)),
  ),
  'osd.dies-alone': onRequest(byCluster('osd', SAFE, 10_000, diesAlone)),
  'osd.restart': byCluster('osd', SAFE, 0, (scene) =>
    scene.simulation.cluster.faults.restartOsd(anOsd(scene)),
  ),
  'osd.pause-short': byCluster('osd', SAFE, 5000, (scene) =>
    scene.simulation.cluster.faults.freezeOsd({ osd: anOsd(scene) }),
  ),
  'osd.pause-long': byCluster('osd', SAFE, 60_000, (scene) =>
    scene.simulation.cluster.faults.freezeOsd({ osd: anOsd(scene) }),
  ),
  'osd.paused-unnoticed': byCluster('osd', SAFE, 30_000, (scene) =>
    scene.simulation.cluster.faults.freezeOsd({ osd: anOsd(scene), graceMs: 0 }),
  ),
  'osd.wrongly-down': byCluster('osd', SAFE, 10_000, (scene) =>
    scene.simulation.cluster.faults.freezeOsd({ osd: anOsd(scene), graceMs: 100 }),
  ),
  'osd.parted': onRequest(
    byCluster('osd', SAFE, 60_000, (scene) =>
      scene.simulation.cluster.faults.partOsds({ osds: [anOsd(scene)] }),
    ),
  ),
  'osd.slow-reads': byCluster('osd', SAFE, 20_000, ({ simulation, draw }) =>
    simulation.cluster.faults.delayReplies({ ops: 'read', ms: draw.int(10, 3000) }),
  ),
  'osd.slow-writes': byCluster('osd', SAFE, 20_000, ({ simulation, draw }) =>
    simulation.cluster.faults.delayReplies({ ops: 'write', ms: draw.int(10, 3000) }),
  ),
  'osd.slow-commits': byCluster('osd', SAFE, 20_000, ({ simulation, draw }) =>
    simulation.cluster.faults.storePoint({
      point: draw.chance(0.5)
        ? `osd.${draw.int(0, simulation.cluster.osds - 1)}.store.commit`
        : EVERY_COMMIT,
      action: 'delay',
      ms: draw.int(10, 3000),
    }),
  ),
  'osd.killed-at-commit': byCluster(
    'osd',
    'what nobody was told of may be there or not, but on all copies alike',
    10_000,
    ({ simulation, draw }) =>
      simulation.cluster.faults.storePoint({
        point: EVERY_COMMIT,
        action: 'kill',
        ...(draw.chance(0.5) ? { prefix: DATA } : {}),
        times: draw.int(1, 2),
      }),
  ),
  'osd.lost-read-reply': lostReplies('read'),
  'osd.lost-write-reply': lostReplies('write'),
  'osd.read-error': byCluster('osd', 'the error is told, and nothing is made up', 5000, (scene) =>
    scene.simulation.cluster.faults.failOps({
      ops: 'read',
      errno: 'EIO',
      prefix: DATA,
      times: scene.draw.int(1, 3),
    }),
  ),
  'osd.write-error': onRequest(
    byCluster('osd', 'the error is told, and nothing is half done', 5000, (scene) =>
      scene.simulation.cluster.faults.failOps({
        ops: 'write',
        errno: 'EIO',
        prefix: DATA,
        times: scene.draw.int(1, 3),
      }),
    ),
  ),
  'osd.killed-at-point': atPoint('kill'),
  'osd.reset-at-point': atPoint('reset'),
  'osd.moved-at-point': atPoint('move'),
  'osd.held-at-point': atPoint('delay'),
  'map.no-recovery': onRequest(
    byCluster('map', 'PGs serve with the copies that they have', 20_000, (scene) =>
      scene.simulation.cluster.faults.setFlags('norecover', 'nobackfill'),
    ),
  ),
  'map.no-down': onRequest(
    byCluster('map', SAFE, 20_000, (scene) => scene.simulation.cluster.faults.setFlags('nodown')),
  ),
} satisfies Record<string, FaultKindOfSim>;

/** A monitor in memory and outside of time, and commands run on it without a connection. */

import { createCrc32c } from '../../../src/kernels/crc32c.js';
import { loadKernels } from '../../../src/kernels/load.js';
import { WindowPool } from '../../../src/msgr/window-pool.js';
import { twinMappers } from '../../../src/osdmap/crush-twin.js';
import { MonCaps } from '../../../src/cluster/mon/caps.js';
import type { CommandAnswer } from '../../../src/cluster/mon/commands/command.js';
import { runCommand } from '../../../src/cluster/mon/commands/table.js';
import { Monitor, type MonitorOptions } from '../../../src/cluster/mon/monitor.js';
import type { EntityAddr } from '../../../src/encoding/entity.js';
import { ADDR_TYPE } from '../../../src/encoding/entity.js';
import type { MonCommand } from '../../support/mon-command-list.js';
import type { VirtualWorld } from '../../../src/sim/virtual-world.js';

export const FSID = '11111111-2222-4333-8444-555555555555';

const kernels = loadKernels();
export const crc32c = createCrc32c(kernels);

export function osdAddrs(osd: number, nonce = 1): EntityAddr[] {
  return [{ type: ADDR_TYPE.MSGR2, nonce, host: '127.0.0.1', port: 6800 + osd }];
}

export async function startMonitor(
  world: VirtualWorld,
  options: Partial<MonitorOptions> = {},
): Promise<Monitor> {
  return world.until(
    Monitor.start({
      env: world.env,
      crc32c,
      windows: new WindowPool(kernels, 0),
      crushMappers: twinMappers,
      host: '127.0.0.1',
      port: 3300,
      fsid: FSID,
      osds: 3,
      auth: 'cephx',
      poolDefaults: { size: 1, minSize: 0, pgNum: 32 },
      ...options,
    }),
  );
}

/** A monitor whose OSDs have all booted. */
export async function startCluster(
  world: VirtualWorld,
  options: Partial<MonitorOptions> = {},
): Promise<Monitor> {
  const monitor = await startMonitor(world, options);
  const link = monitor.link();
  for (let osd = 0; osd < monitor.state.osdMaps.map.maxOsd; osd++) {
    await world.until(link.boot(osd, osdAddrs(osd)));
  }
  return monitor;
}

export function run(monitor: Monitor, command: MonCommand, caps = 'allow *'): CommandAnswer {
  return runCommand(monitor.state, {
    cmd: [JSON.stringify(command)],
    input: new Uint8Array(),
    caller: { name: 'client.test' },
    caps: MonCaps.parse(caps),
  });
}

export function text(answer: CommandAnswer): string {
  return typeof answer.out === 'string' ? answer.out : Buffer.from(answer.out).toString('latin1');
}

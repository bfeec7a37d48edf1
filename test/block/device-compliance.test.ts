import { blockDeviceCompliance } from './compliance.js';
import { type FakeOptions, openFake, type Threads } from './support/hosts.js';

const MIB = 1024 * 1024;

function fake(threads: Threads, options: FakeOptions) {
  return async () => {
    const { host, device } = await openFake(threads, options);
    return { device, close: () => host.close() };
  };
}

const quick = { size: 64 * MIB };
const slow = { size: 64 * MIB, maxDelayTurns: 5, seed: 7, withoutWriteSame: true };

blockDeviceCompliance('in a worker', fake(1, quick), { sync: true });
blockDeviceCompliance('in a worker, answers out of order', fake(1, slow), { sync: true });
blockDeviceCompliance(
  'in a worker, with little memory and depth 1',
  fake(1, { ...slow, map: { queueDepth: 1 }, open: { arenaBytes: 128 * 1024 } }),
  { sync: true },
);
blockDeviceCompliance('threads: 0', fake(0, quick), { sync: false });
blockDeviceCompliance('threads: 0, answers out of order', fake(0, slow), { sync: false });

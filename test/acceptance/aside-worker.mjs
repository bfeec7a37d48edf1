// The thread of `watchFromAside`: a client of its own that looks at an image until every block of it begins with a one,
// and puts down when that was. JavaScript, because Node loads no TypeScript; on the built library.

import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';

import { connect } from '../../dist/bundle/index.js';

const { conf, spec, size, block, seenAt } = workerData;

const cluster = await connect({ conf, threads: 0, mountTimeoutMs: 30_000 });
const device = await cluster.map(spec, { readOnly: true });
const starts = Array.from({ length: size >> block }, (_, i) => i << block);
const seen = new Set();

async function look(start) {
  const [byte] = await device.read(start, 1);
  if (byte === 1) seen.add(start);
}

await Promise.all(starts.map(look));
parentPort.postMessage('looking');
while (seen.size < starts.length) {
  await sleep(5);
  await Promise.all(starts.filter((start) => !seen.has(start)).map(look));
}
seenAt[0] = Date.now();
// Until it is ended from outside, its sessions are open.
parentPort.on('message', () => {});

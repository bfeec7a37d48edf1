/**
 * A process that watches: to be stopped and continued, which the thread of a test cannot do to itself.
 *
 *     node watching-client.js CONF POOL OID TIMEOUT_S
 *
 * Says on stdout, a JSON line each, everything that the handler is told, and whenever it looks (every 50 ms, as I/O would)
 * and finds that the watch went from good to too old, or back.
 */

import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { loadKernels } from '../../../src/kernels/load.js';
import { watchTimes } from '../../../src/osd-client/watch-times.js';
import { connectRados } from '../../../src/rados/connect.js';

const [conf = '', pool = '', oid = '', timeout = '30'] = process.argv.slice(2);
const timeoutSeconds = Number(timeout);
const say = (...event: unknown[]) => process.stdout.write(`${JSON.stringify(event)}\n`);

const { client } = await connectRados(nodeEnvironment(), loadKernels(), { conf });
const ioctx = await client.ioctx(pool);
const watch = await ioctx.watch(
  oid,
  {
    onStale: (cause) => say('stale', cause),
    onNotify: ({ payload }) => {
      say('notify', Buffer.from(payload).toString());
      return undefined;
    },
    onLost: ({ code }) => say('lost', code),
    onReregistered: (_old, cookie) => {
      say('reregistered', String(cookie));
      return Promise.resolve();
    },
    onFailed: ({ code }) => say('failed', code),
    onState: (state) => {
      if (state !== 'pinging') say(state);
    },
  },
  { timeoutSeconds },
);
say('watching', String(watch.cookie));

const { stopMs } = watchTimes(timeoutSeconds);
let trusted = true;
setInterval(() => {
  // What the gate of an image asks before every I/O.
  const young = performance.now() - watch.validThru <= stopMs;
  const trust = young && ['connected', 'pinging', 'suspect'].includes(watch.state);
  if (trust !== trusted) say(trust ? 'trusted' : 'not trusted');
  trusted = trust;
}, 50);

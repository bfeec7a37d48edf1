// Watch and notify: sequences of several clients, told as a list of what each of them saw.

import {
  createOp,
  deleteOp,
  listWatchersOp,
  OP,
  statOp,
  WATCH_OP,
  writeOp,
} from '../../../../src/messages/osd-op.js';
import {
  RawClient,
  type RawReply,
  type RawRequest,
  type RawTarget,
} from '../support/raw-client.js';
import { ackOp, notifyOp, readEvent, watchOp } from '../support/watch-messages.js';
import { bytes } from './step.js';

const FIRST = { globalId: 700_001n, nonce: 111 };
const SECOND = { globalId: 700_002n, nonce: 222 };
const THIRD = { globalId: 700_003n, nonce: 333 };

/** Of what has to be asked at its time. */
const ATTEMPTS_MAX = 10;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs everything against one OSD and returns what was seen, in order. */
export async function watchSequence(target: RawTarget): Promise<string[]> {
  const seen: string[] = [];
  const clients: RawClient[] = [];
  const connect = async (who: { globalId: bigint; nonce: number }) => {
    const client = await RawClient.connect(target, who);
    clients.push(client);
    return client;
  };
  const describe = ({ reply }: RawReply) => {
    const outputs = reply.ops.map(({ rval, outdata }, i) => {
      // A notify's output is its id.
      const shown = reply.ops[i]?.op.code === OP.NOTIFY ? `${outdata.length} bytes` : hex(outdata);
      return `${rval}/${shown}`;
    });
    return `${reply.result} [${outputs.join(' ')}] user version ${reply.userVersion === 0n ? 'none' : 'some'}, replay ${reply.replayVersion.version === 0n ? 'none' : 'some'}`;
  };
  const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');
  const note = (text: string) => seen.push(text);
  const ask = async (
    client: RawClient,
    name: string,
    request: Omit<RawRequest, 'oid'>,
    oid = 'w',
  ) => {
    const reply = await client.operate({ oid, ...request }, 8000);
    note(`${name}: ${describe(reply)}`);
    return reply;
  };
  const events = async (client: RawClient, name: string, count: number, timeoutMs = 8000) => {
    const deadline = Date.now() + timeoutMs;
    while (client.notifies.length < count && Date.now() < deadline) await pause(5);
    const found = client.notifies.splice(0).map(readEvent);
    for (const { text } of found) note(`${name}: ${text}`);
    if (found.length !== count) note(`${name}: ${found.length} of ${count} events`);
    return found;
  };

  /** Of a watch that is pinged once, whose client then leaves. Whether everything was asked in time. */
  const pingedWatch = async (observer: RawClient): Promise<boolean> => {
    const watcher = await connect(THIRD);
    const isWatched = async () => {
      const { reply } = await observer.operate({ oid: 'w', ops: [listWatchersOp()] }, 8000);
      return Buffer.from(reply.ops[0]?.outdata ?? []).readUInt32LE(6) > 0;
    };
    // The ping counts and nothing else: 1.5 s after the watch, then 3 s, of which the first 1.8 s connected.
    await ask(watcher, 'watch', { ops: [watchOp(WATCH_OP.WATCH, 80n, { timeout: 3 })] });
    await pause(1500);
    const pinged = performance.now();
    const sincePing = () => performance.now() - pinged;
    await ask(watcher, 'ping', { ops: [watchOp(WATCH_OP.PING, 80n)] });
    await pause(1800);
    await ask(observer, 'more than 3 s after the watch', { ops: [listWatchersOp()] });
    watcher.close();
    await pause(600);
    await ask(observer, 'less than 3 s after the ping', { ops: [listWatchersOp()] });
    const inTime = sincePing() < 2900;
    await pause(3200 - sincePing());
    while ((await isWatched()) && sincePing() < 4400) await pause(50);
    await ask(observer, 'the end of the connection gives no more time', {
      ops: [listWatchersOp()],
    });
    // 3 s after that end it would have been over, too.
    const early = sincePing() < 4700;
    while (await isWatched()) await pause(100);
    return inTime && early;
  };

  try {
    const a = await connect(FIRST);
    let b = await connect(SECOND);
    await ask(a, 'watch a missing object', { ops: [watchOp(WATCH_OP.WATCH, 1n)] });
    await ask(a, 'notify a missing object', { ops: [notifyOp(5n, 3, 'hello')] });
    await ask(a, 'ping a watch of a missing object', { ops: [watchOp(WATCH_OP.PING, 1n)] });
    await ask(a, 'create', { ops: [createOp(true)] });
    await ask(a, 'list watchers, none', { ops: [listWatchersOp()] });
    await ask(a, 'ping an unknown watch', { ops: [watchOp(WATCH_OP.PING, 1n)] });
    await ask(a, 'reconnect an unknown watch', { ops: [watchOp(WATCH_OP.RECONNECT, 1n)] });
    await ask(a, 'unwatch an unknown watch', { ops: [watchOp(WATCH_OP.UNWATCH, 1n)] });

    await ask(a, 'notify without watchers', { ops: [notifyOp(5n, 3, 'alone')] });
    await events(a, 'completion without watchers', 1);
    note(`arrivals: ${a.arrivals.slice(-2).join(' then ')}`);

    await ask(a, 'watch', { ops: [watchOp(WATCH_OP.WATCH, 10n)] });
    await ask(b, 'watch by another', { ops: [watchOp(WATCH_OP.WATCH, 20n, { timeout: 7 })] });
    await ask(b, 'a second watch by the same', { ops: [watchOp(WATCH_OP.WATCH, 5n)] });
    await ask(a, 'list watchers', { ops: [listWatchersOp()] });
    await ask(a, 'watch again with another timeout', {
      ops: [watchOp(WATCH_OP.WATCH, 10n, { timeout: 3 })],
    });
    await ask(a, 'list watchers, unchanged', { ops: [listWatchersOp()] });
    await ask(a, 'ping', { ops: [watchOp(WATCH_OP.PING, 10n)] });
    await ask(b, 'ping a watch of another', { ops: [watchOp(WATCH_OP.PING, 10n)] });
    await ask(a, 'watch beside a write', {
      ops: [writeOp(0, bytes('x')), watchOp(WATCH_OP.WATCH, 11n)],
    });
    await ask(a, 'unwatch', { ops: [watchOp(WATCH_OP.UNWATCH, 11n)] });

    await ask(a, 'notify', { ops: [notifyOp(99n, 3, 'to all')] });
    const [own] = await events(a, 'the notifier is told too', 1);
    const others = await events(b, 'the other is told twice', 2);
    await ask(a, 'ack an unknown notify', { ops: [ackOp(12345n, 10n, 'what')] });
    await ask(a, 'ack', { ops: [ackOp(own?.notifyId ?? 0n, 10n, 'from a')] });
    for (const { notifyId, cookie } of others) {
      await ask(b, `ack of ${cookie}`, { ops: [ackOp(notifyId, cookie, `from ${cookie}`)] });
    }
    await events(a, 'completion', 1);

    await ask(a, 'notify that nobody answers', { ops: [notifyOp(98n, 1, 'silence')] });
    await events(b, 'told', 2);
    await events(a, 'told, then completion with those that missed it', 2);

    await ask(a, 'notify that a removal completes', { ops: [notifyOp(97n, 5, 'leave')] });
    const [mine] = await events(a, 'told', 1);
    const [one] = await events(b, 'told', 2);
    await ask(a, 'ack', { ops: [ackOp(mine?.notifyId ?? 0n, 10n, '')] });
    await ask(b, 'ack of one', { ops: [ackOp(one?.notifyId ?? 0n, one?.cookie ?? 0n, 'one')] });
    await ask(b, 'unwatch of the other', {
      ops: [watchOp(WATCH_OP.UNWATCH, one?.cookie === 5n ? 20n : 5n)],
    });
    await events(a, 'completion', 1);
    await ask(a, 'list watchers', { ops: [listWatchersOp()] });

    await ask(b, 'watch again', { ops: [watchOp(WATCH_OP.WATCH, 30n, { timeout: 20 })] });
    b.close();
    await pause(200);
    await ask(a, 'a lost connection keeps its watches', { ops: [listWatchersOp()] });
    await ask(a, 'notify while it is away', { ops: [notifyOp(96n, 5, 'wait for me')] });
    const [again] = await events(a, 'told', 1);
    await ask(a, 'ack', { ops: [ackOp(again?.notifyId ?? 0n, 10n, '')] });
    b = await connect(SECOND);
    await ask(b, 'ping before reconnecting', { ops: [watchOp(WATCH_OP.PING, 30n)] });
    await ask(b, 'reconnect', { ops: [watchOp(WATCH_OP.RECONNECT, 30n, { gen: 1 })] });
    note(`arrivals: ${b.arrivals.slice(-2).join(' then ')}`);
    const [late] = await events(b, 'told late', 1);
    await ask(b, 'ack', { ops: [ackOp(late?.notifyId ?? 0n, 30n, 'late')] });
    await ask(b, 'ping', { ops: [watchOp(WATCH_OP.PING, 30n)] });
    await ask(b, 'unwatch', { ops: [watchOp(WATCH_OP.UNWATCH, 30n)] });
    const remaining = one?.cookie ?? 0n;
    await ask(b, 'unwatch what was left', { ops: [watchOp(WATCH_OP.UNWATCH, remaining)] });
    await events(a, 'completion', 1);

    await ask(b, 'a watch that is not pinged', {
      ops: [watchOp(WATCH_OP.WATCH, 40n, { timeout: 1 })],
    });
    await events(b, 'disconnected by timeout', 1);
    await ask(b, 'ping after the timeout', { ops: [watchOp(WATCH_OP.PING, 40n)] });
    await ask(a, 'list watchers', { ops: [listWatchersOp()] });

    await ask(b, 'watch', { ops: [watchOp(WATCH_OP.WATCH, 50n)] });
    await ask(a, 'a vector that fails registers nothing', {
      ops: [watchOp(WATCH_OP.WATCH, 60n), createOp(true)],
    });
    await ask(a, 'list watchers', { ops: [listWatchersOp()] });
    await ask(a, 'notify, undecodable', {
      ops: [{ ...notifyOp(95n, 0, ''), indata: bytes('\x01') }],
    });
    const [odd] = await events(a, 'told', 1);
    await events(b, 'told', 1);
    await ask(a, 'ack', { ops: [ackOp(odd?.notifyId ?? 0n, 10n, '')] });
    await ask(a, 'delete', { ops: [deleteOp()] });
    await events(a, 'completion and disconnection', 2);
    await events(b, 'disconnected', 1);
    await ask(a, 'ping after the deletion', { ops: [watchOp(WATCH_OP.PING, 10n)] });
    await ask(a, 'create again', { ops: [createOp(true)] });
    await ask(a, 'list watchers, none', { ops: [listWatchersOp()] });
    await ask(a, 'ping after the re-creation', { ops: [watchOp(WATCH_OP.PING, 10n)] });
    await ask(a, 'stat', { ops: [statOp()] });

    const first = await connect(THIRD);
    await ask(first, 'watch', { ops: [watchOp(WATCH_OP.WATCH, 70n)] });
    const second = await connect(THIRD);
    const deadline = Date.now() + 2000;
    while (!first.closed && Date.now() < deadline) await pause(5);
    note(`a second connection of a client ends the first: ${first.closed}`);
    await ask(second, 'ping on another connection', { ops: [watchOp(WATCH_OP.PING, 70n)] });
    await ask(second, 'watch again there', { ops: [watchOp(WATCH_OP.WATCH, 70n)] });
    await ask(second, 'ping there', { ops: [watchOp(WATCH_OP.PING, 70n)] });
    await ask(b, 'list watchers', { ops: [listWatchersOp()] });
    await ask(second, 'unwatch', { ops: [watchOp(WATCH_OP.UNWATCH, 70n)] });

    // What was seen at another time than it says is seen anew: this process or the OSD did not get to run.
    for (let attempt = 1; ; attempt++) {
      const before = seen.length;
      if ((await pingedWatch(b)) || attempt === ATTEMPTS_MAX) return seen;
      seen.length = before;
    }
  } finally {
    for (const client of clients) client.close();
  }
}

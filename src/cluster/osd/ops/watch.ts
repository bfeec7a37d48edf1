/** WATCH, NOTIFY, NOTIFY_ACK, LIST_WATCHERS. The effects happen after the vector: see `watches.ts`. */

import { ERRNO } from '../../../base/errors.js';
import { DecodeError, Decoder } from '../../../encoding/decoder.js';
import { encode } from '../../../encoding/encoder.js';
import { type EntityName, entityAddr, entityName } from '../../../encoding/entity.js';
import { WATCH_OP } from '../../../messages/osd-op.js';
import { copyBytes } from '../../byte-string.js';
import { compareWatchers, type WatchRecord } from '../../store/object-meta.js';
import { requestId } from '../client-request.js';
import type { OpContext } from '../op-context.js';
import { argOf, type OpHandler } from './live-op.js';

export function sameEntity(a: EntityName, b: EntityName): boolean {
  return a.type === b.type && a.num === b.num;
}

function findWatcher(ctx: OpContext, entity: EntityName, cookie: bigint): WatchRecord | undefined {
  return ctx.info.watchers.find(
    (record) => record.cookie === cookie && sameEntity(record.entity, entity),
  );
}

export const watch: OpHandler = (ctx, op) => {
  const arg = argOf(op, 'watch');
  if (!ctx.exists) return -ERRNO.ENOENT;
  const entity = requestId(ctx.client).name;
  const known = findWatcher(ctx, entity, arg.cookie);
  const record: WatchRecord = {
    entity,
    cookie: arg.cookie,
    timeoutS: arg.timeout || ctx.pg.limits.watchTimeoutS,
    addr: ctx.client.session.addr,
  };
  switch (arg.op) {
    case WATCH_OP.WATCH:
    case WATCH_OP.LEGACY_WATCH: {
      if (!known) {
        const watchers = [...ctx.info.watchers, record].sort(compareWatchers);
        ctx.info = { ...ctx.info, watchers };
        ctx.dirty = true;
      }
      const willPing = arg.op === WATCH_OP.WATCH;
      // A repeated registration keeps its first timeout.
      ctx.effects.connects.push({ record: known ?? record, willPing });
      return 0;
    }
    case WATCH_OP.RECONNECT:
      if (!known) return -ERRNO.ENOTCONN;
      ctx.effects.connects.push({ record: known, willPing: true });
      return 0;
    case WATCH_OP.PING: {
      if (!known) return -ERRNO.ENOTCONN;
      const alive = ctx.pg.watchesOf(ctx.id)?.get(known);
      const { session, receivedMs } = ctx.client;
      // The registration is known but its connection is gone, or is another one: the client must reconnect.
      if (!alive?.isConnectedTo(session)) return -ERRNO.ETIMEDOUT;
      alive.gotPing(receivedMs);
      return 0;
    }
    case WATCH_OP.UNWATCH:
      if (known) {
        const watchers = ctx.info.watchers.filter((other) => other !== known);
        ctx.info = { ...ctx.info, watchers };
        ctx.dirty = true;
        ctx.effects.disconnects.push({ record: known, notify: false });
      }
      return 0;
    default:
      return 0;
  }
};

const NO_DATA = new Uint8Array(0);

export const notify: OpHandler = (ctx, op, carried) => {
  const { cookie } = argOf(op, 'notify');
  let timeoutS = 0;
  let payload: Uint8Array = NO_DATA;
  try {
    const input = new Decoder(op.indata);
    input.u32();
    timeoutS = input.u32();
    payload = copyBytes(input.blob());
  } catch (error) {
    // An undecodable notify is sent empty, with the default timeout.
    if (!(error instanceof DecodeError)) throw error;
    timeoutS = 0;
  }
  const id = ctx.pg.nextNotifyId();
  ctx.effects.notifies.push({
    id,
    cookie,
    timeoutS: timeoutS || ctx.pg.limits.notifyTimeoutS,
    payload,
  });
  op.outdata = encode((e) => e.u64(id));
  return carried;
};

export const notifyAck: OpHandler = (ctx, op, carried) => {
  try {
    const input = new Decoder(op.indata);
    const notifyId = input.u64();
    const cookie = input.u64();
    const reply = input.remaining > 0 ? copyBytes(input.blob()) : NO_DATA;
    ctx.effects.acks.push({ notifyId, cookie, reply });
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
  return carried;
};

export const listWatchers: OpHandler = (ctx, op) => {
  const { watchers } = ctx.info;
  op.outdata = encode((e) =>
    e.struct(1, 1, () => {
      e.u32(watchers.length);
      for (const { entity, cookie, timeoutS, addr } of watchers) {
        e.struct(2, 1, () => {
          entityName.encode(e, entity);
          e.u64(cookie).u32(timeoutS);
          entityAddr.encode(e, addr);
        });
      }
    }),
  );
  return 0;
};

// Watch operations, and the messages that come for them, for tests with a raw client.

import { Decoder } from '../../../../src/encoding/decoder.js';
import { encode } from '../../../../src/encoding/encoder.js';
import { OP, type OsdOp } from '../../../../src/messages/osd-op.js';
import type { RawNotify } from './raw-client.js';

export const watchOp = (op: number, cookie: bigint, { gen = 0, timeout = 0 } = {}): OsdOp => ({
  code: OP.WATCH,
  flags: 0,
  arg: { kind: 'watch', cookie, version: 0n, op, gen, timeout },
  indata: new Uint8Array(0),
});

export const notifyOp = (cookie: bigint, timeoutS: number, payload: string): OsdOp => ({
  code: OP.NOTIFY,
  flags: 0,
  arg: { kind: 'notify', cookie },
  indata: encode((e) => e.u32(1).u32(timeoutS).string(payload)),
});

export const ackOp = (notifyId: bigint, cookie: bigint, reply: string): OsdOp => ({
  code: OP.NOTIFY_ACK,
  flags: 0,
  arg: { kind: 'none' },
  indata: encode((e) => e.u64(notifyId).u64(cookie).string(reply)),
});

const EVENTS = ['?', 'NOTIFY', 'COMPLETE', 'DISCONNECT'];

export interface WatchEvent {
  event: string;
  cookie: bigint;
  notifyId: bigint;
  result: number;
  payload: string;
  /** Of a completion: who acknowledged and who did not. */
  data: string;
  /** All of it, for comparing. */
  text: string;
}

export function readEvent({ front, data }: RawNotify): WatchEvent {
  const d = new Decoder(front);
  d.u8();
  const event = EVENTS[d.u8()] ?? '?';
  const cookie = d.u64();
  const version = d.u64();
  const notifyId = d.u64();
  const payload = Buffer.from(d.blob()).toString('latin1');
  const result = d.s32();
  const notifier = d.u64();
  const parts = [`cookie ${cookie}`, `payload '${payload}'`, `result ${result}`];
  parts.push(`notifier ${notifier}`, `version ${version === 0n ? 'none' : 'some'}`);
  parts.push(`id ${notifyId === 0n ? 'none' : 'some'}`);
  const about = describeData(data);
  const text = `${event}: ${parts.join(', ')}, ${about}`;
  return { event, cookie, notifyId, result, payload, data: about, text };
}

/** Who missed a notify stands in the order of addresses in a real OSD's memory: sorted here. */
function describeData(data: Uint8Array): string {
  if (data.length === 0) return 'no data';
  const d = new Decoder(data);
  const watcher = () => `${d.u64()}/${d.u64()}`;
  const acked: string[] = [];
  for (let left = d.u32(); left > 0; left--) {
    acked.push(`${watcher()} '${Buffer.from(d.blob()).toString('latin1')}'`);
  }
  const missed: string[] = [];
  for (let left = d.u32(); left > 0; left--) missed.push(watcher());
  return `acked by [${acked}], missed by [${missed.sort()}], ${d.remaining} bytes more`;
}

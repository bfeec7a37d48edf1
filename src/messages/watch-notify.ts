/** MWatchNotify v3: what an OSD tells watchers and notifiers (`messages/MWatchNotify.h`). */

import { blob, type Infer, list, record, s32, u8, u64 } from '../encoding/codec.js';

/** `CEPH_WATCH_EVENT_*`. */
export const WATCH_EVENT = {
  /** To a watcher: somebody notified. */
  NOTIFY: 1,
  /** To a notifier: everybody answered, or the time is over. */
  COMPLETE: 2,
  /** To a watcher: its registration is gone. */
  DISCONNECT: 3,
} as const;

export const watchNotify = record('MWatchNotify', {
  protocolVersion: u8,
  event: u8,
  /** The watch's, or, in a completion, the NOTIFY operation's. */
  cookie: u64,
  /** The object's. */
  version: u64,
  notifyId: u64,
  payload: blob,
  /** Of a completion: 0 or -ETIMEDOUT. */
  returnCode: s32,
  notifierGid: u64,
});
export type WatchNotify = Infer<typeof watchNotify>;

/** The data segment of a completion. On the wire the replies are a map by gid and cookie. */
export const notifyReplies = record('notify_reply', {
  replies: list(record('notify_reply_t', { gid: u64, cookie: u64, payload: blob })),
  missed: list(record('notify_missed_t', { gid: u64, cookie: u64 })),
});
export type NotifyReplies = Infer<typeof notifyReplies>;

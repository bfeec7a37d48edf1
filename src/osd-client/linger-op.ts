/**
 * Operations of watches and notifications. They are requests like others, but sent once: an OSD answers a tid that it knows
 * from its log, without connecting the watch again, so what was not answered is asked anew under another tid
 * (`Objecter::_send_linger`, which says `should_resend = false`).
 */

import type { Environment } from '../base/environment.js';
import type { EntityAddr } from '../encoding/entity.js';
import type { OsdOp } from '../messages/osd-op.js';
import type { OpRequest } from './op-request.js';
import type { ObjectTarget, OperateResult } from './request.js';
import type { OsdSession } from './session.js';
import type { ClientMap } from './target.js';

/** All calls come at once, from within what caused them. */
export interface LingerHooks {
  /** Whether it may go now; if not, `LingerTransport.sendHeld` when it may. */
  admit(request: OpRequest): boolean;
  onSent(session: OsdSession): void;
  onResult(result: OperateResult): void;
  onFailed(error: Error): void;
  /** It was sent, and its session, or its place in the map, is no longer the same: to be asked anew. */
  onUnanswered(): void;
}

/** What the linger table needs of the OsdClient. */
export interface LingerTransport {
  readonly env: Environment;
  /** krbd's `osdkeepalive`. */
  readonly keepaliveMs: number;
  readonly map: ClientMap | undefined;
  /** As the cluster sees this client. */
  readonly addr: EntityAddr | undefined;
  /** Past the limit of operations in flight: pings and acknowledgements must not wait for I/O that may wait for them. */
  submit(target: ObjectTarget, op: OsdOp, hooks: LingerHooks): OpRequest;
  cancel(request: OpRequest): void;
  sendHeld(request: OpRequest): void;
  wantNewerMap(): void;
  /** `rbd/ns/rbd_header.1014`. */
  describe(target: ObjectTarget): string;
}

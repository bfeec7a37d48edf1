/**
 * A client whose requests to the OSDs are seen one by one before they go and when they are answered, and which can die at
 * any of them: as a process dies, with what it has sent under way and nothing of what it would have done next.
 */

import { describeOps, type OsdOp } from '../../src/messages/osd-op.js';
import type { ObjectTarget, OperateOptions, OperateResult } from '../../src/osd-client/request.js';
import { IoContext, type ObjectOperator } from '../../src/rados/io-context.js';
import type { RbdContext } from '../../src/rbd/context.js';
import type { ClusterWorld, WorldClient } from './cluster-world.js';

export interface TracedRequest {
  readonly oid: string;
  /** `lock.assert_locked, rbd.object_map_update`. */
  readonly text: string;
  readonly ops: readonly OsdOp[];
}

/** What an OSD says to a write. */
export const WRITTEN: OperateResult = { result: 0, ops: [], userVersion: 0n };

export class TracedClient {
  readonly client: WorldClient;
  readonly context: RbdContext;
  /** `rbd_object_map.1: lock.assert_locked, rbd.object_map_update`, in the order in which they went. */
  readonly log: string[] = [];
  /** Before a request goes: throws to fail it, waits to hold it. */
  onRequest: (request: TracedRequest) => void | Promise<void> = () => undefined;
  /** Sends it, or does something else in its place. */
  instead: (
    request: TracedRequest,
    send: () => Promise<OperateResult>,
  ) => OperateResult | Promise<OperateResult> = (_, send) => send();
  /** When it was answered, or failed: throws to fail it all the same, waits to hold the answer. */
  onReply: (request: TracedRequest) => void | Promise<void> = () => undefined;

  static async connect(at: ClusterWorld): Promise<TracedClient> {
    return new TracedClient(await at.client());
  }

  constructor(client: WorldClient) {
    this.client = client;
    const { rados } = client;
    const operator: ObjectOperator = {
      operate: (target, ops, options) => this.#operate(target, ops, options),
      watch: (target, handler, options) => rados.watch(target, handler, options),
      notify: (target, payload, options) => rados.notify(target, payload, options),
      createSelfManagedSnap: (pool) => rados.createSelfManagedSnap(pool),
      removeSelfManagedSnap: (pool, snapid) => rados.removeSelfManagedSnap(pool, snapid),
    };
    this.context = {
      ioctx: async (pool, nspace = '') =>
        new IoContext(operator, (await rados.ioctx(pool)).pool, nspace),
      poolById: (id) => rados.poolById(id),
      pools: () => rados.pools(),
      waitForLatestMap: () => rados.waitForLatestMap(),
      requireMinCompatClient: rados.requireMinCompatClient,
      globalId: rados.globalId,
      clientAddr: rados.clientAddr,
      blocklistAdd: (addr, expireSeconds) => rados.blocklistAdd(addr, expireSeconds),
      environment: rados.environment,
    };
  }

  /** It dies before it sends the n-th request that matches, or with its answer under way. Resolves when it is dead. */
  dieAt(
    matches: (request: TracedRequest) => boolean,
    when: 'before' | 'after',
    nth = 1,
  ): Promise<void> {
    let left = nth;
    return new Promise((dead) => {
      const hook = (request: TracedRequest) => {
        if (!matches(request) || --left > 0) return undefined;
        this.client.kill();
        dead();
        return new Promise<void>(() => {});
      };
      if (when === 'before') this.onRequest = hook;
      else this.onReply = hook;
    });
  }

  async #operate(
    target: ObjectTarget,
    ops: readonly OsdOp[],
    options?: OperateOptions,
  ): Promise<OperateResult> {
    const request = { oid: target.oid, text: describeOps(ops), ops };
    await this.onRequest(request);
    this.log.push(`${request.oid}: ${request.text}`);
    try {
      return await this.instead(request, () => this.client.rados.operate(target, ops, options));
    } finally {
      await this.onReply(request);
    }
  }
}

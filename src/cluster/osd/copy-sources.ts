/** Fetches what the COPY_FROMs of a vector copy, before the vector runs. */

import { sleep } from '../../base/environment.js';
import { ERRNO } from '../../base/errors.js';
import { NOSNAP } from '../../encoding/types.js';
import { objectToPg } from '../../osdmap/placement.js';
import type { ClientRequest } from './client-request.js';
import type { CopySource, PgView } from './op-context.js';
import { parseCopyFrom } from './ops/copy-from.js';
import type { CopyTarget } from './osd-peer.js';
import type { PgHost } from './pg-host.js';

export type FetchedSources =
  | { sources: ReadonlyMap<number, CopySource> }
  | { failed: { index: number; errno: number } };

const ATTEMPTS = 20;
const RETRY_MS = 200;

export class CopySources {
  readonly #host: PgHost;

  constructor(host: PgHost) {
    this.#host = host;
  }

  /** By index of the operation. Never rejects: what cannot be had is an errno, and ends the vector there. */
  async fetch(pg: PgView, { request }: ClientRequest): Promise<FetchedSources> {
    const sources = new Map<number, CopySource>();
    for (const [index, op] of request.ops.entries()) {
      if (op.arg.kind !== 'copyFrom') continue;
      const parsed = parseCopyFrom(op);
      if (typeof parsed === 'number') continue;
      const { oid, locator, snapid } = parsed;
      const target: CopyTarget = {
        pool: locator.pool,
        nspace: locator.nspace,
        oid,
        key: locator.key,
        snapid,
      };
      const self =
        target.pool === pg.poolId &&
        target.nspace === request.locator.nspace &&
        target.oid === request.oid &&
        target.key === request.locator.key &&
        snapid === NOSNAP;
      if (self) continue;
      const source = await this.#fetchOne(target);
      const errno = 'errno' in source ? source.errno : versionMismatch(source, op.arg.srcVersion);
      if ('errno' in source || errno !== 0) return { failed: { index, errno } };
      sources.set(index, source);
    }
    return { sources };
  }

  async #fetchOne(target: CopyTarget): Promise<CopySource> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { map, placement } = this.#host.view;
      const place = objectToPg(map, target);
      if (!place) return { errno: -ERRNO.ENOENT };
      const primary = placement.pgToUpActing(place.pg).actingPrimary;
      const found = this.#host.peers.osd(primary);
      if (found) {
        try {
          return await found.copySource(target);
        } catch {
          // Between two primaries: asked again below.
        }
      }
      await sleep(this.#host.env, RETRY_MS);
    }
    return { errno: -ERRNO.EIO };
  }
}

/** As ASSERT_VER judges; 0 asks for any version. */
function versionMismatch({ userVersion }: { userVersion: bigint }, asked: bigint): number {
  if (asked === 0n || asked === userVersion) return 0;
  return asked < userVersion ? -ERRNO.ERANGE : -ERRNO.EOVERFLOW;
}

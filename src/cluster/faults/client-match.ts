/** Which client is meant. */

import {
  ADDR_TYPE,
  type EntityAddr,
  ENTITY_TYPE,
  type EntityName,
  formatAddr,
} from '../../encoding/entity.js';
import { parseAddr } from '../mon/addresses.js';
import type { ClientRef } from './fault-spec.js';

/** What a daemon knows of a client that has authenticated. */
export interface ClientIdentity {
  readonly name: EntityName;
  readonly addr: EntityAddr;
}

export type ClientMatcher = (client: ClientIdentity) => boolean;

/** TypeError for what is neither a global id nor an address. */
export function matchClient(ref: ClientRef): ClientMatcher {
  const gid = globalIdOf(ref);
  if (gid !== undefined) {
    return ({ name }) => name.type === ENTITY_TYPE.CLIENT && name.num === gid;
  }
  const wanted = addrOf(ref);
  if (!wanted) {
    throw new TypeError(`'${String(ref)}' is neither a global id nor an address of a client`);
  }
  return ({ addr }) => addr.host === wanted.host && addr.nonce === wanted.nonce;
}

function globalIdOf(ref: ClientRef): bigint | undefined {
  if (typeof ref === 'bigint') return ref;
  if (typeof ref === 'number') return Number.isSafeInteger(ref) ? BigInt(ref) : undefined;
  const digits = /^(?:client\.)?(\d{1,19})$/.exec(ref)?.[1];
  return digits === undefined ? undefined : BigInt(digits);
}

/** An address with its nonce, without which it would mean a whole host. */
export function addrOf(ref: ClientRef): EntityAddr | undefined {
  return typeof ref === 'string' && ref.includes('/') ? parseAddr(ref) : undefined;
}

/** As `ceph osd blocklist` takes it. */
export function formatClientAddr(addr: EntityAddr): string {
  return formatAddr({ ...addr, type: ADDR_TYPE.ANY });
}

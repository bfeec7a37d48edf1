/**
 * `mon host`: where the monitors are (`MonMap::init_with_hosts`).
 *
 *     10.0.0.1, 10.0.0.2:3300  [v2:10.0.0.3:3300,v1:10.0.0.3:6789]  [fd00::1]:3300  mon.example.org
 *
 * Only addresses of messenger v2 come out: it is what we speak.
 */

import { RadosError } from '../base/errors.js';
import { ADDR_TYPE, type EntityAddr } from '../encoding/entity.js';

const MSGR2_PORT = 3300;
const MSGR1_PORT = 6789;

/** One monitor. */
export interface MonHost {
  /** As the configuration has it. */
  readonly text: string;
  /** Never empty. `host` may be a DNS name, to be resolved when dialling. */
  readonly addrs: readonly EntityAddr[];
}

/** Monitors that have messenger v1 addresses alone are left out; `EOPNOTSUPP` when that leaves none. */
export function parseMonHost(text: string): MonHost[] {
  const entries = splitOutsideBrackets(text.trim());
  const hosts = entries.map((entry) => ({ text: entry, addrs: parseEntry(entry) }));
  const usable = hosts.filter((host) => host.addrs.length > 0);
  if (entries.length > 0 && usable.length === 0) {
    throw new RadosError(
      'EOPNOTSUPP',
      `mon host '${text}' has no address of messenger v2, which is all that this client speaks`,
      { op: 'read configuration' },
    );
  }
  return usable;
}

function parseEntry(entry: string): EntityAddr[] {
  const bracketed = /^\[(.*)\]$/.exec(entry)?.[1];
  if (bracketed === undefined || isIpv6(bracketed)) return parseAddress(entry);
  return splitOutsideBrackets(bracketed).flatMap(parseAddress);
}

const ADDRESS =
  /^(?:(?<type>v1|v2|any):)?(?:\[(?<ipv6>[^\]]+)\]|(?<host>[^:/[\]]+))(?::(?<port>\d*))?(?:\/(?<nonce>\d+))?$/;

/** No address for one of messenger v1. */
function parseAddress(text: string): EntityAddr[] {
  // An IPv6 address without brackets has no port.
  const bare = /^([^/]*)(\/\d+)?$/.exec(text);
  const match =
    bare && isIpv6(bare[1] ?? '')
      ? ADDRESS.exec(`[${bare[1]}]${bare[2] ?? ''}`)
      : ADDRESS.exec(text);
  const { type, ipv6, host, port: portText, nonce: nonceText } = match?.groups ?? {};
  const name = ipv6 ?? host;
  const port = Number(portText || 0);
  const nonce = Number(nonceText ?? 0);
  const wellFormed =
    name !== undefined &&
    port <= 0xffff &&
    nonce <= 0xffff_ffff &&
    (ipv6 === undefined ? /^[\w.-]+$/.test(name) : isIpv6(ipv6));
  if (!wellFormed) {
    throw new RadosError('EINVAL', `unable to parse '${text}' in mon host`, {
      op: 'read configuration',
    });
  }
  if (type === 'v1') return [];
  // Without a type this port means messenger v1; its sibling of v2 is nearly always at the usual place.
  const guessed = port === 0 || (type !== 'v2' && port === MSGR1_PORT);
  return [{ type: ADDR_TYPE.MSGR2, nonce, host: name, port: guessed ? MSGR2_PORT : port }];
}

/** Eight groups, or fewer around `::`; the last two may be dotted. Good enough to tell addresses from names and ports. */
function isIpv6(text: string): boolean {
  if (!/^[0-9a-f:.]+(%\w+)?$/i.test(text)) return false;
  const groups = text.split(':').length + (text.includes('.') ? 1 : 0);
  return text.includes('::') ? groups <= 9 : groups === 8;
}

/** Splits at commas, semicolons and spaces. */
function splitOutsideBrackets(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = '';
  for (const char of text) {
    if (char === '[') depth++;
    if (char === ']') depth--;
    if (depth === 0 && /[,;\s]/.test(char)) {
      parts.push(part);
      part = '';
    } else {
      part += char;
    }
  }
  return [...parts, part].filter((each) => each !== '');
}

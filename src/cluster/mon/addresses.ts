/** Addresses as people and librados write them in commands. */

import { ADDR_TYPE, type EntityAddr } from '../../encoding/entity.js';

const MAX_NONCE = 0xffff_ffff;

/**
 * `10.0.0.7:6789/123`, `[::1]:0/5`, `v2:10.0.0.7:0/1`, `10.0.0.7`: port and nonce are 0 when missing. The type is the
 * written one, ANY without. Undefined when it is no address.
 */
export function parseAddr(text: string): EntityAddr | undefined {
  const match =
    /^(?:(v1|v2|any):)?(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?(?:\/(\d{1,10}))?$/.exec(
      text,
    );
  if (!match) return undefined;
  const [, prefix, v6, v4, portText = '0', nonceText = '0'] = match;
  const host = v6 ?? v4 ?? '';
  if (v6 === undefined ? !isIPv4(host) : !isIPv6(host)) return undefined;
  const port = Number(portText);
  const nonce = Number(nonceText);
  if (port > 65535 || nonce > MAX_NONCE) return undefined;
  const type =
    prefix === 'v1' ? ADDR_TYPE.LEGACY : prefix === 'v2' ? ADDR_TYPE.MSGR2 : ADDR_TYPE.ANY;
  return { type, host, port, nonce };
}

/** Whether it is an IP address, and nothing else. */
export function isAddress(text: string): boolean {
  return isIPv4(text) || isIPv6(text);
}

function isIPv4(text: string): boolean {
  const parts = text.split('.');
  return parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256);
}

/** Groups of four hexadecimal digits, one run of which may be left out. */
function isIPv6(text: string): boolean {
  const halves = text.split('::');
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  if (halves.length > 2 || !groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return false;
  return halves.length === 2 ? groups.length < 8 : groups.length === 8;
}

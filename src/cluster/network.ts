/** Networks in caps: `10.0.0.0/8`, `fd00::/8`. */

/** Whether an address is in a network; not in one that does not parse. */
export function inNetwork(host: string, network: string): boolean {
  const [base = '', length = ''] = network.split('/');
  const [address, start] = [bytesOf(host), bytesOf(base)];
  const bits = Number(length);
  if (!address || !start || address.length !== start.length) return false;
  if (!/^\d+$/.test(length) || bits > address.length * 8) return false;
  return address.every((byte, i) => {
    const kept = Math.min(8, Math.max(0, bits - i * 8));
    return byte >> (8 - kept) === (start[i] ?? 0) >> (8 - kept);
  });
}

function bytesOf(host: string): number[] | undefined {
  return host.includes(':') ? bytesOfV6(host) : bytesOfV4(host);
}

function bytesOfV4(host: string): number[] | undefined {
  const parts = host.split('.');
  if (parts.length !== 4 || parts.some((part) => !/^\d{1,3}$/.test(part) || Number(part) > 255)) {
    return undefined;
  }
  return parts.map(Number);
}

function bytesOfV6(host: string): number[] | undefined {
  const [head = '', tail, ...more] = host.split('::');
  if (more.length > 0) return undefined;
  const words = (text: string) => text.split(':').filter((word) => word !== '');
  const [before, after] = [words(head), words(tail ?? '')];
  const missing = 8 - before.length - after.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const all = [...before, ...Array.from({ length: missing }, () => '0'), ...after];
  if (all.some((word) => !/^[0-9a-f]{1,4}$/i.test(word))) return undefined;
  return all.flatMap((word) => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 0xff]);
}

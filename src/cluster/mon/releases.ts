/** Ceph's releases by number, and the one that this monitor answers as. */

export const RELEASE = {
  argonaut: 1,
  bobtail: 2,
  cuttlefish: 3,
  dumpling: 4,
  emperor: 5,
  firefly: 6,
  giant: 7,
  hammer: 8,
  infernalis: 9,
  jewel: 10,
  kraken: 11,
  luminous: 12,
  mimic: 13,
  nautilus: 14,
  octopus: 15,
  pacific: 16,
} as const;

export type ReleaseName = keyof typeof RELEASE;

export function releaseName(release: number): string {
  return Object.entries(RELEASE).find(([, number]) => number === release)?.[0] ?? 'unknown';
}

/**
 * Tools look at the version before they use a feature, so it names the release whose protocol is spoken here; the
 * commit makes clear that it is not Ceph's own build.
 */
export const VERSION_NUMBER = '16.2.15';

export const VERSION = `ceph version ${VERSION_NUMBER} (0000000000000000000000000000000000000000) pacific (stable)`;

// What becomes of peering when a member goes away in the middle: it fails as a whole, and nothing of it goes on unheard.

import { describe, expect, it } from 'vitest';
import type { OsdPeer } from '../../../src/cluster/osd/osd-peer.js';
import { peer } from '../../../src/cluster/osd/peering.js';
import { RadosError } from '../../../src/base/errors.js';

const PG = { pool: 1, seed: 0 };

describe('peering', () => {
  it('that a member leaves before it is activated hears the answers of the others', async () => {
    const unheard: unknown[] = [];
    const onUnheard = (error: unknown) => unheard.push(error);
    process.on('unhandledRejection', onUnheard);
    const dead: number[] = [];
    let activated = 0;
    const primary = {
      query: () => Promise.resolve(undefined),
      activate: async () => {
        activated++;
        await Promise.resolve();
        throw new RadosError('ESTALE', 'the interval is over');
      },
    } as unknown as OsdPeer;
    const other = { query: () => Promise.resolve(undefined) } as unknown as OsdPeer;
    let isThere = true;
    const peering = peer({
      ...{ pg: PG, whoami: 0, since: 5, acting: [0, 1], minSize: 1, up: [0, 1] },
      peers: { osd: (id) => (id === 0 ? primary : isThere ? other : undefined) },
      check: () => undefined,
      becomeAlive: async () => {
        await Promise.resolve();
        isThere = false;
      },
      fullHistory: () => [],
      onDead: (osd) => dead.push(osd),
      handOver: () => false,
    });
    await expect(peering).rejects.toMatchObject({ code: 'EAGAIN' });
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', onUnheard);
    expect([activated, dead, unheard]).toEqual([1, [1], []]);
  });
});

/**
 * What linger promises, as sentences that hold on any cluster: everything goes through the public interface, and the
 * same script runs on the embedded cluster and on a real one. `failover.ts` is its other half.
 *
 * Where Ceph's own programs are there, they judge as well: what we write they read, and the other way round.
 */

import { afterAll, beforeAll, describe } from 'vitest';

import { access } from './access.js';
import { data } from './data.js';
import { images } from './images.js';
import { connectTo, NAMESPACE } from './support.js';
import type { Target, TargetKind } from './target.js';
import { threads } from './threads.js';

export function acceptance(kind: TargetKind): void {
  describe(`on ${kind.name}`, () => {
    let target: Target;
    const getTarget = () => target;

    beforeAll(async () => {
      target = await kind.start([
        { name: 'rbd', pgNum: 8, size: 2 },
        { name: 'data', pgNum: 8, size: 2 },
      ]);
      await using cluster = await connectTo(target);
      await cluster.pool('rbd').namespaces.create(NAMESPACE);
    });
    afterAll(() => target?.stop());

    images(kind, getTarget);
    access(kind, getTarget);
    data(kind, getTarget);
    threads(getTarget);
  });
}

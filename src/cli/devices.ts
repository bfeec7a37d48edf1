/** Mapping images for a command, with failures in `rbd`'s words. */

import { isRadosError } from '../base/errors.js';
import type { Cluster, MapImageOptions } from '../block/cluster.js';
import type { BlockDevice } from '../block/device.js';
import { formatImageSpec, type NamedImageSpec } from '../rbd/spec.js';
import { CommandError, commandError } from './errors.js';

export async function mapImage(
  cluster: Cluster,
  spec: NamedImageSpec,
  options: MapImageOptions,
): Promise<BlockDevice> {
  try {
    return await cluster.map(formatImageSpec(spec), options);
  } catch (error) {
    if (isRadosError(error, 'ENOENT')) await explainAbsence(cluster, spec);
    throw commandError(`error opening image ${spec.name}`, error);
  }
}

/** Says what it is that is not there, if it is not the image. */
async function explainAbsence(cluster: Cluster, spec: NamedImageSpec): Promise<void> {
  await reachPool(cluster, spec);
  if (spec.snap === undefined) return;
  const { images } = cluster.pool(spec.pool, spec.namespace);
  const found = await images.info(spec.name).then(
    () => true,
    () => false,
  );
  if (found) {
    throw new CommandError(2, 'error setting snapshot context: (2) No such file or directory');
  }
}

/** Fails unless the pool and the namespace are there. */
export async function reachPool(
  cluster: Cluster,
  { pool, namespace }: { pool: string; namespace: string },
): Promise<void> {
  if (!(await cluster.listPools()).includes(pool)) {
    throw new CommandError(2, `error opening pool '${pool}': (2) No such file or directory`);
  }
  if (namespace === '') return;
  await cluster
    .pool(pool, namespace)
    .images.list()
    .catch((error: unknown) => {
      if (!isRadosError(error, 'ENOENT')) throw commandError('error checking namespace', error);
      throw new CommandError(2, `namespace '${namespace}' does not exist.`, { cause: error });
    });
}

/** Opening what a command is about, in `rbd`'s words when it is not there. */

import { isRadosError } from '../base/errors.js';
import type { IoContext } from '../rados/io-context.js';
import type { RadosClient } from '../rados/rados-client.js';
import { assertNamespace } from '../rbd/directory.js';
import { openHeader } from '../rbd/open.js';
import type { ImageSpec } from '../rbd/spec.js';
import { CommandError, commandError, step } from './errors.js';

/** The pool, in a namespace that exists: what commands on images begin with. */
export async function openPool(
  client: RadosClient,
  { pool, namespace }: { pool: string; namespace?: string },
): Promise<IoContext> {
  const ioctx = await step(`error opening pool '${pool}'`, client.ioctx(pool, namespace ?? ''));
  try {
    await assertNamespace(ioctx);
  } catch (error) {
    if (!isRadosError(error, 'ENOENT')) throw commandError('error checking namespace', error);
    throw new CommandError(2, `namespace '${namespace}' does not exist.`, { cause: error });
  }
  return ioctx;
}

/** Tells a missing snapshot from a missing image. */
export async function explainOpenFailure(
  client: RadosClient,
  spec: ImageSpec,
  error: unknown,
  missingSnapshot = 'error setting snapshot context: (2) No such file or directory',
): Promise<never> {
  const label = spec.name ?? `with id ${spec.id}`;
  const { snap, snapId, ...head } = spec;
  if ((snap ?? snapId) !== undefined && isRadosError(error, 'ENOENT')) {
    await step(`error opening image ${label}`, openHeader(client, head, { readOnly: true }));
    throw new CommandError(2, missingSnapshot);
  }
  throw commandError(`error opening image ${label}`, error);
}

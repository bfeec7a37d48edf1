/** namespace and pool: what images live in. */

import { isRadosError } from '../../base/errors.js';
import { createNamespace, listNamespaces, removeNamespace } from '../../rbd/namespaces.js';
import { validatePool } from '../../rbd/pool.js';
import { type PoolSpec, poolSpec } from '../arguments.js';
import type { GlobalOptions } from '../context.js';
import { CommandError, commandError, step } from '../errors.js';
import { openPool } from '../opening.js';
import { addFormatOptions, type FormatOptions, formatJson, formatTable } from '../output.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';

export const registerNamespaceCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.pools);
  const group = program
    .command('namespace')
    .summary('Namespaces of a pool: list, create, remove.')
    .description('Namespaces of a pool: each has images, names and users of its own.');
  addFormatOptions(group.command('list').alias('ls'))
    .summary('List the namespaces of a pool.')
    .argument('[pool-spec]', 'pool')
    .action(run(list));
  group
    .command('create')
    .summary('Create a namespace.')
    .argument('[pool-spec]', 'pool/namespace')
    .action(run(create));
  group
    .command('remove')
    .alias('rm')
    .summary('Remove an empty namespace.')
    .argument('[pool-spec]', 'pool/namespace')
    .action(run(remove));

  const pool = program
    .command('pool')
    .summary('Pools: init.')
    .description('Pools as places for images.');
  pool
    .command('init')
    .summary('Make a pool ready for images.')
    .argument('[pool-spec]', 'pool')
    .option('--force', 'even if another application uses it')
    .action(run(init));
};

/** A pool and no namespace. */
function poolOnly(text: string | undefined, options: GlobalOptions): string {
  const { pool } = poolSpec(text, options);
  if (text?.includes('/')) throw new CommandError(22, `invalid pool '${text}'`);
  return pool;
}

const list: Action<GlobalOptions & FormatOptions> = async (context, [text], options) => {
  const pool = poolOnly(text, options);
  await context.withClient(options, async ({ client }) => {
    const ioctx = await openPool(client, { pool });
    const names = await step('failed to list namespaces', listNamespaces(ioctx));
    if (options.format === 'json') {
      const entries = names.map((name) => ({ name }));
      context.print(formatJson(entries, options));
    } else if (names.length > 0) {
      const rows = names.map((name) => [name]);
      context.print(formatTable([{ title: 'NAME', align: 'left' }], rows));
    }
  });
};

function namespaceOf(text: string | undefined, options: GlobalOptions): PoolSpec {
  const spec = poolSpec(text, options);
  if (spec.namespace === '') throw new CommandError(22, 'namespace name was not specified');
  return spec;
}

const create: Action<GlobalOptions> = async (context, [text], options) => {
  const { pool, namespace } = namespaceOf(text, options);
  await context.withClient(options, async ({ client }) => {
    const ioctx = await openPool(client, { pool });
    // The grammar is `rbd`'s.
    await step('failed to created namespace', createNamespace(ioctx, namespace));
  });
};

const remove: Action<GlobalOptions> = async (context, [text], options) => {
  const { pool, namespace } = namespaceOf(text, options);
  await context.withClient(options, async ({ client }) => {
    const ioctx = await openPool(client, { pool });
    try {
      await removeNamespace(ioctx, namespace);
    } catch (error) {
      if (isRadosError(error, 'ENOENT')) {
        throw new CommandError(2, 'namespace does not exist.', { cause: error });
      }
      if (isRadosError(error, 'EBUSY')) {
        throw new CommandError(16, 'namespace contains images which must be deleted first.', {
          cause: error,
        });
      }
      throw commandError('failed to remove namespace', error);
    }
  });
};

const init: Action<GlobalOptions & { force?: boolean }> = async (context, [text], options) => {
  const pool = poolOnly(text, options);
  await context.withClient(options, async ({ client }) => {
    const ioctx = await openPool(client, { pool });
    const enable = client.command({
      prefix: 'osd pool application enable',
      pool,
      app: 'rbd',
      ...(options.force ? { yes_i_really_mean_it: true } : {}),
    });
    await step('pool init failed', enable);
    await client.waitForLatestMap();
    await step('pool init failed', validatePool(ioctx));
  });
};

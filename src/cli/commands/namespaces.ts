/** namespace and pool: what images live in. */

import { createNamespace, listNamespaces, removeNamespace } from '../../rbd/namespaces.js';
import { validatePool } from '../../rbd/pool.js';
import { addPoolOptions, type CommandContext, type GlobalOptions } from '../context.js';
import { CommandError, step } from '../errors.js';
import { addFormatOptions, type FormatOptions, formatJson, formatTable } from '../output.js';
import type { Register } from '../program.js';
import { isRadosError } from '../../base/errors.js';
import { openPool } from './images.js';

export const registerNamespaceCommands: Register = (program, run) => {
  const group = program.command('namespace').summary('Namespaces of a pool.');
  addFormatOptions(addPoolOptions(group.command('list').alias('ls')))
    .summary('List the namespaces of a pool.')
    .argument('[pool-spec]')
    .action(run(list));
  addPoolOptions(group.command('create'))
    .summary('Create a namespace.')
    .argument('[pool-spec]', 'pool/namespace')
    .action(run(create));
  addPoolOptions(group.command('remove').alias('rm'))
    .summary('Remove a namespace.')
    .argument('[pool-spec]', 'pool/namespace')
    .action(run(remove));

  const pool = program.command('pool').summary('Pools.');
  addPoolOptions(pool.command('init'))
    .summary('Make a pool ready for images.')
    .argument('[pool-spec]')
    .option('--force', 'even if another application uses it')
    .action(run(init));
};

async function list(
  context: CommandContext,
  [specText]: [string | undefined],
  options: GlobalOptions & FormatOptions,
): Promise<void> {
  const { pool } = context.poolSpec(specText, options);
  await context.withClient(options, async ({ client }) => {
    const names = await step(
      'failed to list namespaces',
      listNamespaces(await openPool(client, pool)),
    );
    if (options.format === 'json') {
      context.print(
        formatJson(
          names.map((name) => ({ name })),
          options,
        ),
      );
    } else if (names.length > 0) {
      context.print(
        formatTable(
          [{ title: 'NAME', align: 'left' }],
          names.map((name) => [name]),
        ),
      );
    }
  });
}

function namespaceOf(
  context: CommandContext,
  specText: string | undefined,
  options: GlobalOptions,
) {
  const spec = context.poolSpec(specText, options);
  if (spec.namespace === '') throw new CommandError(22, 'namespace name was not specified');
  return spec;
}

async function create(
  context: CommandContext,
  [specText]: [string | undefined],
  options: GlobalOptions,
): Promise<void> {
  const { pool, namespace } = namespaceOf(context, specText, options);
  await context.withClient(options, async ({ client }) =>
    step('failed to created namespace', createNamespace(await openPool(client, pool), namespace)),
  );
}

async function remove(
  context: CommandContext,
  [specText]: [string | undefined],
  options: GlobalOptions,
): Promise<void> {
  const { pool, namespace } = namespaceOf(context, specText, options);
  await context.withClient(options, async ({ client }) => {
    try {
      await removeNamespace(await openPool(client, pool), namespace);
    } catch (error) {
      if (isRadosError(error, 'ENOENT'))
        throw new CommandError(2, 'namespace does not exist.', { cause: error });
      if (isRadosError(error, 'EBUSY')) {
        throw new CommandError(16, 'namespace contains images which must be deleted first.', {
          cause: error,
        });
      }
      throw error;
    }
  });
}

async function init(
  context: CommandContext,
  [specText]: [string | undefined],
  options: GlobalOptions & { force?: boolean },
): Promise<void> {
  const { pool } = context.poolSpec(specText, options);
  await context.withClient(options, async ({ client }) => {
    const ioctx = await openPool(client, pool);
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
}

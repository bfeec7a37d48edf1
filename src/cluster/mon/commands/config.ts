/** The central configuration, which is empty: `config get|dump`, `config-key ls`. */

import { formatTable, leftColumn, rightColumn } from '../formatter.js';
import { type Command, CommandError } from './command.js';

const COLUMNS = [...['WHO', 'MASK', 'LEVEL', 'OPTION', 'VALUE'].map(leftColumn), rightColumn('RO')];

export const configCommands: readonly Command[] = [
  {
    prefix: 'config get',
    args: [
      { name: 'who', type: 'CephString' },
      { name: 'key', type: 'CephString', optional: true },
    ],
    help: 'Show configuration option(s) for an entity',
    module: 'config',
    perm: 'r',
    run: ({ args, output }) => {
      const key = args.string('key');
      // Nothing is set here, and the defaults are the client's own.
      if (key !== '') throw new CommandError('ENOENT', `unrecognized key '${key}'`);
      return output({ plain: () => formatTable(COLUMNS, []), json: () => ({}) });
    },
  },
  {
    prefix: 'config dump',
    help: 'Show all configuration option(s)',
    module: 'mon',
    perm: 'r',
    run: ({ output }) => output({ plain: () => formatTable(COLUMNS, []), json: () => [] }),
  },
  {
    prefix: 'config-key ls',
    help: 'list keys',
    module: 'config-key',
    perm: 'r',
    run: ({ output }) => output({ json: () => [], newline: 'ensured' }),
  },
];

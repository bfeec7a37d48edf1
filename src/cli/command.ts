/** What commands are made of, for the files that define them. */

import type { Command } from 'commander';
import type { Arguments } from './arguments.js';
import type { CommandContext } from './context.js';

/** What a command does. `args` are as many as were declared; those that were not given are undefined. */
export type Action<O> = (context: CommandContext, args: Arguments, options: O) => Promise<void>;

/** Makes an action of a command. */
export type Run = <O>(action: Action<O>) => (...given: unknown[]) => Promise<void>;

/** Adds commands to the tree. */
export type Register = (program: Command, run: Run) => void;

/** Groups of the help at the top level. */
export const HELP_GROUPS = {
  images: 'Images:',
  data: 'Data:',
  clients: 'Clients:',
  pools: 'Pools:',
  cluster: 'Embedded cluster:',
  shell: 'Shell:',
} as const;

/** The command tree. */

import { Command, CommanderError } from 'commander';
import { isRadosError } from '../base/errors.js';
import { registerBenchCommand } from './commands/bench.js';
import { registerClusterCommands } from './commands/cluster.js';
import { registerCompletionCommand } from './commands/completion.js';
import { registerImageCommands } from './commands/images.js';
import { registerMetadataCommands } from './commands/metadata.js';
import { registerNamespaceCommands } from './commands/namespaces.js';
import { registerTransferCommands } from './commands/transfer.js';
import { addGlobalOptions, CommandContext, type Streams } from './context.js';
import { CommandError, commandError, EXIT_INTERRUPTED, EXIT_USAGE } from './errors.js';

type Action<A extends unknown[], O> = (
  context: CommandContext,
  args: A,
  options: O,
) => Promise<void>;

/** Makes an action of a command: it gets the context, the arguments and the options. */
export type Run = <A extends unknown[], O>(
  action: Action<A, O>,
) => (...given: unknown[]) => Promise<void>;

/** Adds a group of commands to the tree. */
export type Register = (program: Command, run: Run) => void;

const GROUPS: readonly Register[] = [
  registerClusterCommands,
  registerImageCommands,
  registerTransferCommands,
  registerBenchCommand,
  registerMetadataCommands,
  registerNamespaceCommands,
  registerCompletionCommand,
];

export function buildProgram(context: CommandContext): Command {
  const run: Run =
    (action) =>
    async (...given) => {
      const command = given.at(-1) as Command;
      const args = given.slice(0, -2) as never;
      await action(context, args, command.opts() as never);
    };
  const program = new Command('linger')
    .description('Ceph block images, without a kernel module or a native library.')
    .version('0.1.0')
    .showHelpAfterError("See 'linger help <command>' for help on a specific command.")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.print(text),
      writeErr: (text) => context.note(text.replace(/^error: /, 'linger: ')),
    });
  for (const register of GROUPS) register(program, run);
  for (const leaf of leaves(program)) {
    if (leaf.name() !== 'completion' && leaf.parent?.name() !== 'cluster') addGlobalOptions(leaf);
    leaf.exitOverride().copyInheritedSettings(program);
  }
  return program;
}

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

/** Runs a command line and returns its exit code. */
export async function main(
  args: readonly string[],
  streams: Streams,
  processEnv: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<number> {
  const context = new CommandContext(streams, signal, processEnv);
  try {
    await buildProgram(context).parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (signal.aborted) return EXIT_INTERRUPTED;
    // Commander has printed its message; asking for help is no failure.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    if (isClosedPipe(error)) return 0;
    const failure =
      error instanceof CommandError || isRadosError(error)
        ? commandError('error', error)
        : undefined;
    if (!failure) throw error;
    context.note(`linger: ${failure.message}\n`);
    return failure.exitCode;
  }
}

/** The reader of our output left: `linger export img - | head`. */
function isClosedPipe(error: unknown): boolean {
  const cause = error instanceof CommandError ? error.cause : error;
  return (cause as NodeJS.ErrnoException | undefined)?.code === 'EPIPE';
}

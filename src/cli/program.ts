/** The command tree, and what becomes of a command line. */

import { Command, CommanderError, Help, type Option } from 'commander';
import { isRadosError } from '../base/errors.js';
import type { Arguments } from './arguments.js';
import { HELP_GROUPS, type Register, type Run } from './command.js';
import { loadCommands } from './command-modules.js';
import { addGlobalOptions, CommandContext, type Streams } from './context.js';
import { CommandError, commandError, EXIT_USAGE, type Interrupt } from './errors.js';
import { version } from './version.js';

/** These talk to no cluster that options describe. */
const WITHOUT_GLOBAL_OPTIONS: readonly string[] = ['cluster', 'completion', 'help'];

const EXAMPLES = `
Examples:
  linger cluster start --dir ./ceph
  linger -c ./ceph/ceph.conf create vm1 --size 10G
  linger -c ./ceph/ceph.conf import disk.img vm2
  linger -c ./ceph/ceph.conf ls -l

See 'linger help <command>' for the options of a command.
`;

function buildProgram(context: CommandContext, registers: readonly Register[]): Command {
  const run: Run =
    (action) =>
    async (...given) => {
      const command = given.at(-1) as Command;
      await action(context, given.slice(0, -2) as Arguments, command.optsWithGlobals() as never);
    };
  const program = new Command('linger');
  program
    .usage('[options] <command> ...')
    .description('Ceph block images, without a kernel module and without a native library.')
    .version(version(), '--version', 'show the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .exitOverride()
    .configureHelp({
      showGlobalOptions: true,
      sortOptions: true,
      subcommandTerm: (command) => [command.name(), ...command.aliases()].join(', '),
      // At the top level, commands come first.
      visibleOptions(command) {
        return command === program ? [] : Help.prototype.visibleOptions.call(this, command);
      },
      visibleGlobalOptions: (command) => globalOptions(command, program),
    })
    // Messages are `main`'s to write, in `rbd`'s words.
    .configureOutput({ writeOut: (text) => context.print(text), writeErr: () => {} })
    .addHelpText('after', () => optionsHelp(program) + EXAMPLES);
  addGlobalOptions(program);
  for (const register of registers) register(program, run);
  program
    .commandsGroup(HELP_GROUPS.shell)
    .command('help')
    .summary('Show the help of a command.')
    .argument('[command...]')
    .action((words: string[]) => {
      findCommand(program, words).outputHelp();
    });
  inheritSettings(program);
  return program;
}

function inheritSettings(command: Command): void {
  for (const each of command.commands) {
    each.copyInheritedSettings(command).helpCommand(false);
    if (each.description() === '') each.description(each.summary());
    inheritSettings(each);
  }
}

function globalOptions(command: Command, program: Command): Option[] {
  let top = command;
  while (top.parent && top.parent !== program) top = top.parent;
  return command.commands.length > 0 || WITHOUT_GLOBAL_OPTIONS.includes(top.name())
    ? []
    : program.options.filter(({ hidden, long }) => !hidden && long !== '--version');
}

function optionsHelp(program: Command): string {
  const help = program.createHelp();
  help.prepareContext({ helpWidth: process.stdout.columns ?? 80 });
  const options = program.options.filter(({ hidden }) => !hidden);
  const terms = options.map((option) => help.optionTerm(option));
  const width = Math.max(...terms.map((term) => term.length));
  const lines = options.map((option, i) =>
    help.formatItem(terms[i] as string, width, help.optionDescription(option), help),
  );
  return `\nOptions, before a command or after it:\n${lines.join('\n')}\n`;
}

function findCommand(program: Command, words: readonly string[]): Command {
  return words.reduce((found, word) => {
    const next = found.commands.find(
      (each) => each.name() === word || each.aliases().includes(word),
    );
    if (!next) throw new CommandError(EXIT_USAGE, `unknown command '${words.join(' ')}'`);
    return next;
  }, program);
}

/** Runs a command line and returns its exit code. */
export async function main(
  args: readonly string[],
  streams: Streams,
  processEnv: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<number> {
  const context = new CommandContext(streams, signal, processEnv);
  const program = buildProgram(context, await loadCommands(args));
  try {
    if (args.length === 0) program.outputHelp();
    else await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    // Whatever else went wrong then, it was the interrupt's doing.
    if (signal.aborted) return (signal.reason as Interrupt).exitCode;
    if (error instanceof CommanderError) return usageError(context, error);
    if (isClosedPipe(error)) return EXIT_CLOSED_PIPE;
    const failure =
      error instanceof CommandError || isRadosError(error)
        ? commandError('error', error)
        : undefined;
    if (!failure) throw error;
    context.note(`linger: ${failure.message}\n`);
    return failure.exitCode;
  }
}

/** EPIPE, as `rbd` ends then: whoever looks at the code learns that not everything was read. */
const EXIT_CLOSED_PIPE = 32;

/** The reader of our output left: `linger export img - | head`. Nothing to tell anybody. */
function isClosedPipe(error: unknown): boolean {
  const cause = error instanceof CommandError ? error.cause : error;
  return (cause as NodeJS.ErrnoException | undefined)?.code === 'EPIPE';
}

/** A command line that makes no sense, in `rbd`'s words, which are boost::program_options' where it has them. */
function usageError(context: CommandContext, error: CommanderError): number {
  // Help and version were asked for, and printed.
  if (error.exitCode === 0) return 0;
  context.note(`linger: ${usageText(error)}\n`);
  return EXIT_USAGE;
}

function usageText(error: CommanderError): string {
  const message = error.message.replace(/^error: /, '');
  const option = /option '(?:-\w, )?(-[^ ']+)/.exec(message)?.[1] ?? '';
  switch (error.code) {
    case 'commander.unknownOption':
      return message.replace(/^unknown option/, 'unrecognised option');
    case 'commander.optionMissingArgument':
      return `the required argument for option '${option}' is missing`;
    case 'commander.invalidArgument': {
      const why = / is invalid\. (.*)$/s.exec(message)?.[1];
      return `the argument for option '${option}' is invalid${why ? ` (${why})` : ''}`;
    }
    case 'commander.excessArguments':
      return 'too many arguments';
    case 'commander.help':
      return "a command is missing\nSee 'linger help <command>' for help on a specific command.";
    default:
      return `${message}\nSee 'linger help <command>' for help on a specific command.`;
  }
}

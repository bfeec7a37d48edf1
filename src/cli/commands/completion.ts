/** completion: shell completion, generated from the command tree. */

import type { Command, Option } from 'commander';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import { CommandError, EXIT_USAGE } from '../errors.js';

const EXAMPLES = `
Examples:
  source <(linger completion bash)
  linger completion fish > ~/.config/fish/completions/linger.fish
`;

export const registerCompletionCommand: Register = (program, run) => {
  const print: Action<unknown> = async (context, [shell]) => {
    context.print(completionFor(program, shell as string));
  };
  program
    .commandsGroup(HELP_GROUPS.shell)
    .command('completion')
    .summary('Print completion code for bash, zsh or fish.')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText('after', EXAMPLES)
    .action(run(print));
};

function completionFor(program: Command, shell: string): string {
  switch (shell) {
    case 'bash':
      return bash(program);
    case 'zsh':
      return `autoload -U +X bashcompinit && bashcompinit\n${bash(program)}`;
    case 'fish':
      return fish(program);
    default:
      throw new CommandError(EXIT_USAGE, `unknown shell '${shell}'`);
  }
}

function visible(options: readonly Option[]): Option[] {
  return options.filter(({ hidden }) => !hidden);
}

/** Every command with the words that lead to it. */
function* commandPaths(
  command: Command,
  path: readonly string[] = [],
): Generator<[string, Command]> {
  yield [path.join(' '), command];
  for (const each of command.commands) yield* commandPaths(each, [...path, each.name()]);
}

function bash(program: Command): string {
  const globals = visible(program.options);
  const words = [...commandPaths(program)].map(([path, command]) => {
    const options = path === '' ? globals : [...visible(command.options), ...globals];
    const next = [
      ...command.commands.map((each) => each.name()),
      ...options.flatMap(({ long }) => long ?? []),
    ];
    return `    '${path}') words='${next.join(' ')}' ;;\n`;
  });
  const groups = program.commands
    .filter(({ commands }) => commands.length > 0)
    .map((each) => `'${each.name()}'`);
  const withValue = globals
    .filter(({ required }) => required)
    .flatMap(({ short, long }) => [short, long].filter((flag) => flag !== undefined));
  // The words before the cursor that are neither options nor their values lead to the command.
  return `_linger() {
  local current=\${COMP_WORDS[COMP_CWORD]} path='' words='' word skip=''
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ -n $skip ]]; then skip=''; continue; fi
    case $word in
      ${withValue.join('|')}) skip=1; continue ;;
      -*) continue ;;
    esac
    case $path in
      '') path=$word ;;
      ${groups.join('|')}) path="$path $word" ;;
      *) break ;;
    esac
  done
  case $path in
${words.join('')}  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _linger linger
`;
}

function fish(program: Command): string {
  const lines: string[] = [];
  const add = (condition: string, what: string, description: string) =>
    lines.push(`complete -c linger${condition} ${what} -d ${quote(description)}`);
  const addOptions = (condition: string, options: readonly Option[]) => {
    for (const { short, long, description, required } of options) {
      const flags = [short && `-s ${short.slice(1)}`, long && `-l ${long.slice(2)}`];
      add(condition, [...flags, required && '-r'].filter(Boolean).join(' '), description);
    }
  };
  addOptions('', visible(program.options));
  for (const command of program.commands) {
    add(' -n __fish_use_subcommand', `-a ${command.name()}`, command.summary());
    const within = `__fish_seen_subcommand_from ${command.name()}`;
    addOptions(` -n ${quote(within)}`, visible(command.options));
    const names = command.commands.map((each) => each.name()).join(' ');
    for (const each of command.commands) {
      const first = `${within}; and not __fish_seen_subcommand_from ${names}`;
      add(` -n ${quote(first)}`, `-a ${each.name()}`, each.summary());
      const second = `${within}; and __fish_seen_subcommand_from ${each.name()}`;
      addOptions(` -n ${quote(second)}`, visible(each.options));
    }
  }
  return `${lines.join('\n')}\n`;
}

function quote(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}

/** completion: shell completion, generated from the command tree. */

import type { Command } from 'commander';
import type { CommandContext } from '../context.js';
import { CommandError } from '../errors.js';
import type { Register } from '../program.js';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

export const registerCompletionCommand: Register = (program, run) => {
  program
    .command('completion')
    .summary('Print completion code for a shell.')
    .argument('<shell>', SHELLS.join(', '))
    .action(run((context: CommandContext, [shell]: [string]) => print(context, program, shell)));
};

async function print(context: CommandContext, program: Command, shell: string): Promise<void> {
  const words = paths(program);
  if (shell === 'bash') context.print(bash(words));
  else if (shell === 'zsh')
    context.print(`autoload -U +X bashcompinit && bashcompinit\n${bash(words)}`);
  else if (shell === 'fish') context.print(fish(program));
  else throw new CommandError(1, `unknown shell '${shell}'`);
}

/** What may follow each command: `''` → top level, `namespace` → its commands, `ls` → its options. */
function paths(program: Command): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const visit = (command: Command, path: string) => {
    const names = command.commands.map((each) => each.name());
    const options = command.options.flatMap(({ long }) => (long ? [long] : []));
    found.set(path, [...names, ...options]);
    for (const each of command.commands) visit(each, `${path} ${each.name()}`.trim());
  };
  visit(program, '');
  return found;
}

function bash(words: Map<string, string[]>): string {
  const cases = [...words]
    .map(([path, next]) => `    '${path}') words='${next.join(' ')}' ;;\n`)
    .join('');
  return `_linger() {
  local current=\${COMP_WORDS[COMP_CWORD]} path='' word words=''
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && break
    [[ -n $path && $path != 'namespace' && $path != 'image-meta' && $path != 'cluster' && $path != 'pool' ]] && break
    path="\${path:+$path }$word"
  done
  case $path in
${cases}  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _linger linger
`;
}

function fish(program: Command): string {
  const lines: string[] = [];
  for (const command of program.commands) {
    lines.push(
      `complete -c linger -n __fish_use_subcommand -a ${command.name()} -d '${quote(command.summary())}'`,
    );
    for (const each of command.commands) {
      lines.push(
        `complete -c linger -n '__fish_seen_subcommand_from ${command.name()}' -a ${each.name()} -d '${quote(each.summary())}'`,
      );
    }
    for (const { long, description } of command.options) {
      if (long)
        lines.push(
          `complete -c linger -n '__fish_seen_subcommand_from ${command.name()}' -l ${long.slice(2)} -d '${quote(description)}'`,
        );
    }
  }
  return `${lines.join('\n')}\n`;
}

function quote(text: string): string {
  return text.replaceAll("'", "\\'");
}

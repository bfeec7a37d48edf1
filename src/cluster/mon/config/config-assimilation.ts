/** Takes over what a ceph.conf sets, and returns the part that must stay in the file (`config assimilate-conf`). */

import { ConfigFile } from '../../../auth/config-file.js';
import { CommandError } from '../commands/command.js';
import type { CentralConfig } from './central-config.js';
import { formatTarget, parseTarget } from './config-target.js';
import { findOption, isSpecial } from './option.js';
import { normalizeValue, ValueError } from './option-value.js';

/** Throws `CommandError` for what is no ceph.conf. */
export function assimilate(config: CentralConfig, input: Uint8Array): string {
  if (input.length === 0) return '';
  const file = parse(input);
  const taken: [string, string][] = [];
  const left: string[] = [];
  for (const section of [...file.sectionNames].sort()) {
    const lines: string[] = [];
    for (const [name, text] of [...(file.section(section) ?? [])].sort()) {
      const key = keyOf(section, name);
      const value = acceptable(name, text);
      const before = config.text(key);
      if (value === undefined || (before !== undefined && before !== value)) {
        lines.push(`\t${name} = ${text}\n`);
      } else {
        taken.push([key, value]);
      }
    }
    if (lines.length > 0) left.push(`\n[${section}]\n${lines.join('')}`);
  }
  config.change(taken);
  return left.join('');
}

function parse(input: Uint8Array): ConfigFile {
  try {
    return ConfigFile.parse(input, 'input');
  } catch (error) {
    throw new CommandError('EINVAL', `parse error: ${(error as Error).message}`);
  }
}

/** A section that nobody is named after is kept too, as a real monitor does. */
function keyOf(section: string, name: string): string {
  const target = parseTarget(section);
  return `${target ? formatTarget(target) : section}/${name}`;
}

function acceptable(name: string, text: string): string | undefined {
  const option = findOption(name);
  if (!option || isSpecial(option)) return undefined;
  try {
    return normalizeValue(option, text);
  } catch (error) {
    if (error instanceof ValueError) return undefined;
    throw error;
  }
}

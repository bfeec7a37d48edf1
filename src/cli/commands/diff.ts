/** diff: what changed in an image, as a list. */

import type { Command } from 'commander';
import { diffBatches, type DiffExtent } from '../../rbd/diff/diff.js';
import { openHeader } from '../../rbd/open.js';
import {
  addSnapshotArgument,
  type ImageOptions,
  imageSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import type { CommandContext } from '../context.js';
import { step } from '../errors.js';
import { explainOpenFailure, openPool } from '../opening.js';
import { addFormatOptions, type FormatOptions, formatJson } from '../output.js';
import { writeToStdout } from '../files.js';

export const registerDiffCommand: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.data);
  addFormatOptions(addDiffOptions(addSnapshotArgument(program.command('diff'))))
    .summary('Print what differs since a snapshot, or creation.')
    .action(run(diff));
};

export interface DiffOptions extends ImageOptions {
  fromSnap?: string;
  wholeObject?: boolean;
}

export function addDiffOptions(command: Command): Command {
  return command
    .option('--from-snap <snap>', 'snapshot to start from')
    .option('--whole-object', 'compare objects as a whole: fast, with feature fast-diff');
}

const diff: Action<DiffOptions & FormatOptions> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options, { snapshot: true });
  const { fromSnap: from, wholeObject } = options;
  const { signal } = context;
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    const image = await openHeader(client, spec, { readOnly: true, signal }).catch(
      (error: unknown) => explainOpenFailure(client, spec, error),
    );
    const batches = diffBatches(image, { from, wholeObject, signal });
    const print = options.format === 'plain' ? printTable : printJson;
    await step('diff error', print(context, batches, options));
  });
};

type Batches = AsyncIterable<readonly DiffExtent[]>;

/**
 * As `formatTable`, for millions of rows: as wide as the widest offset, which comes last. Nothing is printed before
 * everything is known, which is kept in 16 bytes for an extent: its offset, and its length, negative if it is zeros.
 */
async function printTable(context: CommandContext, batches: Batches): Promise<void> {
  const kept: Float64Array[] = [];
  let offsetMax = 0;
  let lengthMax = 0;
  for await (const extents of batches) {
    const numbers = new Float64Array(2 * extents.length);
    let i = 0;
    for (const { offset, length, exists } of extents) {
      numbers[i++] = offset;
      numbers[i++] = exists ? length : -length;
      if (offset > offsetMax) offsetMax = offset;
      if (length > lengthMax) lengthMax = length;
    }
    if (i > 0) kept.push(numbers);
  }
  if (kept.length > 0) await writeToStdout(context, table(kept, { offsetMax, lengthMax }));
}

function* table(
  kept: readonly Float64Array[],
  { offsetMax, lengthMax }: { offsetMax: number; lengthMax: number },
): Generator<string, void, undefined> {
  const offsetWidth = Math.max('Offset'.length, String(offsetMax).length);
  const lengthWidth = Math.max('Length'.length, String(lengthMax).length);
  yield `${'Offset'.padEnd(offsetWidth)}  ${'Length'.padEnd(lengthWidth)}  Type\n`;
  // Most extents are as long as the one before.
  let length = 0;
  let rest = '';
  for (const numbers of kept) {
    let text = '';
    for (let i = 0; i < numbers.length; i += 2) {
      if (numbers[i + 1] !== length) {
        length = numbers[i + 1] as number;
        const type = length > 0 ? 'data' : 'zero';
        rest = `  ${String(Math.abs(length)).padEnd(lengthWidth)}  ${type}\n`;
      }
      text += String(numbers[i]).padEnd(offsetWidth) + rest;
    }
    yield text;
  }
}

async function printJson(
  context: CommandContext,
  batches: Batches,
  options: FormatOptions,
): Promise<void> {
  await writeToStdout(context, options.prettyFormat ? prettyJson(batches, options) : json(batches));
}

const shown = ({ offset, length, exists }: DiffExtent) => ({
  offset,
  length,
  exists: exists ? 'true' : 'false',
});

async function* json(batches: Batches): AsyncGenerator<string, void, undefined> {
  let before = '[';
  for await (const extents of batches) {
    yield before + extents.map((extent) => JSON.stringify(shown(extent))).join(',');
    before = ',';
  }
  yield before === '[' ? '[]\n' : ']\n';
}

async function* prettyJson(
  batches: Batches,
  options: FormatOptions,
): AsyncGenerator<string, void, undefined> {
  const all: ReturnType<typeof shown>[] = [];
  for await (const extents of batches) all.push(...extents.map(shown));
  yield formatJson(all, options);
}

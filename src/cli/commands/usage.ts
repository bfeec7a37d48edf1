/** du: how much of images' space is used. */

import { isRadosError } from '../../base/errors.js';
import type { RadosClient } from '../../rados/rados-client.js';
import { imageUsage, type ImageUsage, type UsageEntry } from '../../rbd/diff/usage.js';
import { listImages } from '../../rbd/directory.js';
import { type ImageHandle, openHeader } from '../../rbd/open.js';
import type { NamedImageSpec } from '../../rbd/spec.js';
import {
  addSnapshotArgument,
  type ImageOptions,
  imageSpec,
  poolSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import type { CommandContext } from '../context.js';
import { commandError, step } from '../errors.js';
import { openPool } from '../opening.js';
import { addFormatOptions, type FormatOptions, formatJson, formatTable } from '../output.js';
import { formatSize } from '../sizes.js';

interface UsageCommandOptions extends ImageOptions, FormatOptions {
  fromSnap?: string;
  exact?: boolean;
  mergeSnapshots?: boolean;
}

export const registerUsageCommand: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.images);
  addFormatOptions(addSnapshotArgument(program.command('du').alias('disk-usage')))
    .summary('Show what images and snapshots use of their size.')
    .option('--from-snap <snap>', 'only what came after this snapshot')
    .option('--exact', 'count bytes, not objects (slow)')
    .option('--merge-snapshots', 'count snapshots in with their image')
    .action(run(diskUsage));
};

const diskUsage: Action<UsageCommandOptions> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const only = text === undefined ? undefined : imageSpec(text, options, { snapshot: true });
  const pool = only ?? poolSpec(undefined, options);
  await context.withClient(options, async ({ client }) => {
    const ioctx = await openPool(client, pool);
    const names = only ? [only.name] : (await step('du failed', listImages(ioctx))).map(nameOf);
    const usages: ImageUsage[] = [];
    for (const name of names) {
      const spec = { pool: pool.pool, namespace: pool.namespace, name };
      const usage = await usageOf(context, client, spec, { ...options, only });
      if (usage) usages.push(usage);
    }
    for (const usage of usages) warn(context, usage);
    // As `rbd`: what is between a snapshot and itself is not even an empty table.
    if (only && usages.every(({ entries }) => entries.length === 0)) return;
    const print = options.format === 'json' ? usageJson : usageTable;
    context.print(print(usages, { ...options, snap: only?.snap, isWholePool: only === undefined }));
  });
};

const nameOf = ({ name }: { name: string }) => name;

/** Undefined: one of a pool's images that was removed in the meantime. */
async function usageOf(
  context: CommandContext,
  client: RadosClient,
  spec: NamedImageSpec,
  { only, fromSnap: from, exact }: UsageCommandOptions & { only: NamedImageSpec | undefined },
): Promise<ImageUsage | undefined> {
  const { signal } = context;
  let image: ImageHandle;
  try {
    image = await openHeader(client, spec, { readOnly: true, signal });
  } catch (error) {
    if (!isRadosError(error, 'ENOENT')) throw commandError(`error opening ${spec.name}`, error);
    if (!only) return undefined;
    context.note(`specified image ${spec.name} is not found.\n`);
    throw commandError('du failed', error);
  }
  try {
    return await imageUsage(image, { snap: only?.snap, from, exact, signal });
  } catch (error) {
    if (isRadosError(error, 'ENOENT')) context.note('specified snapshot is not found.\n');
    throw commandError('du failed', error);
  }
}

function warn(context: CommandContext, { name, hasFastDiff, entries }: ImageUsage): void {
  const slow = (what: string, which: string) =>
    context.note(`warning: fast-diff map is ${what} for ${which}. operation may be slow.\n`);
  if (!hasFastDiff) slow('not enabled', name ?? '');
  for (const entry of entries) {
    if (entry.isFastDiffInvalid) slow('invalid', fullName(name, entry));
  }
}

function fullName(name = '', { snapshot }: UsageEntry): string {
  return snapshot === undefined ? name : `${name}@${snapshot}`;
}

interface Show extends FormatOptions {
  mergeSnapshots?: boolean;
  snap: string | undefined;
  isWholePool: boolean;
}

/** The lines of an image: with its snapshots merged into it, only one. */
function shownEntries({ entries }: ImageUsage, { mergeSnapshots }: Show): UsageEntry[] {
  const head = entries.at(-1);
  if (!mergeSnapshots) return [...entries];
  if (head?.snapshot !== undefined) return [];
  return head ? [{ ...head, usedSize: sum(entries.map(({ usedSize }) => usedSize)) }] : [];
}

/** What is provisioned is counted once for an image, or for each snapshot when it is these that are asked for. */
function totals(usages: readonly ImageUsage[], { snap }: Show) {
  const all = usages.flatMap(({ entries }) => entries);
  const provisioned = all.filter(({ snapshot }) => snap !== undefined || snapshot === undefined);
  return {
    count: all.length,
    provisionedSize: sum(provisioned.map(({ provisionedSize }) => provisionedSize)),
    usedSize: sum(all.map(({ usedSize }) => usedSize)),
  };
}

function usageTable(usages: readonly ImageUsage[], show: Show): string {
  const rows = usages.flatMap((usage) =>
    shownEntries(usage, show).map((entry) => [
      fullName(usage.name, entry),
      formatSize(entry.provisionedSize),
      formatSize(entry.usedSize),
    ]),
  );
  const { count, provisionedSize, usedSize } = totals(usages, show);
  if (count === 0) return '';
  if (count > 1) rows.push(['<TOTAL>', formatSize(provisionedSize), formatSize(usedSize)]);
  return formatTable(
    [
      { title: 'NAME', align: 'left' },
      { title: 'PROVISIONED', align: 'right' },
      { title: 'USED', align: 'right' },
    ],
    rows,
  );
}

function usageJson(usages: readonly ImageUsage[], show: Show): string {
  const images = usages.flatMap((usage) =>
    shownEntries(usage, show).map((entry) => ({
      name: usage.name,
      id: usage.id,
      ...(entry.snapshot === undefined
        ? {}
        : { snapshot: entry.snapshot, snapshot_id: entry.snapshotId }),
      provisioned_size: entry.provisionedSize,
      used_size: entry.usedSize,
    })),
  );
  const { provisionedSize, usedSize } = totals(usages, show);
  const total = { total_provisioned_size: provisionedSize, total_used_size: usedSize };
  return formatJson({ images, ...(show.isWholePool ? total : {}) }, show);
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

/**
 * The files that define commands, loaded as a command line needs them: all of them together, with what they stand on, take
 * longer to load than most commands to run.
 */

import type { Register } from './command.js';

interface CommandModule {
  /** What it adds to the top level, aliases included. */
  readonly commands: readonly string[];
  readonly load: () => Promise<Register>;
}

/** In the order of the help. */
const MODULES: readonly CommandModule[] = [
  {
    commands: ['create', 'ls', 'list', 'info', 'rm', 'remove', 'mv', 'rename', 'resize'],
    load: async () => (await import('./commands/images.js')).registerImageCommands,
  },
  {
    commands: ['clone', 'children', 'flatten'],
    load: async () => (await import('./commands/clones.js')).registerCloneCommands,
  },
  {
    commands: ['cp', 'copy', 'deep', 'sparsify'],
    load: async () => (await import('./commands/copies.js')).registerCopyCommands,
  },
  {
    commands: ['du', 'disk-usage'],
    load: async () => (await import('./commands/usage.js')).registerUsageCommand,
  },
  {
    commands: ['feature', 'object-map'],
    load: async () => (await import('./commands/features.js')).registerFeatureCommands,
  },
  {
    commands: ['image-meta'],
    load: async () => (await import('./commands/metadata.js')).registerMetadataCommands,
  },
  {
    commands: ['snap'],
    load: async () => (await import('./commands/snapshots.js')).registerSnapshotCommands,
  },
  {
    commands: ['trash'],
    load: async () => (await import('./commands/trash.js')).registerTrashCommands,
  },
  {
    commands: ['export', 'import'],
    load: async () => (await import('./commands/transfer.js')).registerTransferCommands,
  },
  {
    commands: ['diff'],
    load: async () => (await import('./commands/diff.js')).registerDiffCommand,
  },
  {
    commands: ['export-diff', 'import-diff', 'merge-diff'],
    load: async () => (await import('./commands/diff-files.js')).registerDiffFileCommands,
  },
  {
    commands: ['bench'],
    load: async () => (await import('./commands/bench.js')).registerBenchCommand,
  },
  {
    commands: ['status', 'lock'],
    load: async () => (await import('./commands/locks.js')).registerLockCommands,
  },
  {
    commands: ['watch'],
    load: async () => (await import('./commands/watch.js')).registerWatchCommand,
  },
  {
    commands: ['blocklist'],
    load: async () => (await import('./commands/blocklist.js')).registerBlocklistCommands,
  },
  {
    commands: ['namespace', 'pool'],
    load: async () => (await import('./commands/namespaces.js')).registerNamespaceCommands,
  },
  {
    commands: ['cluster'],
    load: async () => (await import('./commands/cluster.js')).registerClusterCommands,
  },
  {
    commands: ['sim'],
    load: async () => (await import('./commands/sim.js')).registerSimCommands,
  },
  {
    commands: ['completion'],
    load: async () => (await import('./commands/completion.js')).registerCompletionCommand,
  },
];

/** These tell of all the commands. */
const ABOUT_ALL: readonly string[] = ['help', 'completion'];

/**
 * What a command line may need: the files of all commands whose names are among its words, for which of them is the command
 * only its parser knows; and every file where none is.
 */
export function loadCommands(words: readonly string[]): Promise<Register[]> {
  const isNamed = (name: string) => words.includes(name);
  const named = MODULES.filter(({ commands }) => commands.some(isNamed));
  const needed = named.length === 0 || ABOUT_ALL.some(isNamed) ? MODULES : named;
  return Promise.all(needed.map(({ load }) => load()));
}

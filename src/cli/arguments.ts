/** The arguments of commands: image and pool specs, and the options that may stand in their place. */

import type { Command } from 'commander';
import { type NamedImageSpec, parseImageSpec, parsePoolSpec } from '../rbd/spec.js';
import type { GlobalOptions } from './context.js';
import { CommandError, EXIT_USAGE } from './errors.js';

export type Arguments = readonly (string | undefined)[];

export interface ImageOptions extends GlobalOptions {
  image?: string;
  snap?: string;
}

export interface PoolSpec {
  pool: string;
  namespace: string;
}

const IMAGE_SPEC = '[pool/[namespace/]]image';

/** For commands that work on an image as a whole. */
export function addImageArgument(command: Command, name = 'image-spec'): Command {
  return command
    .argument(`[${name}]`, IMAGE_SPEC)
    .option('--image <image>', 'image, in place of the argument');
}

/** For commands that work on an image or on a snapshot of it. */
export function addSnapshotArgument(command: Command): Command {
  return command
    .argument('[image-or-snap-spec]', `${IMAGE_SPEC}[@snap]`)
    .option('--image <image>', 'image, in place of the argument')
    .option('--snap <snap>', 'snapshot');
}

/** The first argument, or the option that stands in its place; and the arguments after it. */
export function takeArgument(
  args: Arguments,
  option: string | undefined,
): [string | undefined, Arguments] {
  return option === undefined ? [args[0], args.slice(1)] : [option, args];
}

/** Nothing may be left: an option in place of an argument leaves room for one too many. */
export function takeNoMore(args: Arguments): void {
  if (args.some((arg) => arg !== undefined))
    throw new CommandError(EXIT_USAGE, 'too many arguments');
}

/** `pool/namespace/image` with the options' pool and namespace where the text has none. */
export function imageSpec(
  text: string | undefined,
  options: ImageOptions,
  { snapshot = false, which = '' }: { snapshot?: boolean; which?: 'destination ' | '' } = {},
): NamedImageSpec {
  if (text === undefined) throw new CommandError(22, `${which}image name was not specified`);
  const parsed = orInvalid(text, () => parseImageSpec(text, poolDefaults(options)));
  // As `rbd`: the option fills in what the text leaves out, even after a pool in the text.
  const namespace = parsed.namespace === '' ? (options.namespace ?? '') : parsed.namespace;
  const snap = parsed.snap ?? options.snap;
  if (snap !== undefined && !snapshot) {
    throw new CommandError(22, `${which}snapshot name specified for a command that doesn't use it`);
  }
  return { ...parsed, namespace, ...(snap === undefined ? {} : { snap }) };
}

export function poolSpec(text: string | undefined, options: GlobalOptions): PoolSpec {
  return orInvalid(text, () => parsePoolSpec(text, poolDefaults(options)));
}

function orInvalid<T>(text: string | undefined, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new CommandError(22, `invalid spec '${text}'`, { cause: error });
  }
}

function poolDefaults({ pool, namespace }: GlobalOptions) {
  return {
    ...(pool === undefined ? {} : { pool }),
    ...(namespace === undefined ? {} : { namespace }),
  };
}

/**
 * The images and snapshots that a run has made, as far as its clients can know: what became of each follows from the
 * operations on it and how they ended.
 */

import type { Op } from '../checkers/history.js';

export interface KnownSnapshot {
  /** For the history: kept over renames. */
  readonly key: string;
  readonly image: KnownImage;
  readonly create: Op;
  /** Names that it may have: more than one when the outcome of a rename is not known. */
  readonly names: string[];
  /** Renamed, protected, unprotected, rolled back to: one at a time. */
  readonly changes: Op[];
  isProtected: boolean;
  removal?: Op;
}

export interface KnownImage {
  readonly key: string;
  readonly names: string[];
  /** Of clones. */
  readonly create?: Op;
  readonly parent?: KnownSnapshot;
  readonly snapshots: KnownSnapshot[];
  readonly flattens: Op[];
  readonly renames: Op[];
  readonly rollbacks: Op[];
  removal?: Op;
}

export class KnownImages {
  readonly all: KnownImage[] = [];

  add(key: string, more: Pick<KnownImage, 'create' | 'parent'> = {}): KnownImage {
    const image: KnownImage = {
      ...{ key, names: [key], snapshots: [], flattens: [], renames: [], rollbacks: [] },
      ...more,
    };
    this.all.push(image);
    return image;
  }

  /** Those that are there for certain. */
  get usable(): KnownImage[] {
    return this.all.filter(isUsable);
  }

  get clones(): KnownImage[] {
    return this.usable.filter(({ create }) => create !== undefined);
  }

  /** Snapshots that are there for certain, by a name that is certain; nobody is about to change them. */
  get snapshots(): KnownSnapshot[] {
    return this.usable.flatMap(({ snapshots }) => snapshots.filter(isUsableSnapshot));
  }
}

export function isUsable({ create, removal }: KnownImage): boolean {
  return (create === undefined || create.end === 'ok') && isUndone(removal);
}

export function isUsableSnapshot({ create, removal, changes }: KnownSnapshot): boolean {
  return create.end === 'ok' && isUndone(removal) && changes.every(({ end }) => isKnown(end));
}

/** Neither under way nor of unknown outcome. */
function isKnown(end: Op['end']): boolean {
  return end === 'ok' || end === 'failed';
}

function isUndone(op: Op | undefined): boolean {
  return op === undefined || op.end === 'failed';
}

/** The name of the moment; undefined when it is not certain. */
export function nameOf({ names }: { names: readonly string[] }): string | undefined {
  return names.length === 1 ? names[0] : undefined;
}

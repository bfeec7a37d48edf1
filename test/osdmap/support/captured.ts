// What Ceph's tools answered, kept under test/fixtures/osdmap so that it is checked where the tools are not installed.
// The oracle tests ask the tools again; with LINGER_UPDATE_FIXTURES=1 they write the answers down.

import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';

import { packageFile } from '../../../src/base/paths.js';
import type { CrushTest, ToolMapping } from './ceph-tools.js';

/** An encoded map and what osdmaptool makes of each of its PGs. */
export interface CapturedPlacement {
  map: string;
  mappings: Record<string, ToolMapping>;
}

/** An encoded CRUSH map and what crushtool maps each x to; `weights` as pairs of OSD and reweight. */
export interface CapturedCrush {
  crush: string;
  tests: (Omit<CrushTest, 'weights'> & { weights: [number, number][]; mappings: number[][] })[];
}

interface Captured {
  placements: CapturedPlacement[];
  crush: CapturedCrush[];
}

export function readCaptured<K extends keyof Captured>(kind: K): Captured[K] {
  const path = packageFile(`test/fixtures/osdmap/${kind}-16.2.15.json.gz`);
  return JSON.parse(gunzipSync(readFileSync(path)).toString()) as Captured[K];
}

/** Gives back what is on file, after writing it anew if asked to. */
export function recapture<K extends keyof Captured>(kind: K, now: () => Captured[K]): Captured[K] {
  if (process.env['LINGER_UPDATE_FIXTURES'] === '1') {
    const path = packageFile(`test/fixtures/osdmap/${kind}-16.2.15.json.gz`);
    writeFileSync(path, gzipSync(JSON.stringify(now()), { level: 9 }));
  }
  return readCaptured(kind);
}

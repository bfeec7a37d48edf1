// Ceph's own mapping tools, as judges. Tests that need them are skipped, loudly, where they are not installed, and
// fail there when LINGER_REQUIRE_CEPH=1.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { CRUSH_ITEM_NONE } from '../../../src/osdmap/crush-map.js';

function isInstalled(tool: string): boolean {
  // Without arguments both fail: what counts is that there is something to run.
  const error = spawnSync(tool, [], { stdio: 'ignore' }).error as NodeJS.ErrnoException | undefined;
  return error?.code !== 'ENOENT';
}

/** Whether osdmaptool and crushtool can be run. */
export function haveCephTools(): boolean {
  if (isInstalled('osdmaptool') && isInstalled('crushtool')) return true;
  if (process.env['LINGER_REQUIRE_CEPH'] === '1') {
    throw new Error('LINGER_REQUIRE_CEPH=1, but osdmaptool and crushtool are not installed');
  }
  console.warn('SKIPPED: osdmaptool and crushtool are not installed (Debian: ceph-base)');
  return false;
}

/** Runs a tool in a folder of its own, which holds `files`; returns what it printed, by `read` of that folder. */
export function runTool<T>(
  tool: 'osdmaptool' | 'crushtool',
  args: readonly string[],
  files: Record<string, Uint8Array | string>,
  read: (stdout: string, folder: string) => T,
): T {
  const folder = mkdtempSync(join(tmpdir(), 'linger-osdmap-'));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    const stdout = execFileSync(tool, args, {
      cwd: folder,
      encoding: 'utf8',
      maxBuffer: 256 * 1024 * 1024,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return read(stdout, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `[1,NONE,3]` or `[]`. */
export function parseOsds(text: string): number[] {
  return text === ''
    ? []
    : text.split(',').map((osd) => (osd === 'NONE' ? CRUSH_ITEM_NONE : Number(osd)));
}

export interface CrushTest {
  rule: number;
  numRep: number;
  /** x from 0 to this. */
  maxX: number;
  /** Reweights other than 1; multiples of 1/16, so that the tool reads what we mean. */
  weights?: ReadonlyMap<number, number>;
}

/** `crushtool --test --show-mappings`: the items for each x. */
export function crushtoolMappings(crush: Uint8Array, test: CrushTest): number[][] {
  const weights = [...(test.weights ?? [])].flatMap(([osd, w]) => ['--weight', `${osd}`, `${w}`]);
  const args = ['-i', 'crush', '--test', '--show-mappings', '--rule', `${test.rule}`];
  args.push('--num-rep', `${test.numRep}`, '--min-x', '0', '--max-x', `${test.maxX}`, ...weights);
  return runTool('crushtool', args, { crush }, (stdout) => {
    const mappings: number[][] = [];
    for (const [, x, osds] of stdout.matchAll(/^CRUSH rule \d+ x (\d+) \[([^\]]*)\]$/gm)) {
      mappings[Number(x)] = parseOsds(osds as string);
    }
    return mappings;
  });
}

export interface ToolMapping {
  raw: number[];
  up: number[];
  upPrimary: number;
  acting: number[];
  actingPrimary: number;
}

/** `osdmaptool --test-map-pgs-dump-all`: by PG id. */
export function osdmaptoolMappings(map: Uint8Array, args: string[] = []): Map<string, ToolMapping> {
  const all = ['map', '--test-map-pgs-dump-all', ...args];
  return runTool('osdmaptool', all, { map }, (stdout) => {
    const set = String.raw`\(\[([^\]]*)\], p(-?\d+|NONE)\)`;
    const line = new RegExp(`^(\\d+\\.[0-9a-f]+) raw ${set} up ${set} acting ${set}$`, 'gm');
    const mappings = new Map<string, ToolMapping>();
    for (const match of stdout.matchAll(line)) {
      const [, pg, raw, , up, upPrimary, acting, actingPrimary] = match as unknown as string[];
      mappings.set(pg as string, {
        raw: parseOsds(raw as string),
        up: parseOsds(up as string),
        upPrimary: Number(upPrimary),
        acting: parseOsds(acting as string),
        actingPrimary: Number(actingPrimary),
      });
    }
    return mappings;
  });
}

// How PGs are told of. The lines are those of a real `ceph -s` with a manager (16.2).

import { describe, expect, it } from 'vitest';
import {
  pgChecks,
  pgMapJson,
  pgStatLine,
  pgSummaryLines,
} from '../../../src/cluster/mon/pg-map.js';
import type { PgStat } from '../../../src/cluster/osd/pg-state.js';

function pg(seed: number, state: string, more: Partial<PgStat> = {}): PgStat {
  const base = {
    pg: { pool: 1, seed },
    state,
    up: [0, 1],
    acting: [0, 1],
    unfound: 0,
    scrubErrors: 0,
  };
  return { ...base, objects: 3, bytes: 1500, copies: 6, degraded: 0, ...more };
}

describe('PGs', () => {
  it('that are well take one line and no check', () => {
    const pgs = [pg(0, 'active+clean'), pg(1, 'active+clean')];
    expect(pgSummaryLines(pgs)).toEqual([
      '    pools:   1 pools, 2 pgs',
      '    objects: 6 objects, 2.9 KiB',
      '    usage:   0 B used, 0 B / 0 B avail',
      '    pgs:     2 active+clean',
    ]);
    expect(pgStatLine(pgs)).toBe(
      '2 pgs: 2 active+clean; 2.9 KiB data, 0 B used, 0 B / 0 B avail\n',
    );
    expect(pgChecks(pgs)).toEqual([]);
    expect(pgMapJson(pgs)).not.toHaveProperty('degraded_objects');
  });

  it('that lack copies are counted by state, the most frequent first', () => {
    const degraded = { acting: [1], degraded: 3 };
    const pgs = [
      pg(0, 'down+peering', { objects: 0, bytes: 0, copies: 0, acting: [] }),
      ...Array.from({ length: 10 }, (_, i) => pg(1 + i, 'active+undersized+degraded', degraded)),
    ];
    expect(pgSummaryLines(pgs).slice(3).join('\n')).toBe(
      [
        '    pgs:     9.091% pgs not active',
        '             30/60 objects degraded (50.000%)',
        '             10 active+undersized+degraded',
        '             1  down+peering',
      ].join('\n'),
    );
    expect(pgChecks(pgs).map(({ code, summary }) => `${code}: ${summary}`)).toEqual([
      'PG_AVAILABILITY: Reduced data availability: 1 pg inactive, 1 pg down, 1 pg peering',
      'PG_DEGRADED: Degraded data redundancy: 30/60 objects degraded (50.000%), 10 pgs degraded, 10 pgs undersized',
    ]);
    expect(pgChecks(pgs)[1]?.detail[0]).toBe('pg 1.1 is active+undersized+degraded, acting [1]');
  });

  it('with objects that nobody has say so', () => {
    const pgs = [pg(0, 'active+recovery_unfound+degraded', { degraded: 1, unfound: 1 })];
    expect(pgChecks(pgs).map(({ code, summary }) => `${code}: ${summary}`)).toContain(
      'OBJECT_UNFOUND: 1/3 objects unfound (33.333%)',
    );
  });
});

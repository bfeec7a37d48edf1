// Goal: W46. What a real OSD answered a raw client (16.2.15, recorded in test/cluster/osd/fixtures) leads a watch through the
// states that it should. Method: as watch.test.ts, with recorded answers in place of the OSD's own.

import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { WatchState } from '../../src/osd-client/watch-types.js';
import { closeWatchers, WatchScene } from '../support/watch-scene.js';
import type { WatchOpName } from '../support/watch-osd.js';

const FIXTURE = new URL('../cluster/osd/fixtures/answers-16.2.15.json', import.meta.url);
const recorded = (JSON.parse(readFileSync(FIXTURE, 'utf8')) as Record<string, string[]>)[
  'watches and notifies'
];

afterEach(closeWatchers);

/** The result of a recorded request. */
function result(of: string): number {
  const line = recorded?.find((each) => each.startsWith(`${of}: `));
  if (!line) throw new Error(`not recorded: ${of}`);
  return Number.parseInt(line.slice(of.length + 2), 10);
}

const AGAIN: WatchState[] = ['error', 'backoff', 'reregistering', 'connected'];

interface Case {
  /** What happened to the raw client. */
  of: string;
  /** To what the watch asks it is the answer, once. */
  to: WatchOpName;
  /** How it comes to ask. */
  by: 'time' | 'reset';
  states: WatchState[];
}

describe('an answer of a real OSD', () => {
  it.each<Case>([
    { of: 'ping', to: 'ping', by: 'time', states: ['connected'] },
    { of: 'ping an unknown watch', to: 'ping', by: 'time', states: AGAIN },
    { of: 'ping after the timeout', to: 'ping', by: 'time', states: AGAIN },
    { of: 'ping after the re-creation', to: 'ping', by: 'time', states: AGAIN },
    {
      ...{ of: 'ping before reconnecting', to: 'ping', by: 'time' },
      states: ['reconnecting', 'connected'],
    },
    {
      ...{ of: 'ping on another connection', to: 'ping', by: 'time' },
      states: ['reconnecting', 'connected'],
    },
    { of: 'reconnect', to: 'reconnect', by: 'reset', states: ['reconnecting', 'connected'] },
    {
      ...{ of: 'reconnect an unknown watch', to: 'reconnect', by: 'reset' },
      states: ['reconnecting', ...AGAIN],
    },
  ])('W46 to “$of”: $states', async ({ of, to, by, states }) => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    let answered = false;
    osds.intercept = ({ what }, { reply }) => {
      if (what !== to || answered) return false;
      answered = true;
      reply({ result: result(of) });
      return true;
    };
    if (by === 'reset') for (const stream of world.network.to(scene.port)) stream.reset();
    const from = watcher.states.length;
    await world.until(() => answered);
    await world.advance(1000);
    expect(watcher.states.slice(from).filter((state) => state !== 'pinging')).toEqual(states);
    expect(watcher.watch.status().losses).toBe(states.includes('error') ? 1 : 0);
  });

  it('W46 to what is asked of a deleted object ends the watch', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    osds.intercept = ({ what }, { reply }) => {
      if (what === 'ping') reply({ result: result('ping after the deletion') });
      else if (what === 'watch') reply({ result: result('watch a missing object') });
      else return false;
      return true;
    };
    await world.until(() => watcher.failed.length > 0);
    expect(watcher.failed).toMatchObject([{ code: 'ENOENT' }]);
    expect(watcher.states.slice(2)).toEqual(['error', 'backoff', 'reregistering', 'failed']);
  });

  it('W46 that its time is over has it registered again, as the unwatch of an unknown watch succeeds', async () => {
    expect(result('unwatch an unknown watch')).toBe(0);
    expect(recorded?.some((line) => line.startsWith('disconnected by timeout: DISCONNECT'))).toBe(
      true,
    );
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    const [registration] = osds.of(scene.oid);
    if (!registration) throw new Error('not registered');
    osds.disconnect(registration);
    await world.until(() => watcher.watch.state === 'connected' && watcher.lost.length === 1);
    expect(watcher.states.slice(1)).toEqual(AGAIN);
    expect(osds.count('ping')).toBe(0);
  });
});

import { describe, expect, it } from 'vitest';
import { createInitialMap } from '../../../src/cluster/mon/initial-map.js';
import { MAX_MAPS_PER_MESSAGE, OsdMapService } from '../../../src/cluster/mon/osdmap-service.js';
import { decodeAll } from '../../../src/encoding/codec.js';
import { osdMapMessage } from '../../../src/messages/mon-messages.js';
import { applyIncremental } from '../../../src/osdmap/apply-incremental.js';
import { decodeIncremental } from '../../../src/osdmap/incremental.js';
import { decodeOsdMap, encodeOsdMap, fullMapCrc, OSDMAP_FLAG } from '../../../src/osdmap/osdmap.js';
import { VirtualWorld } from '../../../src/sim/virtual-world.js';
import { crc32c, FSID } from './support.js';

function createService(keptEpochs?: number): OsdMapService {
  const { env } = new VirtualWorld();
  return new OsdMapService({
    env,
    crc32c,
    initial: () => createInitialMap(env, { fsid: FSID, osds: 3 }),
    ...(keptEpochs === undefined ? {} : { keptEpochs }),
  });
}

const toggleNoout = (service: OsdMapService) =>
  service.commit((incremental, map) => {
    incremental.newFlags = map.flags ^ OSDMAP_FLAG.NOOUT;
  });

const message = (front: Uint8Array) => decodeAll('MOSDMap', osdMapMessage, front);

describe('the history of the OSD map', () => {
  it('is followed by a client that applies the incrementals, to the same bytes', () => {
    const service = createService();
    let map = decodeOsdMap(service.fullMap(1) as Uint8Array, crc32c);
    toggleNoout(service);
    service.commit((incremental) => incremental.newWeight.set(1, 0));
    service.commit((incremental) => incremental.newPrimaryAffinity.set(0, 0x8000));
    const update = service.updateFrom(1);
    for (const bytes of message(update?.front as Uint8Array).incrementalMaps.values()) {
      const incremental = decodeIncremental(bytes, crc32c);
      map = applyIncremental(map, incremental, crc32c);
      expect(fullMapCrc(encodeOsdMap(map, crc32c))).toBe(incremental.fullCrc);
    }
    expect(map.epoch).toBe(4);
    expect(encodeOsdMap(map, crc32c)).toEqual(service.fullMap(4));
  });

  it('starts with a full map for who has none', () => {
    const service = createService();
    toggleNoout(service);
    const update = service.updateFrom(-1);
    expect(update?.epoch).toBe(2);
    const { maps, incrementalMaps, oldestMap, newestMap } = message(update?.front as Uint8Array);
    expect([...maps.keys()]).toEqual([2]);
    expect(incrementalMaps.size).toBe(0);
    expect([oldestMap, newestMap]).toEqual([1, 2]);
  });

  it('has nothing for who has the newest map, or claims a newer one', () => {
    const service = createService();
    expect(service.updateFrom(1)).toBeUndefined();
    expect(service.updateFrom(99)).toBeUndefined();
  });

  it('goes out in messages of at most 40 incrementals', () => {
    const service = createService();
    for (let i = 0; i < MAX_MAPS_PER_MESSAGE + 10; i++) toggleNoout(service);
    const first = service.updateFrom(1);
    expect(first?.epoch).toBe(41);
    expect(message(first?.front as Uint8Array).incrementalMaps.size).toBe(40);
    const second = service.updateFrom(41);
    expect(second?.epoch).toBe(51);
    expect(message(second?.front as Uint8Array).incrementalMaps.size).toBe(10);
  });

  it('forgets old epochs, and sends a full map to who is further behind', () => {
    const service = createService(5);
    for (let i = 0; i < 9; i++) toggleNoout(service);
    expect(service.oldestEpoch).toBe(6);
    expect(service.mapAt(5)).toBeUndefined();
    expect([...message(service.updateFrom(5)?.front as Uint8Array).maps.keys()]).toEqual([10]);
    const kept = message(service.updateFrom(6)?.front as Uint8Array);
    expect([...kept.incrementalMaps.keys()]).toEqual([7, 8, 9, 10]);
  });

  it('reaches every listener epoch by epoch, also when a listener makes the next one', () => {
    const service = createService();
    const heard: string[] = [];
    service.subscribe((map) => {
      heard.push(`a${map.epoch}`);
      if (map.epoch === 2) toggleNoout(service);
    });
    const leave = service.subscribe((map) => heard.push(`b${map.epoch}`));
    toggleNoout(service);
    expect(heard).toEqual(['a2', 'b2', 'a3', 'b3']);
    leave();
    toggleNoout(service);
    expect(heard.slice(4)).toEqual(['a4']);
  });

  it('does not change when a change cannot be applied', () => {
    const service = createService();
    expect(() => service.commit((incremental) => incremental.newWeight.set(7, 0))).toThrow(
      /osd\.7/,
    );
    expect(service.epoch).toBe(1);
    expect(toggleNoout(service)).toBe(2);
  });
});

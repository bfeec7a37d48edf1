// The central configuration and the keys that it lies in, without a monitor.

import { describe, expect, it } from 'vitest';
import { assimilate } from '../../../../src/cluster/mon/config/config-assimilation.js';
import { CentralConfig } from '../../../../src/cluster/mon/config/central-config.js';
import { ConfigKeys } from '../../../../src/cluster/mon/config/config-keys.js';
import {
  canUpdateAtRuntime,
  findOption,
  optionNames,
} from '../../../../src/cluster/mon/config/option.js';
import { normalizeValue } from '../../../../src/cluster/mon/config/option-value.js';
import { MonDatabase } from '../../../../src/cluster/mon/mon-database.js';
import { MemoryStore } from '../../../../src/cluster/store/memory-store.js';
import { VirtualWorld } from '../../../../src/sim/virtual-world.js';

function openConfig(store = new MemoryStore()) {
  const keys = new ConfigKeys(new MonDatabase(store));
  return { keys, config: new CentralConfig(keys, new VirtualWorld().env.clock), store };
}

const osd0 = {
  name: 'osd.0',
  location: [
    ['host', 'vm'],
    ['root', 'default'],
  ],
  deviceClass: 'ssd',
} as const;

describe('the central configuration', () => {
  it('is there after a restart, with its history and keys of any letters', () => {
    const { config, keys, store } = openConfig();
    config.change([['client/rbd_cache', 'false']]);
    config.change([['client/rbd_cache', 'true']]);
    keys.change({ set: [['größe', Buffer.from('1')]] });
    const again = openConfig(store);
    expect(again.config.version).toBe(3);
    expect(again.config.versionAt(3)?.changes).toEqual([
      { key: 'client/rbd_cache', before: 'false', after: 'true' },
    ]);
    expect(again.keys.names('gr')).toEqual(['größe']);
    again.config.revertTo(2);
    expect(openConfig(store).config.text('client/rbd_cache')).toBe('false');
  });

  it('gives everybody the narrowest of what is set for it', () => {
    const { config } = openConfig();
    config.change([
      ['global/osd_max_backfills', '1'],
      ['osd/osd_max_backfills', '2'],
      ['osd/class:hdd/osd_max_backfills', '3'],
    ]);
    const valueFor = () => config.settingsOf(osd0).get('osd_max_backfills')?.value;
    expect(valueFor()).toBe('2');
    config.change([['osd/root:default/osd_max_backfills', '4']]);
    expect(valueFor()).toBe('4');
    config.change([['osd/host:vm/osd_max_backfills', '5']]);
    expect(valueFor()).toBe('5');
    config.change([['osd/host:vm/class:ssd/osd_max_backfills', '6']]);
    expect(valueFor()).toBe('6');
    config.change([['osd.0/osd_max_backfills', '7']]);
    expect(valueFor()).toBe('7');
    config.change([['osd.0/osd_max_backfills', undefined]]);
    expect(valueFor()).toBe('6');
  });

  it('makes no version of what changes nothing, and forgets the oldest of very many', () => {
    const { config, keys } = openConfig();
    config.change([['client/rbd_cache', 'false']]);
    config.change([['client/rbd_cache', 'false']]);
    config.change([['client/rbd_cache_size', undefined]]);
    expect(config.version).toBe(2);
    for (let i = 0; i < 1100; i++) config.change([['client/rbd_cache_size', String(i)]]);
    expect(config.versionAt(50)).toBeUndefined();
    expect(config.versionAt(1000)).toBeDefined();
    expect(keys.names('config-history/').length).toBeLessThanOrEqual(3 * 1000);
  });

  it('takes a ceph.conf over, and leaves in it what only the file can have', () => {
    const { config } = openConfig();
    const conf = (text: string) => assimilate(config, Buffer.from(text));
    const left = conf(
      '[global]\n\tmon_host = 1.2.3.4\n\tosd pool default size = 2\n nope = x\n' +
        '[client]\nrbd_cache = maybe\nrbd_cache_size = 16M\n[client.foo]\nrbd_cache=false\n',
    );
    expect(left).toBe(
      '\n[client]\n\trbd_cache = maybe\n\n[global]\n\tmon_host = 1.2.3.4\n\tnope = x\n',
    );
    expect(
      config.settings().map(({ target, name, value }) => [target.section, name, value]),
    ).toEqual([
      ['global', 'osd_pool_default_size', '2'],
      ['client', 'rbd_cache_size', '16777216'],
      ['client.foo', 'rbd_cache', 'false'],
    ]);
    expect(conf('[client]\nrbd_cache_size = 8M\n')).toBe('\n[client]\n\trbd_cache_size = 8M\n');
    expect(conf('')).toBe('');
    expect(() => conf('garbage')).toThrow('parse error');
  });

  it('ends at a stated number of keys', () => {
    const { keys } = openConfig();
    const many = Array.from({ length: 100_000 }, (_, i) => [`k${i}`, new Uint8Array()] as const);
    keys.change({ set: many });
    expect(() => keys.change({ set: [['one more', new Uint8Array()]] })).toThrow('too many keys');
  });
});

describe('the table of options', () => {
  it('has a default for each that it accepts itself', () => {
    expect(optionNames().length).toBeGreaterThan(300);
    for (const name of optionNames()) {
      const option = findOption(name);
      if (!option) throw new Error(name);
      for (const value of [option.default, option.daemonDefault ?? option.default]) {
        if (value !== '') expect(() => normalizeValue(option, value), name).not.toThrow();
      }
    }
  });

  it('knows which take effect at once', () => {
    const atRuntime = (name: string) => canUpdateAtRuntime(findOption(name) as never);
    expect(atRuntime('rbd_cache')).toBe(true);
    expect(atRuntime('rbd_default_features')).toBe(true);
    expect(atRuntime('debug_osd')).toBe(true);
    expect(atRuntime('rbd_cache_policy')).toBe(false);
    expect(atRuntime('ms_client_mode')).toBe(false);
  });
});

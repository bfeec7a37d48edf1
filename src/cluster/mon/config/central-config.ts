/**
 * The central configuration (`mon/ConfigMonitor.cc`): options set for all, for a type of daemons or clients, or for one of
 * them. Every change is a version, which can be shown and undone.
 *
 *     config/SECTION[/MASK]/OPTION = VALUE
 *     config-history/VERSION/ = when, and why if there is something to say
 *     config-history/VERSION/+KEY = the value that it set, and /-KEY = the one that was there before
 */

import type { Clock } from '../../../base/environment.js';
import { decodeFirst, encodeWith, record, string } from '../../../encoding/codec.js';
import { type Utime, utime, utimeFromMs } from '../../../encoding/types.js';
import type { ConfigKeys } from './config-keys.js';
import { type ConfigTarget, ENTITY_TYPES, parseTarget } from './config-target.js';
import { findOption, isSpecial } from './option.js';

export interface Setting {
  readonly target: ConfigTarget;
  readonly name: string;
  readonly value: string;
}

/** What one version changed, by `TARGET/OPTION`. */
export interface ConfigChange {
  readonly key: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
}

export interface ConfigVersion {
  readonly version: number;
  readonly stamp: Utime;
  readonly name: string;
  readonly changes: readonly ConfigChange[];
}

/** Who asks what is set for it, and where it stands. */
export interface ConfigEntity {
  /** `osd.0`, or a type. */
  readonly name: string;
  /** Innermost first. */
  readonly location: readonly (readonly [type: string, name: string])[];
  readonly deviceClass: string | undefined;
}

const CONFIG = 'config/';
const HISTORY = 'config-history/';
const FIRST_VERSION = 1;
const NEVER: Utime = { sec: 0, nsec: 0 };
/** Older versions are forgotten: they can be neither shown nor undone. */
const KEPT_VERSIONS = 1000;

const versionHeader = record('ConfigChangeSet', { stamp: utime, name: string });

export class CentralConfig {
  readonly #keys: ConfigKeys;
  readonly #clock: Clock;
  #version: number;

  constructor(keys: ConfigKeys, clock: Clock) {
    this.#keys = keys;
    this.#clock = clock;
    this.#version = Math.max(FIRST_VERSION, ...this.#versions());
  }

  get version(): number {
    return this.#version;
  }

  /** All that is set: for all first, then by type, each followed by its daemons or clients. */
  settings(): Setting[] {
    const all = this.#keys.names(CONFIG).flatMap((key) => this.#parse(key) ?? []);
    const bySection = new Map<string, Setting[]>();
    for (const setting of all) {
      const { section } = setting.target;
      const those = bySection.get(section);
      if (those) those.push(setting);
      else bySection.set(section, [setting]);
    }
    const ids = [...bySection.keys()].sort((a, b) => (a < b ? -1 : 1));
    const order = [
      'global',
      ...ENTITY_TYPES.flatMap((type) => [type, ...ids.filter((id) => id.startsWith(`${type}.`))]),
    ];
    return order.flatMap((section) =>
      (bySection.get(section) ?? []).sort((a, b) => compare(a.name, b.name)),
    );
  }

  /** What counts for one of them, by option: of several settings the narrowest. */
  settingsOf({ name, location, deviceClass }: ConfigEntity): Map<string, Setting> {
    const places = new Map(location);
    const depth = new Map(location.map(([type], i) => [type, location.length - i]));
    const sections = ['global', ...prefixes(name)];
    const found = new Map<string, { setting: Setting; rank: number }>();
    for (const setting of this.settings()) {
      const { target } = setting;
      const section = sections.indexOf(target.section);
      if (section < 0) continue;
      if (target.location && places.get(target.location.type) !== target.location.name) continue;
      if (target.deviceClass !== undefined && target.deviceClass !== deviceClass) continue;
      const place = target.location ? (depth.get(target.location.type) ?? 0) : 0;
      const rank = section * 1000 + place * 2 + (target.deviceClass === undefined ? 0 : 1);
      if (rank >= (found.get(setting.name)?.rank ?? 0)) found.set(setting.name, { setting, rank });
    }
    const names = [...found.keys()].sort(compare);
    return new Map(names.map((each) => [each, (found.get(each) as { setting: Setting }).setting]));
  }

  /** Sets, or with undefined removes, by `TARGET/OPTION`. What changes nothing is no version. */
  change(wanted: Iterable<readonly [key: string, value: string | undefined]>, name = ''): void {
    const changes = [...wanted]
      .map(([key, after]) => ({ key, before: this.text(key), after }))
      .filter(({ before, after }) => before !== after);
    if (changes.length === 0 && name === '') return;
    const version = this.#version + 1;
    const prefix = `${HISTORY}${version}/`;
    const stamp = utimeFromMs(this.#clock.now());
    const set: [string, Uint8Array][] = [[prefix, encodeWith(versionHeader, { stamp, name })]];
    const remove = this.#outdated(version);
    for (const { key, before, after } of changes) {
      if (before !== undefined) set.push([`${prefix}-${key}`, Buffer.from(before)]);
      if (after === undefined) {
        remove.push(CONFIG + key);
      } else {
        set.push([`${prefix}+${key}`, Buffer.from(after)]);
        set.push([CONFIG + key, Buffer.from(after)]);
      }
    }
    this.#version = version;
    this.#keys.change({ set, remove });
  }

  /** Undoes all that came after a version. */
  revertTo(version: number): void {
    const wanted = new Map<string, string | undefined>();
    for (let undone = this.#version; undone > version; undone--) {
      for (const { key, before } of this.versionAt(undone)?.changes ?? []) wanted.set(key, before);
    }
    this.change(wanted, `reset to ${version}`);
  }

  /** Undefined where there is none, or none any more. */
  versionAt(version: number): ConfigVersion | undefined {
    if (version === FIRST_VERSION) return { version, stamp: NEVER, name: '', changes: [] };
    const prefix = `${HISTORY}${version}/`;
    const header = this.#keys.get(prefix);
    if (!header) return undefined;
    const changes = new Map<string, ConfigChange>();
    for (const name of this.#keys.names(prefix)) {
      const sign = name[prefix.length];
      const key = name.slice(prefix.length + 1);
      if (sign !== '+' && sign !== '-') continue;
      const change = changes.get(key) ?? { key, before: undefined, after: undefined };
      const value = this.#text(name);
      changes.set(key, sign === '+' ? { ...change, after: value } : { ...change, before: value });
    }
    const sorted = [...changes.values()].sort((a, b) => compare(a.key, b.key));
    return { version, ...decodeFirst(versionHeader, header), changes: sorted };
  }

  #versions(): number[] {
    return this.#keys.names(HISTORY).map((key) => Number.parseInt(key.slice(HISTORY.length), 10));
  }

  #outdated(version: number): string[] {
    const old = version - KEPT_VERSIONS;
    return old > FIRST_VERSION ? this.#keys.names(`${HISTORY}${old}/`) : [];
  }

  /** What is set under a `TARGET/OPTION`. */
  text(key: string): string | undefined {
    return this.#text(CONFIG + key);
  }

  #text(key: string): string | undefined {
    const bytes = this.#keys.get(key);
    return bytes && Buffer.from(bytes).toString();
  }

  /** What is no target of anybody is kept, and counts for nobody. */
  #parse(key: string): Setting | undefined {
    const at = key.lastIndexOf('/');
    const target = parseTarget(key.slice(CONFIG.length, at));
    const name = key.slice(at + 1);
    const option = findOption(name);
    if (!target || (option && isSpecial(option))) return undefined;
    return { target, name, value: this.#text(key) ?? '' };
  }
}

/** `client.a.b` → `client`, `client.a`, `client.a.b`. A type alone is one with an empty id: `client.`. */
function prefixes(name: string): string[] {
  const parts = name.includes('.') ? name.split('.') : [name, ''];
  return parts.map((_, i) => parts.slice(0, i + 1).join('.'));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

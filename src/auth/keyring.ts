/**
 * Keyrings: an entity's key and caps per section (`auth/KeyRing.cc`).
 *
 *     [client.admin]
 *         key = AQ...
 *         caps mon = "allow *"
 *
 * A keyring with one bad section is refused as a whole, as Ceph does. The keys stay hidden when printed.
 */

import type { Environment } from '../base/environment.js';
import { RadosError, toRadosError } from '../base/errors.js';
import { type AuthEntity, parseAuthEntity } from '../encoding/entity.js';
import { ConfigFile } from './config-file.js';
import { CryptoKey } from './crypto-key.js';
import { formatAuthEntity } from './method.js';

export interface KeyringEntry {
  readonly entity: AuthEntity;
  readonly key: CryptoKey;
  /** By service name: `mon`, `osd`, `mgr`, `mds`. */
  readonly caps: Readonly<Record<string, string>>;
}

const CAPS_PREFIX = 'caps_';

export class Keyring {
  readonly #entries = new Map<string, KeyringEntry>();

  /**
   * Throws `RadosError` `EIO`, naming `source` and the entity. It repeats nothing else: in a damaged file a key may stand
   * where a name or a setting belongs.
   */
  static parse(content: Uint8Array | string, source: string): Keyring {
    let file: ConfigFile;
    try {
      file = ConfigFile.parse(content, source);
    } catch (error) {
      const { message } = error as Error;
      throw new RadosError('EIO', message, { op: 'read keyring', target: source, cause: error });
    }
    const keyring = new Keyring();
    for (const name of file.sectionNames) {
      // Ceph reads keyrings with the parser of ceph.conf, and leaves its default section alone.
      if (name === 'global') continue;
      const entry = parseSection(name, file.section(name) ?? new Map(), source);
      if (entry) keyring.set(entry);
    }
    return keyring;
  }

  static async read(env: Environment, path: string): Promise<Keyring> {
    let content: Uint8Array;
    try {
      content = await env.files.readFile(path);
    } catch (error) {
      throw toRadosError(error, { op: 'read keyring', target: path });
    }
    return Keyring.parse(content, path);
  }

  set(entry: KeyringEntry): void {
    this.#entries.set(formatAuthEntity(entry.entity), entry);
  }

  /** By name: `get('client.admin')`. */
  get(name: string): KeyringEntry | undefined {
    return this.#entries.get(name);
  }

  entries(): KeyringEntry[] {
    return [...this.#entries.values()];
  }

  /** The file's text: this reveals the keys. Write it with mode 0600. */
  format(): string {
    return this.entries().map(formatEntry).join('');
  }
}

function parseSection(
  name: string,
  settings: ReadonlyMap<string, string>,
  source: string,
): KeyringEntry | undefined {
  const refuse = (reason: string, cause?: unknown) =>
    new RadosError('EIO', `${source}: ${reason}`, { op: 'read keyring', target: source, cause });
  let entity: AuthEntity;
  try {
    entity = parseKeyringEntity(name);
  } catch {
    throw refuse('a section is not named after an entity');
  }
  let key: CryptoKey | undefined;
  const caps: Record<string, string> = {};
  for (const [setting, value] of settings) {
    if (setting === 'key') {
      try {
        key = CryptoKey.fromBase64(value);
      } catch (error) {
        throw refuse(`[${name}] has a bad key`, error);
      }
    } else if (setting.startsWith(CAPS_PREFIX) && setting.length > CAPS_PREFIX.length) {
      caps[setting.slice(CAPS_PREFIX.length)] = value;
    } else if (setting !== 'auid') {
      throw refuse(`[${name}] has a setting other than key and caps`);
    }
  }
  return key && { entity, key, caps };
}

/** As in names of clients, but the id may be empty: all monitors share `[mon.]`. */
function parseKeyringEntity(name: string): AuthEntity {
  return name.endsWith('.') ? { ...parseAuthEntity(`${name}x`), id: '' } : parseAuthEntity(name);
}

function formatEntry({ entity, key, caps }: KeyringEntry): string {
  const lines = [`[${formatAuthEntity(entity)}]`, `\tkey = ${key.toBase64()}`];
  for (const [service, text] of Object.entries(caps)) {
    lines.push(`\tcaps ${service} = "${text.replace(/[\\"#;]/g, '\\$&')}"`);
  }
  return `${lines.join('\n')}\n`;
}

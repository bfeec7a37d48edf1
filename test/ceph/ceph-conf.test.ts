// Goal: our reading of ceph.conf and keyrings is Ceph's. Method: the tools that read them, ceph-conf, monmaptool and
// ceph-authtool, answer the same for the same files. No daemon is started.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseCephConf, resolveClientConfig } from '../../src/auth/ceph-conf.js';
import { CryptoKey } from '../../src/auth/crypto-key.js';
import { Keyring } from '../../src/auth/keyring.js';
import { parseMonHost } from '../../src/auth/mon-host.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { formatAddr, parseAuthEntity } from '../../src/encoding/entity.js';
import { ACCEPTED_FILES, REFUSED_FILES } from '../auth/conf-cases.js';
import { MON_HOSTS } from '../auth/mon-host-cases.js';
import { seededRandom } from '../auth/support.js';

const present = spawnSync('ceph-conf', ['--version']).status === 0;
if (!present) console.warn('CEPH-CONF IS NOT INSTALLED: configuration is not compared with Ceph');

const dir = mkdtempSync(join(tmpdir(), 'linger-conf-'));
const path = join(dir, 'test.conf');
const admin = parseAuthEntity('client.admin');

afterAll(() => rmSync(dir, { recursive: true, force: true }));

function tool(command: string, ...args: string[]): { code: number | null; out: string } {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', timeout: 20_000 });
  return { code: status, out: stdout.replace(/\n$/, '') };
}

/** ceph-conf's answer: the value, undefined when it is not set, or 'refused'. */
function asked(text: string, key: string): string | undefined {
  writeFileSync(path, text);
  const result = spawnSync('ceph-conf', ['-c', path, '--name', 'client.admin', '--lookup', key], {
    encoding: 'utf8',
  });
  if (/parse error|error reading config/.test(result.stderr)) return 'refused';
  return result.status === 0 ? result.stdout.replace(/\n$/, '') : undefined;
}

function ours(text: string, key: string): string | undefined {
  try {
    return parseCephConf(text).lookup(admin, key);
  } catch {
    return 'refused';
  }
}

describe.skipIf(!present)('ceph.conf', () => {
  it.each(ACCEPTED_FILES)('is read alike: %j', (text, key, expected) => {
    expect(asked(text, key)).toBe(expected);
    expect(ours(text, key)).toBe(expected);
  });

  it.each(REFUSED_FILES)('is refused alike: %j', (text) => {
    expect(asked(text, 'log_file')).toBe('refused');
    expect(ours(text, 'log_file')).toBe('refused');
  });

  it('is read alike when put together at random', () => {
    const random = seededRandom(20_161_215);
    const parts = [
      '[global]\n',
      '[client]\n',
      '[client.admin]\n',
      'log file = ',
      'log_file=',
      ' log  file ',
      '=',
      'x',
      'y z',
      '"',
      "'",
      '#',
      ';',
      '\\',
      '\\\n',
      '\n',
      '\n',
      '\n',
      ' ',
      '\t',
      '\r\n',
      '[',
      ']',
    ];
    let accepted = 0;
    for (let round = 0; round < 300; round++) {
      const body = Array.from(
        { length: 2 + (random.u32() % 8) },
        () => parts[random.u32() % parts.length],
      ).join('');
      const text = `[global]\nfoo = 1\n${body}\n`;
      const answer = asked(text, 'log_file');
      // Text and answer together: a difference is shown with the file that makes it.
      expect([text, ours(text, 'log_file')]).toEqual([text, answer]);
      if (answer !== 'refused') accepted++;
    }
    expect(accepted).toBeGreaterThan(30);
  });
});

describe.skipIf(!present)('option values', () => {
  const KEY = CryptoKey.generate(seededRandom(1), { sec: 1, nsec: 0 }).toBase64();

  async function resolved(setting: string) {
    writeFileSync(path, `[global]\nmon host = 127.0.0.1\n${setting}\n`);
    return resolveClientConfig(nodeEnvironment(), { conf: path, key: KEY });
  }

  const shown = (option: string) =>
    tool('ceph-conf', '-c', path, '--show-config-value', option).out;

  it.each([
    '',
    '22',
    '0x16',
    '026',
    '4M',
    '1K',
    '1.5',
    '-1',
    '+5',
    '22 x',
    '1 K',
    '4MB',
    '4m',
    'zz',
  ])('of orders and times agree: %j', async (value) => {
    const config = await resolved(
      `rbd default order = ${value}\nrados osd op timeout = ${value}\nclient mount timeout = ${value}`,
    );
    expect(String(config.rbdDefaultOrder)).toBe(shown('rbd_default_order'));
    expect(String(config.radosOsdOpTimeoutMs / 1000)).toBe(shown('rados_osd_op_timeout'));
    expect(String(config.clientMountTimeoutMs / 1000)).toBe(shown('client_mount_timeout'));
  });

  it.each([
    '7m',
    '1h',
    '2 hours',
    '1d',
    '1h30m',
    '7minutes',
    '100ms',
    '1.5s',
    '1w',
    '1mo',
    '1y',
    '3 min 2 sec',
    '90secs',
    '7mins',
    '3hrs',
    '2 days',
    '2wks',
    '2weeks',
    '5 s',
    '1months',
    '1h 30',
    '2 yrs',
  ])('of spans agree: %j', async (value) => {
    const config = await resolved(`client mount timeout = ${value}`);
    expect(String(config.clientMountTimeoutMs / 1000)).toBe(shown('client_mount_timeout'));
  });

  it.each(['65536', '64K', '64Ki', '64KB', '64KiB', '1M', '4B', '4G', '1 K', '64k', '0x10', '+8'])(
    'of sizes agree: %j',
    async (value) => {
      const config = await resolved(`rbd default stripe unit = ${value}`);
      expect(String(config.rbdDefaultStripeUnit)).toBe(shown('rbd_default_stripe_unit'));
    },
  );

  it.each([
    '5',
    '0x1',
    '1024',
    '-1',
    'layering',
    'layering,exclusive-lock',
    'layering, striping',
    'layering exclusive-lock',
    'layering+striping',
    'bogus',
    'layering,bogus',
    'Layering',
    'data-pool,layering',
    'operations',
    'migrating',
    '255',
    'layering,operations',
    '512',
    '256',
  ])('of features agree: %j', async (value) => {
    const config = await resolved(`rbd default features = ${value}`);
    expect(String(config.rbdDefaultFeatures)).toBe(shown('rbd_default_features'));
  });

  it.each([
    ['$cluster-$type-$id-$name-$host', undefined],
    ['${name}x', undefined],
    ['$cluster_x-$Cluster-$unknown', undefined],
    ['$run_dir/a', undefined],
    ['$log_file', undefined],
    ['$$cluster', undefined],
  ])('with variables agree: %j', async (value) => {
    const config = await resolved(`log file = ${value}`);
    expect(config.get('log file')).toBe(
      tool('ceph-conf', '-c', path, '--name', 'client.admin', '--lookup', 'log_file').out,
    );
    expect(config.cluster).toBe('test');
    expect(config.get('host')).toBeUndefined();
    expect(hostname()).not.toBe('');
  });

  it('have the defaults of 16.2', async () => {
    const config = await resolved('');
    for (const [option, ours] of [
      ['client_mount_timeout', config.clientMountTimeoutMs / 1000],
      ['rados_osd_op_timeout', config.radosOsdOpTimeoutMs / 1000],
      ['rados_mon_op_timeout', config.radosMonOpTimeoutMs / 1000],
      ['rbd_default_order', config.rbdDefaultOrder],
      ['rbd_default_features', config.rbdDefaultFeatures],
      ['rbd_default_pool', config.rbdDefaultPool],
      ['rbd_default_stripe_unit', config.rbdDefaultStripeUnit],
      ['rbd_default_stripe_count', config.rbdDefaultStripeCount],
      ['rbd_default_data_pool', config.rbdDefaultDataPool ?? ''],
      ['ms_client_mode', config.get('ms_client_mode')],
      ['ms_mon_client_mode', config.get('ms_mon_client_mode')],
      ['auth_client_required', config.get('auth_client_required')],
      ['keyring', config.get('keyring')],
    ] as const) {
      expect([option, String(ours)]).toEqual([option, shown(option)]);
    }
  });
});

describe.skipIf(!present)('mon host', () => {
  it.each(MON_HOSTS)('%j means the same monitors to monmaptool', (text) => {
    writeFileSync(path, `[global]\nmon host = ${text}\n`);
    const map = join(dir, 'monmap');
    tool('monmaptool', '-c', path, '--create', '--generate', '--clobber', map);
    const printed = tool('monmaptool', '--print', map).out;
    const expected = [...printed.matchAll(/^\d+: (.*) mon\./gm)].map(
      ([, addrs = '']) => addrs.match(/v2:(\[[^\]]*\])?[^,\]]*/g) ?? [],
    );
    expect(expected.length).toBeGreaterThan(0);
    expect(parseMonHost(text).map((host) => host.addrs.map(formatAddr))).toEqual(expected);
  });
});

describe.skipIf(!present)('keyrings', () => {
  const file = join(dir, 'keyring');

  it('written by ceph-authtool are read', () => {
    rmSync(file, { force: true });
    tool('ceph-authtool', '-C', file, '--gen-key', '-n', 'client.admin', '--cap', 'mon', 'allow *');
    tool('ceph-authtool', file, '--gen-key', '-n', 'mon.');
    tool(
      'ceph-authtool',
      file,
      '-n',
      'client.admin',
      '--cap',
      'osd',
      'allow rwx pool=a b',
      '--cap',
      'mon',
      'allow r',
    );
    const keyring = Keyring.parse(readFileSync(file), file);
    expect(keyring.entries().map(({ entity }) => entity.id)).toEqual(
      expect.arrayContaining(['admin', '']),
    );
    const entry = keyring.get('client.admin');
    expect(entry?.key.toBase64()).toBe(tool('ceph-authtool', '-p', '-n', 'client.admin', file).out);
    expect(entry?.caps).toEqual({ mon: 'allow r', osd: 'allow rwx pool=a b' });
  });

  it('that we write are read by ceph-authtool', () => {
    const keyring = new Keyring();
    const key = CryptoKey.generate(seededRandom(3), { sec: 1_700_000_000, nsec: 5 });
    const caps = {
      mon: 'allow r',
      osd: 'allow rwx pool=a, allow class-read object_prefix rbd_children',
    };
    keyring.set({ entity: admin, key, caps });
    keyring.set({ entity: parseAuthEntity('osd.3'), key, caps: {} });
    writeFileSync(file, keyring.format());
    expect(tool('ceph-authtool', '-p', '-n', 'client.admin', file).out).toBe(key.toBase64());
    expect(tool('ceph-authtool', '-p', '-n', 'osd.3', file).out).toBe(key.toBase64());
    const listed = tool('ceph-authtool', '-l', file).out;
    for (const [service, text] of Object.entries(caps)) {
      expect(listed).toContain(`caps ${service} = "${text}"`);
    }
  });

  it.each([
    '[client.admin]\n\tkey = KEY',
    '[client.admin]\n\tKEY = KEY\n',
    '[client.admin]\nkey=KEY\n',
    '[client.admin]\n\tkey = "KEY" # comment\n',
    '[client.admin]\n\tkey = AQ==\n',
    '[client.admin]\n\tkey =\n',
    '[bogus]\n\tkey = KEY\n[client.admin]\nkey=KEY\n',
    '[global]\n\tx = y\n[client.admin]\nkey=KEY\n',
    '[client.admin]\nauid = 5\nkey=KEY\n',
    '[client.admin]\nfoo = 5\nkey=KEY\n',
    '[client.]\nkey=KEY\n[client.admin]\nkey=KEY\n',
    '[client.admin]\nkey=AQ==\nkey=KEY\n',
    'key = KEY\n',
  ])('are accepted or refused alike: %j', (template) => {
    const key = CryptoKey.generate(seededRandom(4), { sec: 9, nsec: 0 }).toBase64();
    const text = template.replaceAll('KEY = KEY', `KEY = ${key}`).replace(/(?<!\t)\bKEY\b/g, key);
    writeFileSync(file, text);
    const theirs = tool('ceph-authtool', '-p', '-n', 'client.admin', file);
    let ours: string | undefined;
    try {
      ours = Keyring.parse(text, file).get('client.admin')?.key.toBase64();
    } catch (error) {
      expect(error).toMatchObject({ code: 'EIO', errno: -5 });
    }
    expect(ours).toBe(theirs.code === 0 && theirs.out !== '' ? theirs.out : undefined);
  });
});

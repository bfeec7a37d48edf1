import { beforeEach, describe, expect, it } from 'vitest';
import { resolveClientConfig } from '../../src/auth/ceph-conf.js';
import { CryptoKey } from '../../src/auth/crypto-key.js';
import { Keyring } from '../../src/auth/keyring.js';
import { AUTH_METHOD, CON_MODE } from '../../src/auth/method.js';
import { parseMonHost } from '../../src/auth/mon-host.js';
import { formatAddr } from '../../src/encoding/entity.js';
import { MON_HOSTS } from './mon-host-cases.js';
import { seededRandom, type TestEnvironment, testEnvironment } from './support.js';

const KEY = CryptoKey.generate(seededRandom(5), { sec: 1, nsec: 0 });
const OTHER = CryptoKey.generate(seededRandom(6), { sec: 1, nsec: 0 });
const CONF = '/etc/ceph/ceph.conf';
const KEYRING = '/etc/ceph/ceph.client.admin.keyring';
const keyringText = (key: CryptoKey, name = 'client.admin') =>
  `[${name}]\n\tkey = ${key.toBase64()}\n\tcaps mon = "allow *"\n`;

let env: TestEnvironment;

beforeEach(() => {
  env = testEnvironment();
  env.fileContents.set(CONF, '[global]\nmon host = 10.0.0.1\n');
  env.fileContents.set(KEYRING, keyringText(KEY));
});

const conf = (text: string) => env.fileContents.set(CONF, `[global]\nmon host = 10.0.0.1\n${text}`);
const failure = (code: string, target?: string) =>
  expect.objectContaining(target === undefined ? { code } : { code, target });

describe('a client configuration', () => {
  it('needs nothing but the standard files', async () => {
    const config = await resolveClientConfig(env);
    expect(config).toMatchObject({
      cluster: 'ceph',
      name: 'client.admin',
      entity: { type: 8, id: 'admin' },
      confPath: CONF,
      authMethods: [AUTH_METHOD.CEPHX, AUTH_METHOD.NONE],
      missingKeyring: undefined,
      msClientMode: [CON_MODE.CRC, CON_MODE.SECURE],
      msMonClientMode: [CON_MODE.SECURE, CON_MODE.CRC],
      clientMountTimeoutMs: 300_000,
      radosOsdOpTimeoutMs: 0,
      radosMonOpTimeoutMs: 0,
      rbdDefaultPool: 'rbd',
      rbdDefaultDataPool: undefined,
      rbdDefaultOrder: 22,
      rbdDefaultFeatures: 61n,
      rbdDefaultStripeUnit: 0,
      rbdDefaultStripeCount: 0,
    });
    expect(config.key?.equals(KEY)).toBe(true);
    expect(config.monHosts.map((host) => host.addrs.map(formatAddr))).toEqual([
      ['v2:10.0.0.1:3300/0'],
    ]);
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.monHosts)).toBe(true);
  });

  it('takes every option from the file', async () => {
    conf(
      [
        'auth client required = cephx',
        'ms client mode = secure',
        'ms mon client mode = crc',
        'client mount timeout = 30',
        'rados osd op timeout = 1m',
        'rados mon op timeout = 7',
        'rbd default pool = vms',
        'rbd default data pool = fat',
        'rbd default order = 23',
        'rbd default features = layering,exclusive-lock',
        'rbd default stripe unit = 64K',
        'rbd default stripe count = 4',
        '',
      ].join('\n'),
    );
    expect(await resolveClientConfig(env)).toMatchObject({
      authMethods: [AUTH_METHOD.CEPHX],
      msClientMode: [CON_MODE.SECURE],
      msMonClientMode: [CON_MODE.CRC],
      clientMountTimeoutMs: 30_000,
      radosOsdOpTimeoutMs: 60_000,
      radosMonOpTimeoutMs: 7_000,
      rbdDefaultPool: 'vms',
      rbdDefaultDataPool: 'fat',
      rbdDefaultOrder: 23,
      rbdDefaultFeatures: 5n,
      rbdDefaultStripeUnit: 65536,
      rbdDefaultStripeCount: 4,
    });
  });

  it('keeps the default where a section says something that does not parse', async () => {
    conf('rbd default order = 24\n[client]\nrbd default order = large\nrbd default features =\n');
    const config = await resolveClientConfig(env);
    expect(config.rbdDefaultOrder).toBe(22);
    expect(config.rbdDefaultFeatures).toBe(61n);
  });

  it('lets the caller overrule the file, under any spelling of the option', async () => {
    conf('rbd default order = 24\nrbd default pool = p\n');
    const config = await resolveClientConfig(env, {
      monHost: '10.0.0.9:1,[v2:10.0.0.8:2,v1:10.0.0.8:3]',
      overrides: { 'rbd-default-order': '25', 'rbd default pool': 'q', ms_client_mode: 'secure' },
    });
    expect(config).toMatchObject({ rbdDefaultOrder: 25, rbdDefaultPool: 'q' });
    expect(config.msClientMode).toEqual([CON_MODE.SECURE]);
    expect(config.monHosts.flatMap((host) => host.addrs.map(formatAddr))).toEqual([
      'v2:10.0.0.9:1/0',
      'v2:10.0.0.8:2/0',
    ]);
  });

  it('replaces variables, also of options that name each other, and ends where they do so in a circle', async () => {
    env.fileContents.set(
      '/srv/backup.conf',
      [
        '[global]',
        'mon host = $host',
        'keyring = $base/$cluster.$name',
        'base = /keys/${type}/$id',
        'a = $b',
        'b = $a$c',
        'c = $unknown ${unknown} $$cluster $key',
        '',
      ].join('\n'),
    );
    env.fileContents.set('/keys/client/vm/backup.client.vm', keyringText(OTHER, 'client.vm'));
    const config = await resolveClientConfig(env, { conf: '/srv/backup.conf', name: 'client.vm' });
    expect(config.key?.equals(OTHER)).toBe(true);
    expect(config.cluster).toBe('backup');
    expect(config.monHosts[0]?.addrs[0]?.host).toBe('box7');
    expect(config.get('a')).toBe('$a$unknown ${unknown} $backup $key');
    expect(config.get('no such option')).toBeUndefined();
    expect(config.get('rbd default pool')).toBe('rbd');
  });

  it('names the cluster after the file, as Ceph does', async () => {
    for (const [path, cluster] of [
      ['/a/x.y.conf', 'x.y'],
      ['/a/myconf', 'ceph'],
      ['/a/a.conf.conf', 'a.conf'],
      ['/a/.conf', 'ceph'],
      ['/a/foo.txt', 'ceph'],
      ['c.conf', 'c'],
    ] as const) {
      env.fileContents.set(path, '[global]\nmon host = 10.0.0.1\n');
      const config = await resolveClientConfig(env, { conf: path, key: KEY.toBase64() });
      expect([path, config.cluster]).toEqual([path, cluster]);
    }
  });
});

describe('a missing or bad configuration', () => {
  it('names the file: absent, unreadable or a parse error', async () => {
    await expect(resolveClientConfig(env, { conf: '/nope.conf' })).rejects.toEqual(
      failure('ENOENT', '/nope.conf'),
    );
    env.fileContents.set(CONF, Object.assign(new Error('denied'), { code: 'EACCES' }));
    await expect(resolveClientConfig(env)).rejects.toEqual(failure('EACCES', CONF));
    env.fileContents.set(CONF, '[global]\nmon host');
    await expect(resolveClientConfig(env)).rejects.toEqual(failure('EINVAL', CONF));
  });

  it('needs no file when the caller says where the monitors are', async () => {
    env.fileContents.delete(CONF);
    const config = await resolveClientConfig(env, { monHost: '10.0.0.1', key: KEY.toBase64() });
    expect(config.confPath).toBeUndefined();
    await expect(resolveClientConfig(env, { key: KEY.toBase64() })).rejects.toEqual(
      failure('ENOENT', CONF),
    );
  });

  it('without monitors, or with monitors that cannot be used', async () => {
    env.fileContents.set(CONF, '[global]\n');
    await expect(resolveClientConfig(env)).rejects.toEqual(failure('ENOENT', CONF));
    await expect(resolveClientConfig(env, { monHost: 'v1:10.0.0.1' })).rejects.toEqual(
      failure('EOPNOTSUPP'),
    );
    await expect(resolveClientConfig(env, { monHost: '10.0.0.1:x' })).rejects.toEqual(
      failure('EINVAL'),
    );
  });

  it('with a name that is none, or methods that we lack', async () => {
    await expect(resolveClientConfig(env, { name: 'admin' })).rejects.toEqual(failure('EINVAL'));
    conf('auth client required = gss\n');
    await expect(resolveClientConfig(env)).rejects.toEqual(failure('EINVAL'));
  });
});

describe('the key', () => {
  it('comes from key, then keyfile, then the first keyring that exists', async () => {
    const keyOf = async (text: string, options = {}) => {
      conf(text);
      return (await resolveClientConfig(env, options)).key;
    };
    env.fileContents.set('/k/file', `${OTHER.toBase64()}\n`);
    env.fileContents.set('/k/ring', keyringText(OTHER));
    expect((await keyOf(''))?.equals(KEY)).toBe(true);
    expect((await keyOf('keyring = /k/nope,/k/ring\n'))?.equals(OTHER)).toBe(true);
    expect((await keyOf('keyfile = /k/file\n'))?.equals(OTHER)).toBe(true);
    expect((await keyOf(`key = ${OTHER.toBase64()}\n`))?.equals(OTHER)).toBe(true);
    expect((await keyOf(`keyfile = /k/file\nkey = ${KEY.toBase64()}\n`))?.equals(KEY)).toBe(true);
    expect((await keyOf('', { keyring: '/k/ring' }))?.equals(OTHER)).toBe(true);
    expect((await keyOf('', { keyfile: '/k/file' }))?.equals(OTHER)).toBe(true);
    expect((await keyOf('', { key: OTHER.toBase64() }))?.equals(OTHER)).toBe(true);
  });

  it('is not needed without cephx, and its absence leaves the other methods', async () => {
    env.fileContents.delete(KEYRING);
    conf('auth client required = none\n');
    expect(await resolveClientConfig(env)).toMatchObject({
      key: undefined,
      authMethods: [AUTH_METHOD.NONE],
      missingKeyring: undefined,
    });
    conf('');
    expect(await resolveClientConfig(env)).toMatchObject({
      key: undefined,
      authMethods: [AUTH_METHOD.NONE],
      missingKeyring:
        '/etc/ceph/ceph.client.admin.keyring, /etc/ceph/ceph.keyring, /etc/ceph/keyring, /etc/ceph/keyring.bin',
    });
  });

  it.each([
    [
      'ENOENT',
      'no keyring, and nothing but cephx',
      'auth client required = cephx\nkeyring = /k/nope\n',
      '',
    ],
    ['EACCES', 'a keyring without this client', 'keyring = /k/bad\n', '[client.x]\nkey=KEY\n'],
    ['EACCES', 'a section without a key', 'keyring = /k/bad\n', '[client.admin]\ncaps mon = x\n'],
    [
      'EIO',
      'a keyring without its last newline',
      'keyring = /k/bad\n',
      '[client.admin]\nkey = KEY',
    ],
    ['EIO', 'a keyring with KEY', 'keyring = /k/bad\n', '[client.admin]\nKEY = KEY\n'],
    ['EIO', 'a key that is none', 'keyring = /k/bad\n', '[client.admin]\nkey = zzzz\n'],
    [
      'EIO',
      'a section that is no entity',
      'keyring = /k/bad\n',
      '[x]\nkey=KEY\n[client.admin]\nkey=KEY\n',
    ],
    ['ENOENT', 'an absent keyfile', 'keyfile = /k/nope\n', ''],
    ['EINVAL', 'a keyfile without a key', 'keyfile = /k/bad\n', 'zzzz\n'],
    ['EINVAL', 'a key setting that is none', 'key = zzzz\n', ''],
  ])('gives %s for %s, without showing keys', async (code, _what, setting, file) => {
    conf(setting);
    const text = KEY.toBase64();
    if (file) env.fileContents.set('/k/bad', file.replace(/KEY(?! =)/g, text));
    const error = await resolveClientConfig(env).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code });
    expect(String((error as Error).message)).not.toContain(text);
    if (setting.includes('/k/bad')) expect((error as Error).message).toContain('/k/bad');
  });
});

describe('keyrings', () => {
  it('go through their text form and back, whatever the caps say', () => {
    const caps = { mon: 'allow command "a b" with x="#1;2"', osd: 'allow \\ *', mgr: '' };
    const keyring = new Keyring();
    keyring.set({ entity: { type: 8, id: 'vm' }, key: KEY, caps });
    keyring.set({ entity: { type: 1, id: '' }, key: OTHER, caps: {} });
    const again = Keyring.parse(keyring.format(), 'again');
    expect(again.get('client.vm')?.caps).toEqual(caps);
    expect(again.get('client.vm')?.key.equals(KEY)).toBe(true);
    expect(again.get('mon.')?.key.equals(OTHER)).toBe(true);
    expect(again.get('client.nobody')).toBeUndefined();
  });
});

describe('mon host', () => {
  it.each(MON_HOSTS)('%j has a monitor of messenger v2', (text) => {
    for (const host of parseMonHost(text)) {
      for (const addr of host.addrs) {
        expect(addr.type).toBe(2);
        expect(addr.port).toBeGreaterThan(0);
      }
    }
  });

  it('leaves out what speaks messenger v1 alone', () => {
    expect(parseMonHost('v1:10.0.0.1,10.0.0.2').map((host) => host.text)).toEqual(['10.0.0.2']);
  });

  it('without a type and with the port of v1 means the port of v2 beside it', () => {
    expect(parseMonHost('10.0.0.1:6789')[0]?.addrs).toEqual([
      { type: 2, nonce: 0, host: '10.0.0.1', port: 3300 },
    ]);
  });

  it('may be a name, to be resolved when dialling', () => {
    const [host] = parseMonHost('mon-a.example.org:3301');
    expect(host?.addrs[0]).toMatchObject({ host: 'mon-a.example.org', port: 3301 });
  });

  it.each([
    '10.0.0.1:99999',
    '10.0.0.1:x',
    '[v2:10.0.0.1:1',
    'v3:10.0.0.1:1',
    '10.0.0.1/x',
    ']',
    'a b:c:d',
  ])('refuses %j', (text) => {
    expect(() => parseMonHost(text)).toThrow(failure('EINVAL'));
  });

  it('of nothing is no monitor', () => {
    expect(parseMonHost('')).toEqual([]);
    expect(parseMonHost(' , ; ')).toEqual([]);
  });
});

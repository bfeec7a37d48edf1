import { describe, expect, it } from 'vitest';

import { formatMapOptions, mapOptions, parseMapOptions } from '../../src/block/map-options.js';
import { sysfsAttributes } from '../../src/block/attributes.js';
import { thrown } from './support/hosts.js';

const FSID = '0b6b4e4c-9d8c-4a55-b8d4-0f2b0f0c9b11';

describe('map options', () => {
  it("have krbd's defaults, but for ms_mode", () => {
    expect(mapOptions()).toEqual({
      readOnly: false,
      queueDepth: 128,
      allocSize: 65536,
      lockOnRead: false,
      exclusive: false,
      lockTimeout: 0,
      notrim: false,
      poolNs: undefined,
      compressionHint: 'none',
      fsid: undefined,
      name: undefined,
      secret: undefined,
      share: true,
      mountTimeout: 60,
      osdkeepalive: 5,
      osdIdleTtl: 60,
      osdRequestTimeout: 0,
      readFromReplica: 'no',
      crushLocation: [],
      msMode: 'prefer-crc',
      abortOnFull: false,
      ignored: [],
      given: [],
    });
    expect(parseMapOptions('')).toEqual(mapOptions());
  });

  it('are read from the string of rbd map -o', () => {
    const text =
      `ro,queue_depth=64,alloc_size=4096,lock_on_read,exclusive,lock_timeout=30,notrim,_pool_ns=ns1,` +
      `compression_hint=compressible,fsid=${FSID},name=admin,secret=AQB,noshare,mount_timeout=10,osdkeepalive=7,` +
      `osd_idle_ttl=90,osd_request_timeout=15,read_from_replica=localize,crush_location=rack:r1|host:h2,ms_mode=secure,abort_on_full`;
    const options = parseMapOptions(text);
    expect(options).toMatchObject({
      readOnly: true,
      queueDepth: 64,
      allocSize: 4096,
      lockOnRead: true,
      exclusive: true,
      lockTimeout: 30,
      notrim: true,
      poolNs: 'ns1',
      compressionHint: 'compressible',
      fsid: FSID,
      name: 'admin',
      secret: 'AQB',
      share: false,
      mountTimeout: 10,
      osdkeepalive: 7,
      osdIdleTtl: 90,
      osdRequestTimeout: 15,
      readFromReplica: 'localize',
      crushLocation: [
        ['rack', 'r1'],
        ['host', 'h2'],
      ],
      msMode: 'secure',
      abortOnFull: true,
    });
  });

  it('mean the same as an object', () => {
    const text = 'rw,queue_depth=5,ms_mode=crc,crush_location=host:a,noshare';
    const object = {
      readOnly: false,
      queueDepth: 5,
      msMode: 'crc',
      crushLocation: [['host', 'a']],
      share: false,
    } as const;
    expect(parseMapOptions(text)).toEqual(mapOptions(object));
  });

  it('let the later one win, and the string win over the base', () => {
    expect(parseMapOptions('ro,queue_depth=1,rw,queue_depth=2').queueDepth).toBe(2);
    expect(parseMapOptions('ro,rw').readOnly).toBe(false);
    const mixed = parseMapOptions('queue_depth=9', { queueDepth: 3, exclusive: true });
    expect([mixed.queueDepth, mixed.exclusive]).toEqual([9, true]);
  });

  it('remember which were given, for what is not is left to the connection', () => {
    const options = parseMapOptions('rw,queue_depth=9,crc', {
      msMode: 'prefer-crc',
      queueDepth: 3,
    });
    expect(options.given).toEqual(['msMode', 'queueDepth', 'readOnly']);
    expect(mapOptions({ name: undefined }).given).toEqual([]);
  });

  it('are frozen', () => {
    const options = parseMapOptions('crush_location=host:a');
    expect(Object.isFrozen(options)).toBe(true);
    expect(Object.isFrozen(options.crushLocation)).toBe(true);
  });

  it('that concern the kernel alone are accepted and listed', () => {
    const options = parseMapOptions('rxbounce,nocrc,tcp_nodelay,noudev,nocephx_sign_messages,ro');
    expect(options.ignored).toEqual([
      'rxbounce',
      'nocrc',
      'tcp_nodelay',
      'noudev',
      'nocephx_sign_messages',
    ]);
    expect(options.readOnly).toBe(true);
  });

  it.each([
    ['ms_mode=legacy', /legacy is the messenger v1 protocol/],
    ['ip=10.0.0.1', /ip is not supported/],
    ['key=client.admin', /key is not supported: .*`secret`/],
    ['notcp_nodelay', /notcp_nodelay is not supported/],
    ['queue_deep=5', /unknown map option "queue_deep"/],
    ['__proto__', /unknown map option/],
    ['constructor=1', /unknown map option/],
    ['queue_depth', /queue_depth needs a value/],
    ['queue_depth=0', /queue_depth: 0 is not an integer within 1/],
    ['queue_depth=-1', /queue_depth/],
    ['queue_depth=1e3', /queue_depth/],
    ['queue_depth=99999999', /queue_depth/],
    ['alloc_size=1000', /1000 is not a power of two/],
    ['alloc_size=256', /alloc_size/],
    ['ro=1', /ro takes no value/],
    ['ms_mode=crc32', /"crc32" is not one of crc, secure/],
    ['read_from_replica=yes', /read_from_replica/],
    ['crush_location=rack', /"rack" is not TYPE:NAME/],
    ['crush_location=a:b:c', /TYPE:NAME/],
    ['fsid=123', /not a UUID/],
    ['_pool_ns=', /empty/],
    ['osd_request_timeout=99999999', /osd_request_timeout/],
  ])('refuse %s', (text, message) => {
    const error = thrown(() => parseMapOptions(text));
    expect(error).toMatchObject({ name: 'RadosError', code: 'EINVAL', op: 'map' });
    expect(error.message).toMatch(message);
  });

  it.each([
    [{ queueDepth: '5' }, /queueDepth is not a number/],
    [{ queueDepth: 1.5 }, /queue_depth/],
    [{ readOnly: 'yes' }, /readOnly is not true or false/],
    [{ msMode: 'legacy' }, /legacy/],
    [{ msMode: 5 }, /msMode is not a string/],
    [{ crushLocation: 'host:a' }, /list of pairs/],
    [{ queue_depth: 5 }, /unknown map option "queue_depth"/],
    [{ ignored: [] }, /unknown map option/],
    [{ given: ['msMode'] }, /unknown map option/],
  ])('refuse %o', (object, message) => {
    expect(thrown(() => mapOptions(object as never)).message).toMatch(message);
  });

  it('are shown without the secret and without defaults', () => {
    const text =
      'read_only,queue_depth=64,name=admin,secret=AQBsecret,noshare,crush_location=rack:r1|host:h2';
    const shown = formatMapOptions(parseMapOptions(text));
    expect(shown).not.toContain('secret');
    const { secret: _, given, ...options } = parseMapOptions(text);
    expect(parseMapOptions(shown)).toEqual({
      ...options,
      secret: undefined,
      given: given.filter((name) => name !== 'secret'),
    });
    expect(formatMapOptions(mapOptions())).toBe('');
  });
});

describe('the attributes of sysfs', () => {
  it('are spelled as krbd spells them', () => {
    const text = sysfsAttributes({
      size: 1073741824,
      features: 0x3dn,
      pool: 'rbd',
      poolId: 2,
      poolNs: '',
      name: 'child',
      imageId: '10226b8b4567',
      currentSnap: 'snap1',
      snapId: 4n,
      clientAddr: '10.0.0.1:0/3115',
      clientId: 'client4123',
      clusterFsid: FSID,
      configInfo: 'read_only',
      parents: [1, 2].map((level) => ({
        poolId: 3,
        poolName: 'base',
        poolNs: 'ns',
        imageId: `id${level}`,
        imageName: level === 1 ? 'golden' : '',
        snapId: 7n,
        snapName: 's',
        overlap: 512,
      })),
      readOnly: true,
      objectSize: 4194304,
      stripeUnit: 4194304,
      stripeCount: 1,
      allocSize: 65536,
    });
    expect(text).toEqual({
      size: '1073741824',
      features: '0x000000000000003d',
      client_addr: '10.0.0.1:0/3115',
      client_id: 'client4123',
      cluster_fsid: FSID,
      config_info: 'read_only',
      pool: 'rbd',
      pool_id: '2',
      pool_ns: '',
      name: 'child',
      image_id: '10226b8b4567',
      current_snap: 'snap1',
      snap_id: '4',
      parent:
        'pool_id 3\npool_name base\npool_ns ns\nimage_id id1\nimage_name golden\nsnap_id 7\nsnap_name s\noverlap 512\n\n' +
        'pool_id 3\npool_name base\npool_ns ns\nimage_id id2\nimage_name (unknown)\nsnap_id 7\nsnap_name s\noverlap 512',
    });
  });
});

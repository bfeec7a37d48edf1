// Goal: client and server of cephx agree, and only then. Both halves are ours: that each follows Ceph's bytes is shown by
// golden.test.ts, crypto-key.test.ts and the tests against real daemons.

import { beforeEach, describe, expect, it } from 'vitest';
import { CephxClient } from '../../src/auth/cephx-client.js';
import {
  authenticate as authenticateMessage,
  CEPHX_REQUEST,
} from '../../src/auth/cephx-messages.js';
import { CephxKeyServer, type CephxKeyServerOptions } from '../../src/auth/cephx-server.js';
import { CephxServiceServer } from '../../src/auth/cephx-service-server.js';
import { CryptoKey, KEY_TYPE } from '../../src/auth/crypto-key.js';
import {
  AUTH_METHOD,
  CON_MODE,
  type AuthClient,
  type AuthServer,
  type MonAuthServer,
} from '../../src/auth/method.js';
import { RotatingSecrets } from '../../src/auth/rotating-secrets.js';
import { decodeFirst } from '../../src/encoding/codec.js';
import { ENTITY_TYPE, parseAuthEntity } from '../../src/encoding/entity.js';
import {
  accepted,
  authenticate,
  refused,
  type TestEnvironment,
  testEnvironment,
} from './support.js';

const ADMIN = parseAuthEntity('client.admin');
const GUEST = parseAuthEntity('client.guest');
const CAPS = { mon: 'allow r', osd: 'allow rwx pool=rbd', mgr: 'allow *' };
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const EACCES = { kind: 'bad-method', result: -13, allowedMethods: [AUTH_METHOD.CEPHX] };
const KEY_TYPES = [
  ['AES', KEY_TYPE.AES],
  ['AES256KRB5', KEY_TYPE.AES256KRB5],
] as const;

let env: TestEnvironment;
let server: CephxKeyServer;
let key: CryptoKey;

function newServer(options: CephxKeyServerOptions = {}): CephxKeyServer {
  const fresh = new CephxKeyServer(env, options);
  fresh.setEntity(ADMIN, { key, caps: CAPS });
  return fresh;
}

function newClient(entity = ADMIN, secret = key): CephxClient {
  return new CephxClient(env, { entity, key: secret });
}

/** A client that has been at the monitor, and the monitor's end of that connection. */
function connected(client = newClient()): { client: CephxClient; mon: MonAuthServer } {
  const mon = server.monAuthServer();
  accepted(client.monAuth(), mon);
  return { client, mon };
}

function renew(client: CephxClient, mon: MonAuthServer): void {
  const { result, payload } = mon.renew(client.buildRenewal());
  client.onRenewalReply(result, payload);
}

beforeEach(() => {
  env = testEnvironment();
  key = CryptoKey.generate(env.random, { sec: 1, nsec: 0 });
  server = newServer();
});

describe.each(KEY_TYPES)('client and monitor with %s keys', (_name, keyType) => {
  beforeEach(() => {
    key = CryptoKey.generate(env.random, { sec: 1, nsec: 0 }, keyType);
    server = newServer({ keyType });
  });

  it.each([
    ['crc', CON_MODE.CRC, 0],
    ['secure', CON_MODE.SECURE, 64],
  ])('end with the same keys in %s mode', (_mode, conMode, secretLength) => {
    const client = newClient();
    const done = accepted(client.monAuth(), server.monAuthServer(), { conMode });
    expect(done.client.sessionKey).toEqual(done.server.sessionKey);
    expect(done.client.sessionKey).toHaveLength(keyType === KEY_TYPE.AES ? 16 : 32);
    expect(done.client.connectionSecret).toEqual(done.server.connectionSecret);
    expect(done.client.connectionSecret).toHaveLength(secretLength);
    expect(done.server).toMatchObject({ globalId: 4100n, entity: ADMIN, caps: CAPS.mon });
    expect(client.globalId).toBe(4100n);
    for (const service of [ENTITY_TYPE.MON, ENTITY_TYPE.OSD, ENTITY_TYPE.MGR, ENTITY_TYPE.AUTH]) {
      expect(client.hasTicket(service)).toBe(true);
    }
    expect(client.hasTicket(ENTITY_TYPE.MDS)).toBe(false);
  });

  it.each([
    ['crc', CON_MODE.CRC, 0],
    ['secure', CON_MODE.SECURE, 64],
  ])('bring the client to an OSD in %s mode, with its caps there', (_mode, conMode, length) => {
    const { client } = connected();
    const done = accepted(
      client.serviceAuth(ENTITY_TYPE.OSD),
      server.serviceAuthServer(ENTITY_TYPE.OSD),
      { conMode },
    );
    expect(done.client.sessionKey).toEqual(done.server.sessionKey);
    expect(done.client.connectionSecret).toEqual(done.server.connectionSecret);
    expect(done.client.connectionSecret).toHaveLength(length);
    expect(done.server).toMatchObject({ globalId: 4100n, entity: ADMIN, caps: CAPS.osd });
  });

  it('renew service tickets, and the AUTH ticket, over the monitor session', () => {
    const { client, mon } = connected();
    for (let passed = 0; passed < 100 * HOUR; passed += 40 * MINUTE) {
      env.time += 40 * MINUTE;
      if (client.renewalDue(env.time)) renew(client, mon);
      accepted(client.serviceAuth(ENTITY_TYPE.OSD), server.serviceAuthServer(ENTITY_TYPE.OSD));
      env.time += 10 * MINUTE;
      if (client.renewalDue(env.time)) renew(client, mon);
    }
    expect(client.globalId).toBe(4100n);
  });

  it('survive reconnections, each with the old ticket given back', () => {
    const { client } = connected();
    for (let i = 0; i < 5; i++) {
      env.time += HOUR;
      const done = accepted(client.monAuth(), server.monAuthServer(), {
        conMode: CON_MODE.SECURE,
      });
      expect(done.server.globalId).toBe(4100n);
      accepted(client.serviceAuth(ENTITY_TYPE.OSD), server.serviceAuthServer(ENTITY_TYPE.OSD));
    }
    expect(server.nextGlobalId).toBe(4101n);
  });
});

it('mixes kinds of keys: each key says what it is', () => {
  const old = CryptoKey.generate(env.random, { sec: 1, nsec: 0 }, KEY_TYPE.AES);
  const modern = CryptoKey.generate(env.random, { sec: 1, nsec: 0 }, KEY_TYPE.AES256KRB5);
  for (const [entityKey, keyType] of [
    [old, KEY_TYPE.AES256KRB5],
    [modern, KEY_TYPE.AES],
  ] as const) {
    key = entityKey;
    server = newServer({ keyType });
    const { client, mon } = connected();
    renew(client, mon);
    accepted(client.serviceAuth(ENTITY_TYPE.OSD), server.serviceAuthServer(ENTITY_TYPE.OSD));
  }
});

describe('the bytes', () => {
  it('have the lengths that were seen on the wire of 16.2.15', () => {
    const { client, mon } = connected();
    const mono = authenticate(newClient().monAuth(), server.monAuthServer(), {
      conMode: CON_MODE.SECURE,
    });
    if ('refused' in mono) throw new Error('refused');
    // u8 mode, EntityName, u64; u8, u64; header, CephXAuthenticate without a ticket.
    expect(mono.frames.slice(0, 3).map((frame) => frame.length)).toEqual([22, 9, 36]);
    const osd = authenticate(
      client.serviceAuth(ENTITY_TYPE.OSD),
      server.serviceAuthServer(ENTITY_TYPE.OSD),
    );
    if ('refused' in osd) throw new Error('refused');
    expect(osd.frames[1]).toHaveLength(32);
    expect(osd.frames[3]).toHaveLength(36);
    expect(osd.frames[0]?.[0]).toBe(1);
    // librados 16.2.15 sent 165 bytes for its renewal of service tickets, and 132 for the AUTH ticket.
    env.time += 46 * MINUTE;
    expect(client.buildRenewal()).toHaveLength(165);
    env.time += 54 * HOUR;
    const request = client.buildRenewal();
    expect(request).toHaveLength(132);
    expect([...request.subarray(0, 3)]).toEqual([0, 1, 3]);
    // Its other_keys had the AUTH bit alone; the reply then was 233 bytes of MAuthReply, 209 without its own fields.
    const single = new Uint8Array(request);
    single.set([0x20, 0, 0, 0], 128);
    expect(mon.renew(single).payload).toHaveLength(209);
  });
});

describe('the monitor refuses', () => {
  it('a wrong key and an unknown entity alike, and stays ready for another attempt', () => {
    const wrongKey = CryptoKey.generate(env.random, { sec: 1, nsec: 0 });
    const mon = server.monAuthServer();
    const wrong = refused(newClient(ADMIN, wrongKey).monAuth(), mon);
    const unknown = refused(newClient(GUEST).monAuth(), mon);
    expect(wrong).toEqual(EACCES);
    expect(unknown).toEqual(EACCES);
    accepted(newClient().monAuth(), mon);
    expect(server.nextGlobalId).toBe(4101n);
  });

  it('an entity without caps at the monitor, as Ceph does', () => {
    server.setEntity(GUEST, { key, caps: { osd: 'allow *' } });
    expect(refused(newClient(GUEST).monAuth(), server.monAuthServer())).toEqual(EACCES);
  });

  it('an entity that was removed', () => {
    const { client, mon } = connected();
    server.removeEntity(ADMIN);
    expect(refused(client.monAuth(), server.monAuthServer())).toEqual(EACCES);
    expect(mon.renew(client.buildRenewal()).result).toBe(-13);
  });

  it('other methods, naming its own', () => {
    const request = { method: AUTH_METHOD.NONE, conMode: CON_MODE.CRC, payload: new Uint8Array(9) };
    expect(server.monAuthServer().onRequest(request)).toEqual({ ...EACCES, result: -95 });
    expect(server.serviceAuthServer(ENTITY_TYPE.OSD).onRequest(request)).toEqual({
      ...EACCES,
      result: -95,
    });
  });

  it('a recorded conversation played again: the challenge is another one', () => {
    const recorded = accepted(newClient().monAuth(), server.monAuthServer()).frames;
    const mon = server.monAuthServer();
    const first = mon.onRequest({
      method: AUTH_METHOD.CEPHX,
      conMode: CON_MODE.CRC,
      payload: recorded[0] as Uint8Array,
    });
    expect(first.kind).toBe('more');
    expect(mon.onRequestMore(recorded[2] as Uint8Array)).toEqual(EACCES);
  });

  it('frames out of order, as violations of the protocol', () => {
    const mon = server.monAuthServer();
    const violation = expect.objectContaining({ code: 'EPROTO' });
    expect(() => mon.onRequestMore(new Uint8Array(36))).toThrow(violation);
    accepted(newClient().monAuth(), mon);
    expect(() => mon.onRequestMore(new Uint8Array(36))).toThrow(violation);
    const again = newClient().monAuth().initialRequest();
    expect(() =>
      mon.onRequest({ method: AUTH_METHOD.CEPHX, conMode: CON_MODE.CRC, payload: again }),
    ).toThrow(violation);
  });

  it('secure mode to a client that does not expect a connection secret', () => {
    const noOtherKeys = (frame: number, bytes: Uint8Array) => {
      if (frame === 2) bytes.fill(0, bytes.length - 4);
      return bytes;
    };
    const mon = server.monAuthServer();
    const client = newClient();
    expect(
      refused(client.monAuth(), mon, { conMode: CON_MODE.SECURE, tamper: noOtherKeys }),
    ).toMatchObject({ result: -22 });
    let replyLength = 0;
    const measure = (frame: number, bytes: Uint8Array) => {
      if (frame === 3) replyLength = bytes.length;
      return noOtherKeys(frame, bytes);
    };
    // Header and AUTH ticket alone, as clients before Nautilus want it; ours would have more.
    expect(() => authenticate(client.monAuth(), mon, { tamper: measure })).toThrow(
      expect.objectContaining({ code: 'EPROTO' }),
    );
    expect(replyLength).toBe(6 + 5 + 5 + 4 + 48 + 1 + 4 + 13 + 96);
  });
});

describe('a global id', () => {
  it('is another one for each new client', () => {
    const ids = Array.from({ length: 3 }, () => connected().client.globalId);
    expect(ids).toEqual([4100n, 4101n, 4102n]);
    expect(server.nextGlobalId).toBe(4103n);
  });

  /** Lets a client that knows no id claim one. */
  const claim = (globalId: bigint) => (frame: number, bytes: Uint8Array) => {
    if (frame === 0) new DataView(bytes.buffer).setBigUint64(bytes.length - 8, globalId, true);
    return bytes;
  };

  it('is not given back without its ticket', () => {
    const { client } = connected();
    const thief = newClient();
    expect(
      refused(thief.monAuth(), server.monAuthServer(), { tamper: claim(client.globalId) }),
    ).toEqual(EACCES);
  });

  it('is not given back against the ticket of another id', () => {
    const { client } = connected();
    const { client: other } = connected();
    expect(
      refused(other.monAuth(), server.monAuthServer(), { tamper: claim(client.globalId) }),
    ).toEqual(EACCES);
  });

  it('is not given back to another entity', () => {
    server.setEntity(GUEST, { key, caps: CAPS });
    const { client } = connected();
    const rename = (frame: number, bytes: Uint8Array) => {
      if (frame === 0) bytes.set(Buffer.from('guest'), 9);
      return bytes;
    };
    accepted(newClient().monAuth(), server.monAuthServer(), { tamper: rename });
    expect(refused(client.monAuth(), server.monAuthServer(), { tamper: rename })).toEqual(EACCES);
  });

  it('needs no ticket when it is new: one that comes along is an error', () => {
    const { client } = connected();
    expect(refused(client.monAuth(), server.monAuthServer(), { tamper: claim(0n) })).toMatchObject({
      result: -22,
    });
  });

  it('comes with a ticket that only the holder of the old one can read', () => {
    const { client } = connected();
    const done = accepted(client.monAuth(), server.monAuthServer());
    // ticket_enc stands behind header, count, service, version and the sealed session key.
    expect(done.frames[3]?.[6 + 5 + 5 + 4 + 48]).toBe(1);
    const first = accepted(newClient().monAuth(), server.monAuthServer());
    expect(first.frames[3]?.[6 + 5 + 5 + 4 + 48]).toBe(0);
  });

  it('stays good across a restart of the monitor that kept its secrets, and not otherwise', () => {
    const { client } = connected();
    const kept = { secrets: server.saveSecrets(), firstGlobalId: server.nextGlobalId };
    server = newServer(kept);
    expect(accepted(client.monAuth(), server.monAuthServer()).server.globalId).toBe(4100n);
    expect(connected().client.globalId).toBe(4101n);
    server = newServer();
    expect(refused(client.monAuth(), server.monAuthServer())).toEqual(EACCES);
    client.reset();
    expect(client.globalId).toBe(0n);
    accepted(client.monAuth(), server.monAuthServer());
  });

  it('is kept by a client that asked two monitors at once: the second answer is turned down', () => {
    const client = newClient();
    const [first, second] = [client.monAuth(), client.monAuth()];
    accepted(first, server.monAuthServer());
    expect(() => accepted(second, server.monAuthServer())).toThrow(
      expect.objectContaining({ code: 'ECANCELED', retryable: true }),
    );
    expect(client.globalId).toBe(4100n);
    accepted(client.monAuth(), server.monAuthServer());
  });

  it('that the monitor changes on its own is a violation of the protocol', () => {
    const { client } = connected();
    const mon = server.monAuthServer();
    const handshake = client.monAuth();
    const more = mon.onRequest({
      method: AUTH_METHOD.CEPHX,
      conMode: CON_MODE.CRC,
      payload: handshake.initialRequest(),
    });
    if (more.kind !== 'more') throw new Error(more.kind);
    const done = mon.onRequestMore(handshake.onReplyMore(more.payload));
    if (done.kind !== 'done') throw new Error(done.kind);
    expect(() =>
      handshake.onDone({ globalId: 9n, conMode: CON_MODE.CRC, payload: done.payload }),
    ).toThrow(expect.objectContaining({ code: 'EPROTO' }));
  });
});

describe('the client rejects', () => {
  it('a monitor that does not know its key', () => {
    const other = newServer();
    other.setEntity(ADMIN, {
      key: CryptoKey.generate(env.random, { sec: 1, nsec: 0 }),
      caps: CAPS,
    });
    // An impostor would let everybody pass: its reply is a good one, under another key.
    const impostor = accepted(newClient(ADMIN, key).monAuth(), server.monAuthServer()).frames;
    const client = newClient(ADMIN, CryptoKey.generate(env.random, { sec: 1, nsec: 0 }));
    const handshake = client.monAuth();
    handshake.initialRequest();
    handshake.onReplyMore(impostor[1] as Uint8Array);
    expect(() =>
      handshake.onDone({
        globalId: 1n,
        conMode: CON_MODE.CRC,
        payload: impostor[3] as Uint8Array,
      }),
    ).toThrow(expect.objectContaining({ code: 'EKEYREJECTED', errno: -129 }));
    expect(client.globalId).toBe(0n);
  });

  it('an OSD that answers another nonce, or does not know the session key', () => {
    const { client } = connected();
    const recorded = accepted(
      client.serviceAuth(ENTITY_TYPE.OSD),
      server.serviceAuthServer(ENTITY_TYPE.OSD),
    ).frames;
    const { client: other } = connected();
    for (const dialler of [client, other]) {
      const handshake = dialler.serviceAuth(ENTITY_TYPE.OSD);
      handshake.initialRequest();
      expect(() =>
        handshake.onDone({
          globalId: client.globalId,
          conMode: CON_MODE.CRC,
          payload: recorded[3] as Uint8Array,
        }),
      ).toThrow(expect.objectContaining({ code: 'EKEYREJECTED' }));
    }
  });

  it('secure mode without a connection secret', () => {
    const { client } = connected();
    const osd = accepted(
      client.serviceAuth(ENTITY_TYPE.OSD),
      server.serviceAuthServer(ENTITY_TYPE.OSD),
    );
    expect(osd.client.connectionSecret).toHaveLength(0);
    const mon = server.monAuthServer();
    const handshake = newClient().monAuth();
    const more = mon.onRequest({
      method: AUTH_METHOD.CEPHX,
      conMode: CON_MODE.CRC,
      payload: handshake.initialRequest(),
    });
    if (more.kind !== 'more') throw new Error(more.kind);
    const done = mon.onRequestMore(handshake.onReplyMore(more.payload));
    if (done.kind !== 'done') throw new Error(done.kind);
    expect(() =>
      handshake.onDone({
        globalId: done.globalId,
        conMode: CON_MODE.SECURE,
        payload: done.payload,
      }),
    ).toThrow(expect.objectContaining({ code: 'EPROTO' }));
  });

  it('frames out of order', () => {
    const handshake = newClient().monAuth();
    const violation = expect.objectContaining({ code: 'EPROTO' });
    const done = { globalId: 1n, conMode: CON_MODE.CRC, payload: new Uint8Array(100) };
    expect(() => handshake.onReplyMore(new Uint8Array(9))).toThrow(violation);
    expect(() => handshake.onDone(done)).toThrow(violation);
    handshake.initialRequest();
    expect(() => handshake.onDone(done)).toThrow(violation);
    handshake.onReplyMore(new Uint8Array([1, 1, 2, 3, 4, 5, 6, 7, 8]));
    expect(() => handshake.onReplyMore(new Uint8Array([1, 1, 2, 3, 4, 5, 6, 7, 8]))).toThrow(
      violation,
    );
  });
});

describe('an OSD refuses', () => {
  const osd = () => server.serviceAuthServer(ENTITY_TYPE.OSD);

  it('a ticket for another service', () => {
    const { client } = connected();
    expect(refused(client.serviceAuth(ENTITY_TYPE.MGR), osd())).toEqual(EACCES);
  });

  it('a ticket of another cluster', () => {
    const { client } = connected();
    server = newServer();
    expect(refused(client.serviceAuth(ENTITY_TYPE.OSD), osd())).toEqual(EACCES);
  });

  it('a ticket under another global id', () => {
    const { client } = connected();
    const shift = (frame: number, bytes: Uint8Array) => {
      if (frame === 0) bytes[1] = (bytes[1] as number) ^ 1;
      return bytes;
    };
    expect(refused(client.serviceAuth(ENTITY_TYPE.OSD), osd(), { tamper: shift })).toEqual(EACCES);
  });

  it('a ticket that has expired, although its secret is still there', () => {
    const { client } = connected();
    const handshake = client.serviceAuth(ENTITY_TYPE.OSD);
    env.time += HOUR;
    expect(refused(handshake, osd())).toEqual(EACCES);
  });

  it('a recorded authorizer: its challenge is another one', () => {
    const { client } = connected();
    const recorded = accepted(client.serviceAuth(ENTITY_TYPE.OSD), osd()).frames;
    const again = osd();
    const request = {
      method: AUTH_METHOD.CEPHX,
      conMode: CON_MODE.CRC,
      payload: recorded[2] as Uint8Array,
    };
    // Even one that claims to answer a challenge is given a new one.
    expect(again.onRequest(request).kind).toBe('more');
    expect(again.onRequestMore(recorded[2] as Uint8Array)).toEqual(EACCES);
    expect(again.onRequest(request).kind).toBe('more');
    expect(again.onRequestMore(recorded[0] as Uint8Array)).toEqual(EACCES);
  });

  it('needs the rotating secrets only: they reach another thread as bytes', () => {
    const { client } = connected();
    const secrets = RotatingSecrets.decode(server.rotatingSecrets(ENTITY_TYPE.OSD).encode());
    const remote = () => new CephxServiceServer(env, { serviceId: ENTITY_TYPE.OSD, secrets });
    accepted(client.serviceAuth(ENTITY_TYPE.OSD), remote());
    // One rotation behind, the copy still opens new tickets: "next" has become "current".
    env.time += 2 * HOUR;
    accepted(client.monAuth(), server.monAuthServer());
    accepted(client.serviceAuth(ENTITY_TYPE.OSD), remote());
    const before = secrets.version;
    secrets.replace(server.rotatingSecrets(ENTITY_TYPE.OSD).encode());
    expect(secrets.version).toBeGreaterThan(before);
    accepted(client.serviceAuth(ENTITY_TYPE.OSD), remote());
  });
});

describe('tickets', () => {
  it('are due at three quarters of their validity', () => {
    const { client, mon } = connected();
    const start = env.time;
    expect(client.nextRenewal()).toBe(start + 45 * MINUTE);
    expect(client.renewalDue(start + 45 * MINUTE - 1)).toBe(false);
    expect(client.renewalDue(start + 45 * MINUTE)).toBe(true);
    env.time = start + 45 * MINUTE;
    renew(client, mon);
    expect(client.nextRenewal()).toBe(start + 90 * MINUTE);
    expect(client.renewalDue(env.time)).toBe(false);
  });

  it('are asked for once: not while an answer is outstanding, and again after a new connection', () => {
    const { client } = connected();
    env.time += 45 * MINUTE;
    client.buildRenewal();
    expect(client.renewalDue(env.time)).toBe(false);
    accepted(client.monAuth(), server.monAuthServer());
    expect(client.renewalDue(env.time)).toBe(false);
    expect(client.renewalDue(env.time + 45 * MINUTE)).toBe(true);
  });

  it('that a service refused are dropped, and due at once', () => {
    const { client, mon } = connected();
    client.dropTicket(ENTITY_TYPE.OSD);
    expect(client.hasTicket(ENTITY_TYPE.OSD)).toBe(false);
    expect(client.renewalDue(env.time)).toBe(true);
    expect(() => client.serviceAuth(ENTITY_TYPE.OSD)).toThrow(
      expect.objectContaining({ code: 'EACCES', retryable: true, target: 'osd' }),
    );
    renew(client, mon);
    accepted(client.serviceAuth(ENTITY_TYPE.OSD), server.serviceAuthServer(ENTITY_TYPE.OSD));
    expect(client.renewalDue(env.time)).toBe(false);
  });

  it('of a client that was never at a monitor are neither there nor due', () => {
    const client = newClient();
    expect(client.renewalDue(env.time)).toBe(false);
    expect(client.nextRenewal()).toBeUndefined();
    expect(() => client.buildRenewal()).toThrow(expect.objectContaining({ code: 'EACCES' }));
    expect(() => client.onRenewalReply(0, new Uint8Array(0))).toThrow(
      expect.objectContaining({ code: 'EPROTO' }),
    );
  });

  it('expire', () => {
    const { client } = connected();
    env.time += HOUR;
    expect(client.hasTicket(ENTITY_TYPE.OSD)).toBe(false);
    expect(client.hasTicket(ENTITY_TYPE.AUTH)).toBe(true);
  });

  it('are refused in a renewal after 72 hours without one; the monitor takes the client back anew', () => {
    const { client, mon } = connected();
    env.time += 72 * HOUR;
    const stale = client.buildRenewal();
    expect(decodeFirst(authenticateMessage, stale.subarray(2)).oldTicket.blob.length).toBe(96);
    const answer = mon.renew(stale);
    // The secret that sealed the old ticket is kept for one more generation, as in Ceph: this one is still good.
    expect(answer.result).toBe(0);
    client.onRenewalReply(answer.result, answer.payload);
    env.time += 500 * HOUR;
    const refusedRenewal = mon.renew(client.buildRenewal());
    expect(refusedRenewal.result).toBe(-13);
    expect(() => client.onRenewalReply(refusedRenewal.result, refusedRenewal.payload)).toThrow(
      expect.objectContaining({ code: 'EACCES', retryable: true }),
    );
  });

  it('are not renewed for who is not authenticated, nor for unknown requests', () => {
    const { client, mon } = connected();
    const request = client.buildRenewal();
    expect(server.monAuthServer().renew(request).result).toBe(-13);
    expect(mon.renew(new Uint8Array(0)).result).toBe(-13);
    expect(mon.renew(new Uint8Array([0, CEPHX_REQUEST.GET_ROTATING_KEY >> 8])).result).toBe(-22);
  });

  it('issued before a rotation open after it, and no longer after the next but one', () => {
    server = newServer({ serviceTicketTtlMs: HOUR, monTicketTtlMs: 1000 * HOUR });
    const secrets = server.rotatingSecrets(ENTITY_TYPE.OSD);
    const versions = [secrets.version];
    const issuedWith = secrets.current.id;
    for (let hours = 0; hours < 6; hours++) {
      env.time += HOUR;
      server.rotate();
      versions.push(secrets.version);
    }
    // Generations 1, 2, 3 from the start: the second is in use for two lives, then one more per life.
    expect(versions).toEqual([3n, 3n, 4n, 5n, 6n, 7n, 8n]);
    expect(secrets.find(issuedWith)).toBeUndefined();
    expect(secrets.find(8n)).toBeDefined();
  });
});

describe('damage', () => {
  type Ends = readonly [AuthClient, AuthServer];

  /** Damages each byte of each frame of a handshake in turn, and cuts each frame everywhere. */
  function everyByte(start: () => Ends, frames: readonly Uint8Array[], conMode: number): number {
    let survivors = 0;
    frames.forEach((frame, number) => {
      for (let place = 0; place < frame.length; place++) {
        const tamper = (at: number, bytes: Uint8Array) => {
          if (at === number && place < bytes.length) {
            bytes[place] = (bytes[place] as number) ^ (1 << ((place * 5) % 8));
          }
          return bytes;
        };
        try {
          const outcome = authenticate(...start(), { conMode, tamper });
          if (!('refused' in outcome)) survivors++;
        } catch (error) {
          expect(error).toMatchObject({ errno: expect.any(Number), code: expect.any(String) });
          expect((error as Error).name).toMatch(/^(RadosError|ProtocolError|DecodeError)$/);
        }
      }
      // And cut anywhere.
      for (let cut = 0; cut < frame.length; cut++) {
        const tamper = (at: number, bytes: Uint8Array) =>
          at === number ? bytes.subarray(0, cut) : bytes;
        try {
          expect(authenticate(...start(), { conMode, tamper })).toHaveProperty('refused');
        } catch (error) {
          expect((error as Error).name).toMatch(/^(RadosError|ProtocolError|DecodeError)$/);
        }
      }
    });
    return survivors;
  }

  it.each(KEY_TYPES)('of a monitor handshake never crashes either side (%s)', (_name, keyType) => {
    key = CryptoKey.generate(env.random, { sec: 1, nsec: 0 }, keyType);
    server = newServer({ keyType });
    const start = (): Ends => [newClient().monAuth(), server.monAuthServer()];
    const { frames } = accepted(...start(), { conMode: CON_MODE.SECURE });
    everyByte(start, frames, CON_MODE.SECURE);
  });

  it.each(KEY_TYPES)('of an OSD handshake never crashes either side (%s)', (_name, keyType) => {
    key = CryptoKey.generate(env.random, { sec: 1, nsec: 0 }, keyType);
    server = newServer({ keyType });
    const { client } = connected();
    const start = (): Ends => [
      client.serviceAuth(ENTITY_TYPE.OSD),
      server.serviceAuthServer(ENTITY_TYPE.OSD),
    ];
    const { frames } = accepted(...start(), { conMode: CON_MODE.SECURE });
    const survivors = everyByte(start, frames, CON_MODE.SECURE);
    // With MACs nothing passes but what nobody looks at: some version bytes.
    if (keyType === KEY_TYPE.AES256KRB5) expect(survivors).toBeLessThan(6);
  });

  it('of a renewal never crashes either side', () => {
    const { client, mon } = connected();
    const request = client.buildRenewal();
    for (let at = 0; at < request.length; at++) {
      const changed = new Uint8Array(request);
      changed[at] = (changed[at] as number) ^ 0x5a;
      expect(() => mon.renew(changed)).not.toThrow();
      expect(() => mon.renew(request.subarray(0, at))).not.toThrow();
    }
    const reply = mon.renew(request).payload;
    for (let at = 0; at < reply.length; at++) {
      for (const damaged of [
        reply.subarray(0, at),
        reply.map((byte, i) => (i === at ? byte ^ 0x5a : byte)),
      ]) {
        client.buildRenewal();
        try {
          client.onRenewalReply(0, damaged);
        } catch (error) {
          expect((error as Error).name).toMatch(/^(RadosError|ProtocolError|DecodeError)$/);
        }
        accepted(client.monAuth(), server.monAuthServer());
      }
    }
  });

  it('of random bytes in place of any frame never crashes either side', () => {
    const { client } = connected();
    for (let round = 0; round < 2000; round++) {
      const number = round % 4;
      const tamper = (at: number, bytes: Uint8Array) =>
        at === number ? env.random.bytes(env.random.u32() % 200) : bytes;
      for (const [dialler, acceptor] of [
        [newClient().monAuth(), server.monAuthServer()],
        [client.serviceAuth(ENTITY_TYPE.OSD), server.serviceAuthServer(ENTITY_TYPE.OSD)],
      ] as const) {
        try {
          expect(authenticate(dialler, acceptor, { tamper })).toHaveProperty('refused');
        } catch (error) {
          expect((error as Error).name).toMatch(/^(RadosError|ProtocolError|DecodeError)$/);
        }
      }
    }
  });
});

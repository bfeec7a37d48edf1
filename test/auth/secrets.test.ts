// Goal: no secret shows when anything of authentication is printed, logged or serialized. Method: canaries. Every key that
// takes part is known here, and each object, result and error is searched for it in all its disguises.

import { beforeEach, describe, expect, it } from 'vitest';
import { parseCephConf, resolveClientConfig } from '../../src/auth/ceph-conf.js';
import { CephxClient } from '../../src/auth/cephx-client.js';
import { authorizeReply, serviceTicket } from '../../src/auth/cephx-messages.js';
import { CephxKeyServer } from '../../src/auth/cephx-server.js';
import { CryptoKey, Secret } from '../../src/auth/crypto-key.js';
import { Keyring } from '../../src/auth/keyring.js';
import { CON_MODE, type ConnectionKeys } from '../../src/auth/method.js';
import { decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { ENTITY_TYPE, parseAuthEntity } from '../../src/encoding/entity.js';
import {
  accepted,
  authenticate,
  disguises,
  printed,
  type TestEnvironment,
  testEnvironment,
} from './support.js';

const ADMIN = parseAuthEntity('client.admin');
const CAPS = { mon: 'allow *', osd: 'allow *' };

let env: TestEnvironment;
let key: CryptoKey;
let server: CephxKeyServer;
let client: CephxClient;
/** Every random byte string that was drawn: session keys, service secrets, connection secrets. */
let drawn: Uint8Array[];

beforeEach(() => {
  env = testEnvironment(77);
  drawn = [];
  const { bytes } = env.random;
  env.random.bytes = (length) => {
    const result = bytes(length);
    if (length >= 16) drawn.push(result);
    return result;
  };
  key = CryptoKey.generate(env.random, { sec: 1, nsec: 0 });
  server = new CephxKeyServer(env);
  server.setEntity(ADMIN, { key, caps: CAPS });
  client = new CephxClient(env, { entity: ADMIN, key });
});

function expectNoSecretIn(value: unknown): void {
  const text = printed(value);
  expect(drawn.length).toBeGreaterThan(10);
  // The long-lived ones, and those of the latest handshakes.
  for (const secret of new Set([...drawn.slice(0, 24), ...drawn.slice(-24)])) {
    for (const disguise of disguises(secret)) {
      if (text.includes(disguise)) throw new Error(`a secret shows as ${disguise} in ${text}`);
    }
  }
}

it('the canary sings: a secret that does show is found, in each disguise', () => {
  for (const shown of [
    { raw: key.reveal() },
    { base64: key.toBase64() },
    { hex: Buffer.from(key.reveal()).toString('hex') },
    { text: Buffer.from(key.reveal()).toString('latin1') },
    new Error(`bad key ${key.toBase64()}`),
    new Error('outer', { cause: new Error(`bad key ${key.toBase64()}`) }),
  ]) {
    expect(() => expectNoSecretIn(shown), printed(shown)).toThrow(/a secret shows/);
  }
});

describe('nothing secret shows in', () => {
  it('keys, and structures that hold them', () => {
    const ticket = { sessionKey: key, validity: { sec: 5, nsec: 0 } };
    expectNoSecretIn(decodeAll('ticket', serviceTicket, encodeWith(serviceTicket, ticket)));
    const reply = { noncePlusOne: 5n, connectionSecret: new Secret(key.reveal()) };
    expectNoSecretIn(decodeAll('reply', authorizeReply, encodeWith(authorizeReply, reply)));
    expectNoSecretIn([key, new Map([[key, { key }]]), new Set([key])]);
    expectNoSecretIn(`${key} ${String(new Secret(key.reveal()))}`);
  });

  it('clients, servers, handshakes and their results', () => {
    const mon = server.monAuthServer();
    const monHandshake = client.monAuth();
    const monDone = accepted(monHandshake, mon, { conMode: CON_MODE.SECURE });
    const osd = server.serviceAuthServer(ENTITY_TYPE.OSD);
    const osdHandshake = client.serviceAuth(ENTITY_TYPE.OSD);
    const osdDone = accepted(osdHandshake, osd, { conMode: CON_MODE.SECURE });
    client.buildRenewal();
    for (const thing of [server, client, mon, monHandshake, osd, osdHandshake]) {
      expectNoSecretIn(thing);
      expectNoSecretIn({ ...thing });
    }
    for (const result of [monDone.client, monDone.server, osdDone.client, osdDone.server]) {
      expectNoSecretIn(result);
      expectNoSecretIn({ ...result });
      expect((result as ConnectionKeys).sessionKey).toHaveLength(16);
      expect((result as ConnectionKeys).connectionSecret).toHaveLength(64);
    }
    expectNoSecretIn(server.rotatingSecrets(ENTITY_TYPE.OSD));
  });

  it('errors of damaged handshakes', () => {
    let errors = 0;
    accepted(client.monAuth(), server.monAuthServer());
    for (let place = 0; place < 200; place++) {
      const tamper = (_frame: number, bytes: Uint8Array) =>
        bytes.map((byte, i) => (i === place % 100 ? byte ^ (1 << (place % 8)) : byte));
      const only = (wanted: number) => (frame: number, bytes: Uint8Array) =>
        frame === wanted ? tamper(frame, bytes) : bytes;
      for (const [dialler, acceptor] of [
        [client.monAuth(), server.monAuthServer()],
        [client.serviceAuth(ENTITY_TYPE.OSD), server.serviceAuthServer(ENTITY_TYPE.OSD)],
      ] as const) {
        try {
          expectNoSecretIn(
            authenticate(dialler, acceptor, { tamper: only(3), conMode: CON_MODE.SECURE }),
          );
        } catch (error) {
          errors++;
          expectNoSecretIn(error);
        }
      }
    }
    expect(errors).toBeGreaterThan(50);
  });

  it('configurations and keyrings, and errors about them', async () => {
    const base64 = key.toBase64();
    const confText = `[global]\nmon host = 10.0.0.1\nkey = ${base64}\n`;
    expectNoSecretIn(parseCephConf(confText));
    env.fileContents.set('/etc/ceph/ceph.conf', confText);
    const config = await resolveClientConfig(env, { overrides: { key: base64 } });
    expectNoSecretIn(config);
    expect(config.get('key')).toBeUndefined();
    expect(config.get(' key ')).toBeUndefined();
    expectNoSecretIn(Keyring.parse(`[client.admin]\nkey = ${base64}\n`, 'x'));

    const line = `key = ${base64}`;
    for (const text of [
      line,
      `[client.admin]\n${line}`,
      `[client.admin]\nKEY = ${base64}\n`,
      `[client.admin]\n${line}x\n`,
      `[client.admin]\nkey = "${base64}" ${base64}\n`,
      `[client.admin]\n${base64}\n`,
      `[${base64}]\n${line}\n`.slice(0, -1),
    ]) {
      for (const parse of [
        () => Keyring.parse(text, 'keyring'),
        () => parseCephConf(text),
        () => CryptoKey.fromBase64(text),
      ]) {
        try {
          expectNoSecretIn(parse());
        } catch (error) {
          expectNoSecretIn(error);
        }
      }
    }
    env.fileContents.set('/kf', `${base64}${base64}`);
    await expect(
      resolveClientConfig(env, { keyfile: '/kf', overrides: { key: '' } }).catch(
        (error: unknown) => {
          expectNoSecretIn(error);
          throw error;
        },
      ),
    ).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

/** Handshakes that go another way than they may, at both ends: every frame in every phase in which it has no business. */

import { CON_MODE } from '../../src/auth/method.js';
import { encodeWith } from '../../src/encoding/codec.js';
import { ADDR_TYPE, ENTITY_TYPE, type EntityAddr } from '../../src/encoding/entity.js';
import { FEATURES_SUPPORTED } from '../../src/messages/features.js';
import {
  authBadMethod,
  authDone,
  authRequest,
  authSignature,
  clientIdent,
  hello,
  identMissingFeatures,
  serverIdent,
  TAG,
  tagName,
} from '../../src/msgr/control-frames.js';
import { ClientHandshake, type HandshakeIo, ServerHandshake } from '../../src/msgr/handshake.js';
import { BOTH_MODES, CRC_ONLY, noneAuth, v2Addr } from '../support/messengers.js';
import { type HostileCase, refusalOf } from './case.js';

type Role = 'client' | 'server';
type Phase = 'hello' | 'auth' | 'signature' | 'ident' | 'ready';
interface Frame {
  readonly tag: number;
  readonly payload: Uint8Array;
}

const TARGET = v2Addr(3300);
const PEER: EntityAddr = { type: ADDR_TYPE.MSGR2, nonce: 0, host: '10.0.0.5', port: 40_123 };
const PHASES: readonly Phase[] = ['hello', 'auth', 'signature', 'ident', 'ready'];
const NO_BYTES = new Uint8Array(0);

/** An honest pair that stops when one end has come to a phase. */
class Pair {
  readonly client: ClientHandshake;
  readonly server: ServerHandshake;
  readonly #toClient: Frame[] = [];
  readonly #toServer: Frame[] = [];

  constructor() {
    const auth = noneAuth();
    const clientAuth = auth.client();
    this.client = new ClientHandshake(io(this.#toServer), {
      ...{ target: TARGET, expectedType: ENTITY_TYPE.MON, modes: CRC_ONLY, nonce: 4711 },
      ...{ auth: [() => clientAuth.monAuth()], gid: () => -1n, globalSeq: 1n },
    });
    this.server = new ServerHandshake(io(this.#toClient), {
      ...{ entityType: ENTITY_TYPE.MON, addrs: [TARGET], gid: 0n, methods: auth.methods },
      ...{ modes: BOTH_MODES, authServer: () => auth.server(ENTITY_TYPE.MON), peerAddr: PEER },
    });
    this.client.onBanner();
    this.server.onBanner();
  }

  until(role: Role, phase: Phase): this {
    while (this[role].phaseName !== phase) {
      const toServer = this.#toServer.shift();
      if (toServer) this.server.onControl(toServer.tag, toServer.payload);
      if (this[role].phaseName === phase) return this;
      const toClient = this.#toClient.shift();
      if (toClient) this.client.onControl(toClient.tag, toClient.payload);
      if (!toServer && !toClient) throw new Error(`${role} does not come to ${phase}`);
    }
    return this;
  }
}

function io(outbox: Frame[]): HandshakeIo {
  return {
    sendControl: (tag, payload) => outbox.push({ tag, payload }),
    takeReceived: () => NO_BYTES,
    takeSent: () => NO_BYTES,
    enableSecureMode: () => {},
    onReady: () => {},
  };
}

/** What may come in a phase, whatever is in it. */
const ALLOWED: Readonly<Record<Role, Readonly<Record<Phase, readonly number[]>>>> = {
  client: {
    hello: [TAG.HELLO],
    auth: [TAG.AUTH_BAD_METHOD, TAG.AUTH_REPLY_MORE, TAG.AUTH_DONE],
    signature: [TAG.AUTH_SIGNATURE],
    ident: [TAG.SERVER_IDENT, TAG.IDENT_MISSING_FEATURES],
    ready: [],
  },
  server: {
    hello: [TAG.HELLO],
    // AUTH_REQUEST_MORE has to follow an AUTH_REQUEST.
    auth: [TAG.AUTH_REQUEST],
    signature: [TAG.AUTH_SIGNATURE],
    ident: [TAG.COMPRESSION_REQUEST, TAG.SESSION_RECONNECT, TAG.CLIENT_IDENT],
    ready: [],
  },
};

const OUT_OF_PHASE = (['client', 'server'] as const).flatMap((role) =>
  PHASES.flatMap((phase) =>
    Object.values(TAG)
      .filter((tag) => tag !== TAG.MESSAGE && !ALLOWED[role][phase].includes(tag))
      .map(
        (tag): HostileCase => ({
          name: `handshake: ${tagName(tag)} to a ${role} in phase ${phase}`,
          expect: `EPROTO: ${tagName(tag)} frame in handshake phase ${phase}`,
          act: () => {
            const pair = new Pair().until(role, phase);
            return refusalOf(() => pair[role].onControl(tag, NO_BYTES));
          },
        }),
      ),
  ),
);

function wrong(role: Role, phase: Phase, name: string, frame: Frame, expect: string): HostileCase {
  return {
    name: `handshake: ${name} to a ${role}`,
    expect,
    act: () => {
      const pair = new Pair().until(role, phase);
      return refusalOf(() => pair[role].onControl(frame.tag, frame.payload));
    },
  };
}

const frame = (tag: number, payload: Uint8Array): Frame => ({ tag, payload });
const done = (conMode: number, payload = NO_BYTES) =>
  frame(TAG.AUTH_DONE, encodeWith(authDone, { globalId: 1n, conMode, payload }));
const badMethod = (result: number, allowedMethods: number[]) =>
  frame(
    TAG.AUTH_BAD_METHOD,
    encodeWith(authBadMethod, { method: 1, result, allowedMethods, allowedModes: [1] }),
  );
const sIdent = (change: object) =>
  frame(
    TAG.SERVER_IDENT,
    encodeWith(serverIdent, {
      ...{ addrs: [TARGET], gid: 0n, globalSeq: 1n, featuresSupported: FEATURES_SUPPORTED },
      ...{ featuresRequired: 0n, flags: 1n, cookie: 0n },
      ...change,
    }),
  );
const cIdent = (change: object) =>
  frame(
    TAG.CLIENT_IDENT,
    encodeWith(clientIdent, {
      ...{ addrs: [PEER], targetAddr: TARGET, gid: 1n, globalSeq: 1n, cookie: 0n, flags: 1n },
      ...{ featuresSupported: FEATURES_SUPPORTED, featuresRequired: 0n },
      ...change,
    }),
  );
const TRUNCATED: readonly (readonly [Role, Phase, number])[] = [
  ['client', 'hello', TAG.HELLO],
  ['client', 'auth', TAG.AUTH_DONE],
  ['client', 'auth', TAG.AUTH_BAD_METHOD],
  ['client', 'auth', TAG.AUTH_REPLY_MORE],
  ['client', 'signature', TAG.AUTH_SIGNATURE],
  ['client', 'ident', TAG.SERVER_IDENT],
  ['client', 'ident', TAG.IDENT_MISSING_FEATURES],
  ['server', 'hello', TAG.HELLO],
  ['server', 'auth', TAG.AUTH_REQUEST],
  ['server', 'signature', TAG.AUTH_SIGNATURE],
  ['server', 'ident', TAG.CLIENT_IDENT],
];

const CONTENTS: readonly HostileCase[] = [
  ...TRUNCATED.map(([role, phase, tag]) =>
    wrong(role, phase, `an empty ${tagName(tag)}`, frame(tag, NO_BYTES), 'EPROTO: needs'),
  ),
  ...TRUNCATED.map(([role, phase, tag]) =>
    wrong(
      role,
      phase,
      `a ${tagName(tag)} of ones`,
      frame(tag, new Uint8Array(200).fill(255)),
      'EPROTO: ',
    ),
  ),
  wrong(
    'client',
    'hello',
    'HELLO of an OSD',
    frame(TAG.HELLO, encodeWith(hello, { entityType: ENTITY_TYPE.OSD, peerAddr: PEER })),
    'EPROTO: expected mon, found osd',
  ),
  wrong(
    'client',
    'hello',
    'HELLO of a client',
    frame(TAG.HELLO, encodeWith(hello, { entityType: ENTITY_TYPE.CLIENT, peerAddr: PEER })),
    'EPROTO: expected mon, found client',
  ),
  wrong(
    'client',
    'auth',
    'AUTH_DONE in secure mode, which was not offered',
    done(CON_MODE.SECURE),
    'EPROTO: the peer chose connection mode 2, which was not offered',
  ),
  wrong(
    'client',
    'auth',
    'AUTH_DONE in mode 0',
    done(0),
    'EPROTO: the peer chose connection mode 0, which was not offered',
  ),
  wrong(
    'client',
    'auth',
    'AUTH_DONE in mode 2^32 - 1',
    done(2 ** 32 - 1),
    'EPROTO: the peer chose connection mode 4294967295, which was not offered',
  ),
  wrong('client', 'auth', 'a refusal without a reason', badMethod(0, [1]), 'EACCES: '),
  wrong('client', 'auth', 'a refusal of the only method', badMethod(-95, [2]), 'EOPNOTSUPP: '),
  wrong('client', 'auth', 'a refusal that allows nothing', badMethod(-13, []), 'EACCES: '),
  wrong(
    'client',
    'signature',
    'a signature without a key',
    frame(TAG.AUTH_SIGNATURE, encodeWith(authSignature, { signature: new Uint8Array(32).fill(1) })),
    'EKEYREJECTED: the peer signed other bytes',
  ),
  wrong(
    'client',
    'ident',
    'SERVER_IDENT of another daemon',
    sIdent({ addrs: [v2Addr(3301)] }),
    'EPROTO: the daemon at v2:127.0.0.1:3300/0 says that it is v2:127.0.0.1:3301/0',
  ),
  wrong(
    'client',
    'ident',
    'SERVER_IDENT without an address',
    sIdent({ addrs: [] }),
    'EPROTO: the daemon at v2:127.0.0.1:3300/0 says that it is ',
  ),
  wrong(
    'client',
    'ident',
    'SERVER_IDENT that requires every feature',
    sIdent({ featuresRequired: 2n ** 64n - 1n }),
    'EOPNOTSUPP: ',
  ),
  wrong(
    'client',
    'ident',
    'IDENT_MISSING_FEATURES of all features',
    frame(
      TAG.IDENT_MISSING_FEATURES,
      encodeWith(identMissingFeatures, { missing: 2n ** 64n - 1n }),
    ),
    'EOPNOTSUPP: the daemon requires features 0xffffffffffffffff',
  ),
  wrong(
    'server',
    'signature',
    'a signature without a key',
    frame(TAG.AUTH_SIGNATURE, encodeWith(authSignature, { signature: new Uint8Array(32).fill(1) })),
    'EKEYREJECTED: the peer signed other bytes',
  ),
  wrong(
    'server',
    'ident',
    'CLIENT_IDENT without an address',
    cIdent({ addrs: [] }),
    'EPROTO: CLIENT_IDENT without an address',
  ),
  wrong(
    'server',
    'ident',
    'CLIENT_IDENT with an address of no host',
    cIdent({ addrs: [{ ...PEER, host: '' }] }),
    'EPROTO: CLIENT_IDENT without an address',
  ),
  wrong(
    'server',
    'ident',
    'CLIENT_IDENT for another daemon',
    cIdent({ targetAddr: v2Addr(3301) }),
    'EPROTO: the peer looks for v2:127.0.0.1:3301/0, not for mon.0',
  ),
  {
    name: 'handshake: refusals without end to a server',
    expect: 'EPROTO: authentication goes round in circles',
    act: () => {
      const pair = new Pair().until('server', 'auth');
      const payload = encodeWith(authRequest, { method: 99, modes: [1], payload: NO_BYTES });
      return refusalOf(() => {
        for (let round = 0; round < 20; round++) pair.server.onControl(TAG.AUTH_REQUEST, payload);
      });
    },
  },
];

export const HANDSHAKE_CASES: readonly HostileCase[] = [...OUT_OF_PHASE, ...CONTENTS];

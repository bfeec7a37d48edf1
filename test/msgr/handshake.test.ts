// Goal: the handshake goes through in every honest combination, and no other way. Method: both state machines, without
// sockets, with a queue of frames between them that the tests stop at any phase and tamper with.

import { describe, expect, it } from 'vitest';

import {
  AUTH_METHOD,
  type AuthClient,
  CON_MODE,
  type ConnectionKeys,
} from '../../src/auth/method.js';
import { NoneClient } from '../../src/auth/none.js';
import { isRadosError, ProtocolError } from '../../src/base/errors.js';
import { type Codec, decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { DecodeError } from '../../src/encoding/decoder.js';
import { ADDR_TYPE, ENTITY_TYPE } from '../../src/encoding/entity.js';
import { FEATURES_SUPPORTED } from '../../src/messages/features.js';
import {
  authBadMethod,
  authDone,
  authMore,
  authRequest,
  authSignature,
  clientIdent,
  compressionDone,
  hello,
  identMissingFeatures,
  serverIdent,
  sessionReset,
  TAG,
  tagName,
} from '../../src/msgr/control-frames.js';
import {
  ClientHandshake,
  type ClientHandshakeOptions,
  type HandshakeIo,
  type PeerInfo,
  ServerHandshake,
  type ServerHandshakeOptions,
} from '../../src/msgr/handshake.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';
import {
  ADMIN,
  BOTH_MODES,
  CRC_ONLY,
  cephxAuth,
  noneAuth,
  SECURE_ONLY,
  v2Addr,
} from '../support/messengers.js';

interface Frame {
  tag: number;
  payload: Uint8Array;
}

/** One end: its machine, what it wants to send, and the raw bytes that crossed for the signature. */
class End {
  readonly outbox: Frame[] = [];
  readonly sent: Uint8Array[] = [];
  readonly received: Uint8Array[] = [];
  secret: Uint8Array | undefined;
  peer: PeerInfo | undefined;
  machine!: ClientHandshake | ServerHandshake;

  readonly io: HandshakeIo = {
    sendControl: (tag, payload) => {
      this.outbox.push({ tag, payload });
      this.sent.push(raw({ tag, payload }));
    },
    takeReceived: () => Buffer.concat(this.received),
    takeSent: () => Buffer.concat(this.sent),
    enableSecureMode: (secret) => {
      this.secret = secret;
    },
    onReady: (peer) => {
      this.peer = peer;
    },
  };

  accept(frame: Frame): void {
    this.received.push(raw(frame));
    this.machine.onControl(frame.tag, frame.payload);
  }
}

const raw = ({ tag, payload }: Frame): Uint8Array => Buffer.concat([Uint8Array.of(tag), payload]);

const TARGET = v2Addr(3300);

interface PairOptions {
  client?: Partial<ClientHandshakeOptions>;
  server?: Partial<ServerHandshakeOptions>;
  /** Changes, replaces or drops what crosses the wire. */
  tamper?: (frame: Frame, from: 'client' | 'server') => Frame | undefined;
}

class Pair {
  readonly client = new End();
  readonly server = new End();
  readonly tags: string[] = [];
  readonly #tamper: NonNullable<PairOptions['tamper']>;

  constructor(options: PairOptions = {}) {
    const auth = noneAuth();
    const clientAuth = auth.client();
    this.#tamper = options.tamper ?? ((frame) => frame);
    this.client.machine = new ClientHandshake(this.client.io, {
      target: TARGET,
      expectedType: ENTITY_TYPE.MON,
      auth: [() => clientAuth.monAuth()],
      modes: CRC_ONLY,
      gid: () => -1n,
      nonce: 4711,
      globalSeq: 1n,
      ...options.client,
    });
    this.server.machine = new ServerHandshake(this.server.io, {
      entityType: ENTITY_TYPE.MON,
      addrs: [TARGET],
      gid: 0n,
      methods: auth.methods,
      modes: BOTH_MODES,
      authServer: () => auth.server(ENTITY_TYPE.MON),
      peerAddr: { type: ADDR_TYPE.MSGR2, nonce: 0, host: '10.0.0.5', port: 40_123 },
      ...options.server,
    });
    this.client.machine.onBanner();
    this.server.machine.onBanner();
  }

  /** Carries frames both ways, one at a time, until `stop` or until there are none. */
  run(stop: () => boolean = () => false): this {
    while (!stop()) {
      if (!this.#carry(this.client, this.server, 'client', stop)) {
        if (stop() || !this.#carry(this.server, this.client, 'server', stop)) return this;
      }
    }
    return this;
  }

  #carry(from: End, to: End, name: 'client' | 'server', stop: () => boolean): boolean {
    const frame = from.outbox.shift();
    if (!frame || stop()) return false;
    this.tags.push(`${name} ${tagName(frame.tag)}`);
    const arriving = this.#tamper(frame, name);
    if (arriving) to.accept(arriving);
    return true;
  }
}

function errorOf(run: () => unknown): Error & { code?: string } {
  try {
    run();
  } catch (error) {
    return error as Error & { code?: string };
  }
  throw new Error('nothing was thrown');
}

/** Rewrites one kind of frame from one end. */
function rewrite<T>(
  from: 'client' | 'server',
  tag: number,
  codec: Codec<T>,
  change: (value: T) => T,
): NonNullable<PairOptions['tamper']> {
  return (frame, sender) =>
    sender === from && frame.tag === tag
      ? { tag, payload: encodeWith(codec, change(decodeAll('frame', codec, frame.payload))) }
      : frame;
}

function cephxPair(options: PairOptions & { modes?: readonly number[] } = {}) {
  const world = new VirtualWorld();
  const auth = cephxAuth(world.env);
  const client = auth.client();
  const pair = new Pair({
    ...options,
    client: { auth: [() => client.monAuth()], modes: options.modes ?? CRC_ONLY, ...options.client },
    server: {
      methods: auth.methods,
      authServer: () => auth.server(ENTITY_TYPE.MON),
      ...options.server,
    },
  });
  return { world, auth, client, pair };
}

describe('an honest handshake', () => {
  it('without authentication tells both sides who the other is', () => {
    const { client, server, tags } = new Pair().run();
    expect(server.peer).toMatchObject({
      entityType: ENTITY_TYPE.CLIENT,
      globalId: 4100n,
      gid: 4100n,
      secure: false,
      entity: ADMIN,
      caps: 'allow *',
      seenAs: TARGET,
    });
    expect(client.peer).toMatchObject({
      entityType: ENTITY_TYPE.MON,
      globalId: 4100n,
      gid: 0n,
      addrs: [TARGET],
      features: FEATURES_SUPPORTED,
      seenAs: { host: '10.0.0.5', port: 40_123 },
    });
    expect(server.peer?.addrs).toEqual([
      { type: ADDR_TYPE.ANY, nonce: 4711, host: '10.0.0.5', port: 0 },
    ]);
    expect([...tags].sort()).toEqual([
      'client AUTH_REQUEST',
      'client AUTH_SIGNATURE',
      'client CLIENT_IDENT',
      'client HELLO',
      'server AUTH_DONE',
      'server AUTH_SIGNATURE',
      'server HELLO',
      'server SERVER_IDENT',
    ]);
  });

  it.each([
    ['crc', CRC_ONLY, BOTH_MODES, false],
    ['secure', SECURE_ONLY, BOTH_MODES, true],
    ['the first that the client prefers', [CON_MODE.SECURE, CON_MODE.CRC], BOTH_MODES, true],
    ['the first that the client prefers', BOTH_MODES, BOTH_MODES, false],
    ['the one that the server allows', BOTH_MODES, SECURE_ONLY, true],
  ] as const)('with cephx agrees on %s', (_what, modes, allowed, secure) => {
    const { pair } = cephxPair({ modes, server: { modes: allowed } });
    pair.run();
    expect(pair.client.peer?.secure).toBe(secure);
    expect(pair.server.peer?.secure).toBe(secure);
    expect(pair.client.secret).toEqual(pair.server.secret);
    expect(pair.client.secret !== undefined).toBe(secure);
  });

  it('to a daemon with a ticket carries the global id that the monitor gave', () => {
    const { auth, client, pair } = cephxPair();
    pair.run();
    const osd = new Pair({
      client: {
        expectedType: ENTITY_TYPE.OSD,
        auth: [() => client.serviceAuth(ENTITY_TYPE.OSD)],
        gid: () => client.globalId,
        modes: SECURE_ONLY,
      },
      server: {
        entityType: ENTITY_TYPE.OSD,
        gid: 3n,
        methods: auth.methods,
        authServer: () => auth.server(ENTITY_TYPE.OSD),
      },
    }).run();
    expect(osd.server.peer).toMatchObject({ gid: client.globalId, caps: 'allow *', secure: true });
    expect(osd.client.peer).toMatchObject({ gid: 3n });
  });

  it('falls back to the next method when the daemon does not know the first', () => {
    const { world } = cephxPair();
    const cephx = cephxAuth(world.env).client();
    const none = new NoneClient({ entity: ADMIN });
    const pair = new Pair({
      client: { auth: [() => cephx.monAuth(), () => none.monAuth()] },
    }).run();
    expect(pair.client.peer?.globalId).toBe(4100n);
    expect(pair.tags).toContain('server AUTH_BAD_METHOD');
  });
});

const CLIENT_EXPECTS: Record<string, readonly number[]> = {
  hello: [TAG.HELLO],
  auth: [TAG.AUTH_BAD_METHOD, TAG.AUTH_REPLY_MORE, TAG.AUTH_DONE],
  signature: [TAG.AUTH_SIGNATURE],
  ident: [TAG.SERVER_IDENT, TAG.IDENT_MISSING_FEATURES],
  ready: [],
};
const SERVER_EXPECTS: Record<string, readonly number[]> = {
  hello: [TAG.HELLO],
  auth: [TAG.AUTH_REQUEST],
  signature: [TAG.AUTH_SIGNATURE],
  ident: [TAG.CLIENT_IDENT, TAG.SESSION_RECONNECT, TAG.COMPRESSION_REQUEST],
  ready: [],
};

describe.each([
  ['client', CLIENT_EXPECTS],
  ['server', SERVER_EXPECTS],
] as const)('the %s', (role, expects) => {
  it.each(Object.keys(expects))(
    'in phase %s refuses every frame that has no place there',
    (phase) => {
      for (const tag of Object.values(TAG)) {
        const pair = new Pair();
        const end = pair[role];
        pair.run(() => end.machine.phaseName === phase);
        expect(end.machine.phaseName).toBe(phase);
        if (expects[phase]?.includes(tag)) continue;
        const error = errorOf(() => end.accept({ tag, payload: new Uint8Array(0) }));
        expect(error, tagName(tag)).toBeInstanceOf(ProtocolError);
        expect(error.message).toBe(`${tagName(tag)} frame in handshake phase ${phase}`);
        expect(end.machine.phaseName).toBe(phase);
      }
    },
  );

  it.each(Object.keys(expects).filter((phase) => phase !== 'ready'))(
    'in phase %s refuses every truncation and lengthening of what it waits for',
    (phase) => {
      const pair = new Pair();
      const end = pair[role];
      const other = role === 'client' ? pair.server : pair.client;
      pair.run(() => end.machine.phaseName === phase && other.outbox.length > 0);
      const good = other.outbox[0] as Frame;
      for (let length = 0; length <= good.payload.length + 1; length++) {
        if (length === good.payload.length) continue;
        const payload = Buffer.concat([good.payload, Buffer.alloc(1)]).subarray(0, length);
        const again = new Pair();
        again.run(() => again[role].machine.phaseName === phase);
        const error = errorOf(() => again[role].accept({ tag: good.tag, payload }));
        expect(error, `${tagName(good.tag)} of ${length}`).toBeInstanceOf(DecodeError);
      }
    },
  );
});

describe('a server', () => {
  it('refuses AUTH_REQUEST_MORE from a client that asked for nothing', () => {
    const pair = new Pair();
    pair.run(() => pair.server.machine.phaseName === 'auth');
    const payload = encodeWith(authMore, { payload: new Uint8Array(0) });
    expect(
      errorOf(() => pair.server.accept({ tag: TAG.AUTH_REQUEST_MORE, payload })),
    ).toBeInstanceOf(ProtocolError);
  });

  it('answers an unknown method, or modes that it does not allow, and waits for another request', () => {
    const pair = new Pair({ server: { modes: CRC_ONLY } });
    pair.run(() => pair.server.machine.phaseName === 'auth');
    pair.server.outbox.length = 0;
    for (const request of [
      { method: AUTH_METHOD.GSS, modes: [...CRC_ONLY], payload: new Uint8Array(0) },
      { method: AUTH_METHOD.NONE, modes: [...SECURE_ONLY], payload: new Uint8Array(0) },
      { method: AUTH_METHOD.NONE, modes: [], payload: new Uint8Array(0) },
    ]) {
      pair.server.accept({ tag: TAG.AUTH_REQUEST, payload: encodeWith(authRequest, request) });
      const answer = pair.server.outbox.shift() as Frame;
      expect(answer.tag).toBe(TAG.AUTH_BAD_METHOD);
      expect(decodeAll('x', authBadMethod, answer.payload)).toEqual({
        method: request.method,
        result: -95,
        allowedMethods: [AUTH_METHOD.NONE],
        allowedModes: [...CRC_ONLY],
      });
    }
    expect(pair.server.machine.phaseName).toBe('auth');
  });

  it('does not let authentication go round in circles', () => {
    const pair = new Pair();
    pair.run(() => pair.server.machine.phaseName === 'auth');
    const request = { method: AUTH_METHOD.GSS, modes: [1], payload: new Uint8Array(0) };
    const payload = encodeWith(authRequest, request);
    const error = errorOf(() => {
      for (let i = 0; i < 100; i++) pair.server.accept({ tag: TAG.AUTH_REQUEST, payload });
    });
    expect(error.message).toContain('round in circles');
  });

  it('never encrypts without a key: auth none is always in crc mode', () => {
    const pair = new Pair({ client: { modes: [CON_MODE.SECURE, CON_MODE.CRC] } }).run();
    expect(pair.client.peer?.secure).toBe(false);
  });

  it('answers an attempt to resume a session with a reset, a wish for compression with a refusal', () => {
    const pair = new Pair();
    pair.run(() => pair.server.machine.phaseName === 'ident');
    pair.server.outbox.length = 0;
    pair.server.accept({ tag: TAG.SESSION_RECONNECT, payload: new Uint8Array(60) });
    pair.server.accept({ tag: TAG.COMPRESSION_REQUEST, payload: new Uint8Array(5) });
    const [reset, declined] = pair.server.outbox as [Frame, Frame];
    expect([reset.tag, declined.tag]).toEqual([TAG.SESSION_RESET, TAG.COMPRESSION_DONE]);
    expect(decodeAll('x', sessionReset, reset.payload)).toEqual({ full: 1 });
    expect(decodeAll('x', compressionDone, declined.payload)).toEqual({ isCompress: 0, method: 0 });
    expect(pair.server.machine.phaseName).toBe('ident');
  });

  it('tells a client what features it lacks', () => {
    const lacking = rewrite('client', TAG.CLIENT_IDENT, clientIdent, (ident) => ({
      ...ident,
      featuresSupported: 0n,
    }));
    const pair = new Pair({ tamper: lacking });
    const error = errorOf(() => pair.run());
    expect(error.code).toBe('EOPNOTSUPP');
    expect(error.message).toContain(`0x${(1n << 59n).toString(16)}`);
    expect(pair.server.peer).toBeUndefined();
  });

  it.each([
    ['another port', { port: 3301 }],
    ['another nonce', { nonce: 1 }],
    ['messenger v1', { type: ADDR_TYPE.LEGACY }],
  ])('hangs up on a client that looks for %s', (_what, change) => {
    const pair = new Pair({
      tamper: rewrite('client', TAG.CLIENT_IDENT, clientIdent, (ident) => ({
        ...ident,
        targetAddr: { ...ident.targetAddr, ...change },
      })),
    });
    expect(errorOf(() => pair.run()).message).toMatch(/looks for .*, not for mon.0/);
  });

  it('hangs up on a client without an address', () => {
    for (const addrs of [[], [{ type: ADDR_TYPE.NONE, nonce: 0, host: '', port: 0 }]]) {
      const tamper = rewrite('client', TAG.CLIENT_IDENT, clientIdent, (ident) => ({
        ...ident,
        addrs,
      }));
      expect(errorOf(() => new Pair({ tamper }).run()).message).toContain('without an address');
    }
  });

  it('makes every session lossy, also where a client (librados at its first contact) asks for another', () => {
    let flags: bigint | undefined;
    const pair = new Pair({
      tamper: (frame, from) => {
        if (from === 'server' && frame.tag === TAG.SERVER_IDENT) {
          flags = decodeAll('x', serverIdent, frame.payload).flags;
        }
        const nonLossy = rewrite('client', TAG.CLIENT_IDENT, clientIdent, (ident) => ({
          ...ident,
          flags: 0n,
          cookie: 77n,
        }));
        return nonLossy(frame, from);
      },
    }).run();
    expect(pair.server.peer).toBeDefined();
    expect(flags).toBe(1n);
  });
});

describe('a client', () => {
  it('refuses a peer of another kind', () => {
    const tamper = rewrite('server', TAG.HELLO, hello, (value) => ({ ...value, entityType: 4 }));
    expect(errorOf(() => new Pair({ tamper }).run()).message).toBe('expected mon, found osd');
  });

  it.each([
    ['crc, offering only secure', SECURE_ONLY, CON_MODE.CRC],
    ['secure, offering only crc', CRC_ONLY, CON_MODE.SECURE],
    ['a mode that does not exist', BOTH_MODES, 7],
  ])('refuses to be put into %s', (_what, modes, chosen) => {
    const { pair } = cephxPair({
      modes,
      tamper: rewrite('server', TAG.AUTH_DONE, authDone, (done) => ({ ...done, conMode: chosen })),
    });
    const error = errorOf(() => pair.run());
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.message).toContain(`connection mode ${chosen}, which was not offered`);
    expect(pair.client.peer).toBeUndefined();
  });

  it('refuses secure mode without a secret', () => {
    const { pair } = cephxPair({
      modes: BOTH_MODES,
      tamper: rewrite('server', TAG.AUTH_DONE, authDone, (done) => ({
        ...done,
        conMode: CON_MODE.SECURE,
      })),
    });
    expect(errorOf(() => pair.run())).toBeInstanceOf(ProtocolError);
  });

  it('refuses a daemon at the right port that is not the one it dialled', () => {
    const tamper = rewrite('server', TAG.SERVER_IDENT, serverIdent, (ident) => ({
      ...ident,
      addrs: [v2Addr(3300, 99)],
    }));
    expect(errorOf(() => new Pair({ tamper }).run()).message).toBe(
      'the daemon at v2:127.0.0.1:3300/0 says that it is v2:127.0.0.1:3300/99',
    );
  });

  it('refuses a daemon that requires features beyond ours, and names them', () => {
    const tamper = rewrite('server', TAG.SERVER_IDENT, serverIdent, (ident) => ({
      ...ident,
      featuresRequired: 1n << 62n,
    }));
    const error = errorOf(() => new Pair({ tamper }).run());
    expect(error.code).toBe('EOPNOTSUPP');
    expect(error.message).toContain('0x4000000000000000');
  });

  it('says that the key or the user was refused', () => {
    const { auth } = cephxPair();
    const wrong = auth.client(auth.keys.generateKey());
    const refused = new Pair({
      client: { auth: [() => wrong.monAuth()] },
      server: { methods: auth.methods, authServer: () => auth.server(ENTITY_TYPE.MON) },
    });
    const error = errorOf(() => refused.run());
    expect(isRadosError(error, 'EACCES')).toBe(true);
    expect(error.message).toContain('the key or the user was refused');
  });

  it('says which methods the daemon allows when it has none of them', () => {
    const { world } = cephxPair();
    const cephx = cephxAuth(world.env).client();
    const error = errorOf(() => new Pair({ client: { auth: [() => cephx.monAuth()] } }).run());
    expect(error.code).toBe('EOPNOTSUPP');
    expect(error.message).toContain('allows authentication methods 1');
  });

  it('does not take a refusal without a reason for success', () => {
    const pair = new Pair();
    pair.run(() => pair.client.machine.phaseName === 'auth');
    const payload = encodeWith(authBadMethod, {
      method: AUTH_METHOD.NONE,
      result: 0,
      allowedMethods: [AUTH_METHOD.NONE],
      allowedModes: [1],
    });
    expect(errorOf(() => pair.client.accept({ tag: TAG.AUTH_BAD_METHOD, payload })).code).toBe(
      'EACCES',
    );
  });

  it('does not let a daemon ask for ever', () => {
    class Patient implements AuthClient {
      readonly method = AUTH_METHOD.CEPHX;
      initialRequest = () => new Uint8Array(0);
      onReplyMore = () => new Uint8Array(0);
      onDone(): ConnectionKeys {
        throw new Error('never');
      }
    }
    const pair = new Pair({ client: { auth: [() => new Patient()] } });
    pair.run(() => pair.client.machine.phaseName === 'auth');
    const payload = encodeWith(authMore, { payload: new Uint8Array(0) });
    const error = errorOf(() => {
      for (let i = 0; i < 100; i++) pair.client.accept({ tag: TAG.AUTH_REPLY_MORE, payload });
    });
    expect(error.message).toContain('round in circles');
  });

  it('names features that it lacks when the daemon says so', () => {
    const pair = new Pair();
    pair.run(() => pair.client.machine.phaseName === 'ident');
    const payload = encodeWith(identMissingFeatures, { missing: 1n << 33n });
    const error = errorOf(() => pair.client.accept({ tag: TAG.IDENT_MISSING_FEATURES, payload }));
    expect(error.code).toBe('EOPNOTSUPP');
    expect(error.message).toContain('0x200000000');
  });
});

describe('the signature', () => {
  const wrong = (value: { signature: Uint8Array }) => {
    const signature = value.signature.slice();
    signature[5] = (signature[5] as number) ^ 1;
    return { signature };
  };

  it.each(['client', 'server'] as const)('of the %s that is wrong ends the session', (from) => {
    const { pair } = cephxPair({ tamper: rewrite(from, TAG.AUTH_SIGNATURE, authSignature, wrong) });
    expect(errorOf(() => pair.run()).code).toBe('EKEYREJECTED');
  });

  it.each([
    ['the server changed the list of modes', 'client', TAG.AUTH_REQUEST],
    ['the client saw another address', 'server', TAG.HELLO],
  ] as const)('shows that on the way to %s', (_what, from, tag) => {
    const { pair } = cephxPair({
      modes: [CON_MODE.SECURE, CON_MODE.CRC],
      tamper: (frame, sender) => {
        if (sender !== from || frame.tag !== tag) return frame;
        if (tag === TAG.HELLO) {
          const value = decodeAll('x', hello, frame.payload);
          return {
            tag,
            payload: encodeWith(hello, {
              ...value,
              peerAddr: { ...value.peerAddr, host: '6.6.6.6' },
            }),
          };
        }
        // A man in the middle takes secure mode off the list, so that the server chooses crc.
        const value = decodeAll('x', authRequest, frame.payload);
        return { tag, payload: encodeWith(authRequest, { ...value, modes: [CON_MODE.CRC] }) };
      },
    });
    expect(errorOf(() => pair.run()).code).toBe('EKEYREJECTED');
    expect(pair.client.peer).toBeUndefined();
  });

  it('of a session without a key is zeros, and nothing else', () => {
    const tamper = rewrite('server', TAG.AUTH_SIGNATURE, authSignature, wrong);
    expect(errorOf(() => new Pair({ tamper }).run()).code).toBe('EKEYREJECTED');
  });
});

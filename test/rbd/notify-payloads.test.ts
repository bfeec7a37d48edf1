// Goal: what librbd 16.2 says is understood and said the same way, older shapes are read, and no bytes whatever do
// anything but decode or throw a ProtocolError.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../src/base/errors.js';
import { packageFile } from '../../src/base/paths.js';
import { decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { encode } from '../../src/encoding/encoder.js';
import { type SnapNamespace, snapNamespace } from '../../src/rados/cls-rbd.js';
import {
  asyncRequestId,
  clientId,
  decodeNotifyPayload,
  describeRequest,
  encodeNotifyPayload,
  isMaintenance,
  type KnownPayload,
  MAINTENANCE_OPS,
  NOTIFY_OPS,
  type NotifyOp,
  type NotifyPayload,
  responseMessage,
  sameClient,
} from '../../src/rbd/notify-payloads.js';
import { seededDraw } from '../support/codecs.js';
import { GOLDEN_RELEASES, goldenFiles, isWritten } from '../support/golden.js';

interface Capture {
  step: string;
  by: 'owner' | 'requester' | 'rbd';
  payload: string;
}

const { notifications: CAPTURES } = JSON.parse(
  readFileSync(packageFile('test/fixtures/ceph-16.2.15/notify.json'), 'utf8'),
) as { notifications: Capture[] };

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const captured = (step: string, op: string): NotifyPayload => {
  const found = CAPTURES.map((c) => ({
    ...c,
    decoded: decodeNotifyPayload(bytes(c.payload)),
  })).find((c) => c.step === step && c.decoded.op === op);
  if (!found) throw new Error(`no ${op} was captured during ${step}`);
  return found.decoded;
};

const CLIENT = { gid: 4127n, handle: 94n };
const ID = { client: CLIENT, requestId: 7n };
const USER: SnapNamespace = { type: 'user' };

/** One of each, with values that are unlike each other and unlike what absent fields decode to. */
const SAMPLES: { [Op in NotifyOp]: Extract<KnownPayload, { op: Op }> } = {
  acquiredLock: { op: 'acquiredLock', client: CLIENT },
  releasedLock: { op: 'releasedLock', client: CLIENT },
  requestLock: { op: 'requestLock', client: CLIENT, force: true },
  headerUpdate: { op: 'headerUpdate' },
  asyncProgress: { op: 'asyncProgress', id: ID, offset: 3, total: 2 ** 40 },
  asyncComplete: { op: 'asyncComplete', id: ID, result: -85 },
  flatten: { op: 'flatten', id: ID },
  resize: { op: 'resize', size: 2 ** 45, id: ID, allowShrink: false },
  snapCreate: {
    op: 'snapCreate',
    name: 'früh',
    namespace: { type: 'group', poolId: 5, groupId: 'g', groupSnapshotId: 's' },
    id: ID,
    flags: 4n,
  },
  snapRemove: {
    op: 'snapRemove',
    name: 'x',
    namespace: { type: 'trash', originalName: 'alt', originalType: 0 },
    id: ID,
  },
  rebuildObjectMap: { op: 'rebuildObjectMap', id: ID },
  snapRename: {
    op: 'snapRename',
    snapId: 0xffff_0000_1111_2222n,
    name: 'neu',
    namespace: { type: 'trash', originalName: '', originalType: 1 },
    id: ID,
  },
  snapProtect: {
    op: 'snapProtect',
    name: 'p',
    namespace: { type: 'group', poolId: -1, groupId: '', groupSnapshotId: '' },
    id: ID,
  },
  snapUnprotect: {
    op: 'snapUnprotect',
    name: 'u',
    namespace: {
      type: 'mirror',
      state: 2,
      complete: 1,
      peerUuids: ['a', 'bc'],
      primaryUuid: 'd',
      primarySnapId: 9n,
      lastCopiedObjectNo: 10n,
      snapSeqs: new Map([[1n, 2n]]),
    },
    id: ID,
  },
  rename: { op: 'rename', name: 'anders', id: ID },
  updateFeatures: { op: 'updateFeatures', features: 0x10n, enabled: true, id: ID },
  migrate: { op: 'migrate', id: ID },
  sparsify: { op: 'sparsify', id: ID, sparseSize: 4096 },
  quiesce: { op: 'quiesce', id: ID },
  unquiesce: { op: 'unquiesce', id: ID },
  metadataUpdate: { op: 'metadataUpdate', key: 'k', value: 'v', id: ID },
  cancel: { op: 'cancel', id: ID },
};

describe('notifications captured from librbd', () => {
  it('are of every operation that it knows', () => {
    const ops = new Set(CAPTURES.map((c) => decodeNotifyPayload(bytes(c.payload)).op));
    const OURS = ['cancel'];
    expect([...ops].sort()).toEqual(NOTIFY_OPS.filter((op) => !OURS.includes(op)).sort());
  });

  it('come out again as they were', () => {
    for (const { step, payload } of CAPTURES) {
      const decoded = decodeNotifyPayload(bytes(payload));
      expect(hex(encodeNotifyPayload(decoded as KnownPayload)), step).toBe(payload);
    }
  });

  it('say what was asked for', () => {
    expect(captured('resize', 'resize')).toMatchObject({ size: 32 * 2 ** 20, allowShrink: true });
    expect(captured('resize, no shrinking', 'resize')).toMatchObject({ allowShrink: false });
    expect(captured('snap create', 'snapCreate')).toMatchObject({
      name: 'eins',
      namespace: USER,
      flags: 0n,
    });
    expect(captured('snap rename', 'snapRename')).toMatchObject({ snapId: 6n, name: 'drei' });
    expect(captured('metadata set', 'metadataUpdate')).toMatchObject({
      key: 'schlüssel',
      value: 'wert',
    });
    expect(captured('metadata remove', 'metadataUpdate')).toMatchObject({ value: undefined });
    expect(captured('rename', 'rename')).toMatchObject({ name: 'renamed' });
    expect(captured('disable fast-diff', 'updateFeatures')).toMatchObject({
      features: 0x10n,
      enabled: false,
    });
    expect(captured('sparsify', 'sparsify')).toMatchObject({ sparseSize: 4096 });
    expect(captured('flatten the last clone', 'snapRemove')).toMatchObject({
      namespace: { type: 'trash', originalName: 'base', originalType: 0 },
    });
    expect(captured('write: refused', 'requestLock')).toMatchObject({ force: false });
  });

  it('have the flags of a snapshot creation where librbd has them', () => {
    expect(captured('snap create, skipping quiesce', 'snapCreate')).toMatchObject({ flags: 2n });
    expect(captured('snap create, whatever quiesce says', 'snapCreate')).toMatchObject({
      flags: 4n,
    });
  });
});

describe.skipIf(GOLDEN_RELEASES.length === 0)('golden notifications', () => {
  for (const release of GOLDEN_RELEASES) {
    it(`of ${release} decode, and those that we write come out again`, () => {
      const files = goldenFiles(release, 'librbd::watch_notify::NotifyMessage');
      expect(files.length).toBeGreaterThan(5);
      for (const file of files) {
        const decoded = decodeNotifyPayload(file.bytes);
        expect(decoded.op).not.toBe('unknown');
        if (isWritten(release)) {
          expect(hex(encodeNotifyPayload(decoded as KnownPayload))).toBe(hex(file.bytes));
        }
      }
      for (const file of goldenFiles(release, 'librbd::watch_notify::ResponseMessage')) {
        const decoded = decodeAll('ResponseMessage', responseMessage, file.bytes);
        expect(hex(encodeWith(responseMessage, decoded))).toBe(hex(file.bytes));
      }
    });
  }
});

describe('every operation', () => {
  it.each(NOTIFY_OPS)('%s says the same after a round trip', (op) => {
    expect(decodeNotifyPayload(encodeNotifyPayload(SAMPLES[op]))).toEqual(SAMPLES[op]);
  });

  it.each(NOTIFY_OPS)('%s that is cut short or changed decodes or is a ProtocolError', (op) => {
    const whole = encodeNotifyPayload(SAMPLES[op]);
    const outcome = (payload: Uint8Array): 'decoded' | 'refused' => {
      try {
        decodeNotifyPayload(payload);
        return 'decoded';
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
        return 'refused';
      }
    };
    for (let length = 1; length < whole.length; length++) {
      // The declared length then says more than there is ...
      expect(outcome(whole.slice(0, length))).toBe('refused');
      // ... and here it was written for what is left: every version may be the writer's.
      if (length < 6) continue;
      for (let version = 1; version <= 9; version++) {
        const patched = whole.slice(0, length);
        patched[0] = version;
        new DataView(patched.buffer).setUint32(2, length - 6, true);
        const result = outcome(patched);
        if (version >= 7) expect(result).toBe('refused');
      }
    }
    for (let at = 0; at < whole.length; at++) {
      for (const value of [0, 1, 0x7f, 0xff]) outcome(whole.with(at, value));
    }
  });

  it('is maintenance only where the owner of the lock has to do it', () => {
    for (const op of NOTIFY_OPS) {
      expect(isMaintenance(SAMPLES[op])).toBe((MAINTENANCE_OPS as readonly string[]).includes(op));
    }
    expect(isMaintenance({ op: 'unknown', code: 6 })).toBe(false);
  });

  it('may be longer in a later version', () => {
    for (const op of NOTIFY_OPS) {
      const whole = encodeNotifyPayload(SAMPLES[op]);
      const longer = encode((e) => e.struct(8, 1, () => e.raw(whole.subarray(6)).u64(1n)));
      expect(decodeNotifyPayload(longer)).toEqual(SAMPLES[op]);
    }
  });
});

describe('older and other clients', () => {
  const versioned = (op: NotifyOp, version: number) =>
    decodeNotifyPayload(encodeNotifyPayload(SAMPLES[op], version));

  it('update the header with an empty payload', () => {
    expect(decodeNotifyPayload(new Uint8Array(0))).toEqual({ op: 'headerUpdate' });
  });

  it('do not say who they are in version 1', () => {
    for (const op of ['acquiredLock', 'releasedLock', 'requestLock'] as const) {
      expect(encodeNotifyPayload(SAMPLES[op], 1)).toHaveLength(10);
      expect(versioned(op, 1)).toMatchObject({ client: undefined });
      expect(versioned(op, 2)).toMatchObject({ client: CLIENT });
    }
  });

  it('of the kernel ask for the lock with 26 bytes', () => {
    const payload = encodeNotifyPayload(SAMPLES.requestLock, 2);
    expect(hex(payload)).toBe('020114000000020000001f100000000000005e00000000000000');
    expect(decodeNotifyPayload(payload)).toEqual({
      op: 'requestLock',
      client: CLIENT,
      force: false,
    });
    expect(versioned('requestLock', 3)).toMatchObject({ force: true });
  });

  it('could always shrink before version 4', () => {
    expect(versioned('resize', 3)).toMatchObject({ allowShrink: true, id: ID });
    expect(versioned('resize', 4)).toMatchObject({ allowShrink: false, id: ID });
  });

  it('knew user snapshots only: to create before version 5, for the rest before version 6', () => {
    for (const op of ['snapRemove', 'snapRename', 'snapProtect', 'snapUnprotect'] as const) {
      expect(versioned(op, 5)).toEqual({ ...SAMPLES[op], namespace: USER, id: undefined });
      expect(versioned(op, 6)).toEqual({ ...SAMPLES[op], id: undefined });
    }
    const { namespace } = SAMPLES.snapCreate;
    expect(versioned('snapCreate', 4)).toMatchObject({ namespace: USER });
    for (const version of [5, 6]) {
      expect(versioned('snapCreate', version)).toMatchObject({
        namespace,
        id: undefined,
        flags: 0n,
      });
    }
  });

  it('wait for the result itself before version 7, of all but the long-running operations', () => {
    for (const op of MAINTENANCE_OPS) {
      const alwaysHadIds = ['flatten', 'resize', 'rebuildObjectMap', 'migrate', 'sparsify'];
      const expected = [...alwaysHadIds, 'metadataUpdate'].includes(op) ? ID : undefined;
      expect(versioned(op, 6), op).toHaveProperty('id', expected);
      expect(versioned(op, 7), op).toHaveProperty('id', ID);
    }
  });

  it('may leave the id all zero, which is none', () => {
    const payload = encodeNotifyPayload({ ...SAMPLES.rename, id: undefined });
    expect(hex(payload)).toContain('00'.repeat(24));
    expect(decodeNotifyPayload(payload)).toEqual({ ...SAMPLES.rename, id: undefined });
  });

  it('may know operations that we do not', () => {
    const newer = encode((e) => e.struct(9, 1, () => e.u32(21).string('neu')));
    expect(decodeNotifyPayload(newer)).toEqual({ op: 'unknown', code: 21 });
    const highest = encode((e) => e.struct(7, 1, () => e.u32(0xffff_ffff)));
    expect(decodeNotifyPayload(highest)).toEqual({ op: 'unknown', code: 0xffff_ffff });
  });

  it('may know kinds of snapshots that we do not', () => {
    const message = encode((e) =>
      e.struct(7, 1, () => {
        e.u32(9).string('x');
        e.struct(1, 1, () => e.u32(4).string('what it needs'));
        asyncRequestId.encode(e, ID);
      }),
    );
    expect(decodeNotifyPayload(message)).toEqual({
      op: 'snapRemove',
      name: 'x',
      namespace: { type: 'unknown', code: 4 },
      id: ID,
    });
    expect(() => encodeWith(snapNamespace, { type: 'unknown', code: 4 })).toThrow(TypeError);
  });

  it('may say that this version cannot read them', () => {
    const incompatible = encode((e) => e.struct(9, 8, () => e.u32(3)));
    expect(() => decodeNotifyPayload(incompatible)).toThrow(ProtocolError);
  });

  it('may say more behind the message', () => {
    const payload = Buffer.concat([encodeNotifyPayload(SAMPLES.flatten), Buffer.from('more')]);
    expect(decodeNotifyPayload(payload)).toEqual(SAMPLES.flatten);
  });
});

describe('random notifications', () => {
  it('of every kind of snapshot say the same after a round trip', () => {
    const draw = seededDraw(20_26);
    const types = new Set<string>();
    for (let i = 0; i < 500; i++) {
      const namespace = snapNamespace.sample(draw);
      types.add(namespace.type);
      const payload: KnownPayload = {
        op: 'snapCreate',
        name: `s${i}`,
        namespace,
        id: asyncRequestId.sample(draw),
        flags: BigInt(draw(2 ** 32)),
      };
      expect(decodeNotifyPayload(encodeNotifyPayload(payload))).toEqual(payload);
    }
    expect([...types].sort()).toEqual(['group', 'mirror', 'trash', 'user']);
  });

  it('that are mere noise decode or are a ProtocolError', () => {
    const draw = seededDraw(7);
    let refused = 0;
    for (let i = 0; i < 3000; i++) {
      const noise = Uint8Array.from({ length: 1 + draw(60) }, () => draw(256));
      // Half of them get past the header.
      if (noise.length >= 10 && draw(2)) {
        noise.set([draw(9), 1, noise.length - 6, 0, 0, 0, draw(24), 0, 0, 0]);
      }
      try {
        decodeNotifyPayload(noise);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1500);
    expect(refused).toBeLessThan(3000);
  });
});

describe('identities', () => {
  it('are the same only when client and watch are', () => {
    expect(sameClient(CLIENT, { ...CLIENT })).toBe(true);
    expect(sameClient(CLIENT, { ...CLIENT, handle: 1n })).toBe(false);
    expect(sameClient(CLIENT, { ...CLIENT, gid: 1n })).toBe(false);
    expect(sameClient(CLIENT, undefined)).toBe(false);
  });

  it('read as in the logs of librbd', () => {
    expect(describeRequest(ID)).toBe('[4127,94,7]');
    expect(decodeAll('ClientId', clientId, encodeWith(clientId, CLIENT))).toEqual(CLIENT);
  });
});

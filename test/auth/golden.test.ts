// Goal: our declarations of cephx's types are Ceph's. Method: every golden file of every release decodes to its last byte
// and encodes to the same bytes again (all fields are kept, so this holds for newer releases too).

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  authCapsInfo,
  authenticate,
  authorize,
  authorizeChallenge,
  authorizeReply,
  authTicket,
  capsInfo,
  capsText,
  challengeBlob,
  requestHeader,
  responseHeader,
  serverChallenge,
  serviceTicket,
  serviceTicketInfo,
  serviceTicketRequest,
  ticketBlob,
} from '../../src/auth/cephx-messages.js';
import { type Codec, decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { authEntity } from '../../src/encoding/entity.js';

const GOLDEN = '/work/shared/golden';

const TYPES: Record<string, Codec<unknown>> = {
  AuthCapsInfo: authCapsInfo,
  AuthTicket: authTicket,
  CephXAuthenticate: authenticate,
  CephXAuthorize: authorize,
  CephXAuthorizeChallenge: authorizeChallenge,
  CephXAuthorizeReply: authorizeReply,
  CephXChallengeBlob: challengeBlob,
  CephXRequestHeader: requestHeader,
  CephXResponseHeader: responseHeader,
  CephXServerChallenge: serverChallenge,
  CephXServiceTicket: serviceTicket,
  CephXServiceTicketInfo: serviceTicketInfo,
  CephXServiceTicketRequest: serviceTicketRequest,
  CephXTicketBlob: ticketBlob,
  EntityName: authEntity,
};

function codecOf(type: string): Codec<unknown> {
  const codec = TYPES[type];
  if (!codec) throw new Error(`no codec for ${type}`);
  return codec;
}

if (!existsSync(GOLDEN)) {
  console.warn(
    `GOLDEN BYTES ARE MISSING: ${GOLDEN} does not exist, golden tests of auth do not run`,
  );
}

describe.skipIf(!existsSync(GOLDEN))('golden bytes of Ceph', () => {
  const releases = existsSync(GOLDEN) ? readdirSync(GOLDEN).filter((name) => /^\d/.test(name)) : [];

  it('come from four releases', () => {
    expect(releases).toHaveLength(4);
  });

  describe.each(releases)('%s', (release) => {
    it.each(Object.keys(TYPES))('%s decodes to the last byte and encodes to the same', (type) => {
      const folder = join(GOLDEN, release, type);
      const files = readdirSync(folder);
      expect(files.length).toBeGreaterThan(0);
      for (const file of files) {
        const bytes = readFileSync(join(folder, file));
        const value: unknown = decodeAll(type, codecOf(type), bytes);
        expect(Buffer.from(encodeWith(codecOf(type), value))).toEqual(bytes);
      }
    });
  });

  it('hold the fields that we think they hold', () => {
    const read = (type: string, file: string) =>
      decodeAll(
        type,
        codecOf(type),
        readFileSync(join(GOLDEN, '16.2.0-90-g50f1821b4c', type, file)),
      );
    const ticket = read('AuthTicket', '0e9446fbbcbe3d6243822bea8ce887b9') as ReturnType<
      typeof authTicket.decode
    >;
    expect(ticket.name).toEqual({ type: 2, id: 'c' });
    expect(ticket.globalId).toBe(4284n);
    expect(capsText(ticket.caps)).toBe('allow rw tag cephfs *=*');
    expect(Buffer.from(capsInfo('allow rw tag cephfs *=*').caps)).toEqual(
      Buffer.from(ticket.caps.caps),
    );
    const wanted = read('CephXAuthenticate', 'fe653cc77f0f2e527011fca3540296c4') as ReturnType<
      typeof authenticate.decode
    >;
    expect(wanted).toMatchObject({ structV: 2, otherKeys: 0x35 });
  });

  it('cut short anywhere give a typed error', () => {
    for (const [type, codec] of Object.entries(TYPES)) {
      const folder = join(GOLDEN, releases[0] as string, type);
      const bytes = readFileSync(join(folder, readdirSync(folder)[0] as string));
      for (let cut = 0; cut < bytes.length; cut++) {
        expect(() => decodeAll(type, codec, bytes.subarray(0, cut))).toThrow(
          expect.objectContaining({ code: 'EPROTO' }),
        );
      }
    }
  });
});

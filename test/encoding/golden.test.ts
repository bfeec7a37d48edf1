// Goal: every golden encoding of the common types decodes to its last byte, and those of the release that we write
// (16.2) come out again identically. The files are Ceph's own `encode()` output.

import { describe, expect, it } from 'vitest';

import { type Codec, decodeAll, encodeWith, string } from '../../src/encoding/codec.js';
import {
  authEntity,
  entityAddr,
  entityAddrvec,
  entityInst,
  entityName,
} from '../../src/encoding/entity.js';
import {
  eversion,
  hobject,
  objectLocator,
  osdReqid,
  pgId,
  snapContext,
  spgId,
  utime,
  uuid,
} from '../../src/encoding/types.js';
import { monMap } from '../../src/messages/mon-messages.js';
import { GOLDEN_RELEASES, goldenFiles, isWritten } from '../support/golden.js';

const TYPES: Readonly<Record<string, Codec<never>>> = {
  EntityName: authEntity,
  MonMap: monMap,
  SnapContext: snapContext,
  entity_addr_t: entityAddr,
  entity_addrvec_t: entityAddrvec,
  entity_inst_t: entityInst,
  entity_name_t: entityName,
  eversion_t: eversion,
  hobject_t: hobject,
  object_locator_t: objectLocator,
  object_t: string,
  osd_reqid_t: osdReqid,
  pg_t: pgId,
  spg_t: spgId,
  utime_t: utime,
  uuid_d: uuid,
} as unknown as Readonly<Record<string, Codec<never>>>;

describe.skipIf(GOLDEN_RELEASES.length === 0)('golden encodings', () => {
  for (const release of GOLDEN_RELEASES) {
    it.each(Object.entries(TYPES))(`%s of ${release} decodes to the last byte`, (type, codec) => {
      const files = goldenFiles(release, type);
      expect(files.length).toBeGreaterThan(0);
      for (const { name, bytes } of files) {
        const again = encodeWith(codec, decodeAll(type, codec, bytes));
        if (isWritten(release)) {
          expect(Buffer.from(again).toString('hex'), name).toBe(Buffer.from(bytes).toString('hex'));
        }
      }
    });
  }
});

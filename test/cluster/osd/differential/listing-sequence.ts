// PGNLS: pages of a PG, cursors good and bad, namespaces, clones and deleted heads.

import { encodeWith } from '../../../../src/encoding/codec.js';
import { Decoder } from '../../../../src/encoding/decoder.js';
import { type Hobject, hobject, INT64_MIN, NOSNAP } from '../../../../src/encoding/types.js';
import { deleteOp, OP, type OsdOp, pgnlsOp, writeOp } from '../../../../src/messages/osd-op.js';
import { OSD_FLAG } from '../../../../src/messages/osd-messages.js';
import { RawClient, type RawTarget } from '../support/raw-client.js';
import { bytes, rawOp } from './step.js';

const FIRST: Hobject = { key: '', oid: '', snap: 0n, hash: 0, max: 0, nspace: '', pool: INT64_MIN };

export async function listingSequence(target: RawTarget): Promise<string[]> {
  const seen: string[] = [];
  const client = await RawClient.connect(target, { globalId: 800_001n, nonce: 333 });
  const write = async (oid: string, more = {}) => {
    await client.operate({ oid, ops: [writeOp(0, bytes(oid))], ...more });
  };
  const list = async (
    name: string,
    seed: number,
    cursor: Hobject,
    { count = 100, nspace = '', op }: { count?: number; nspace?: string; op?: OsdOp } = {},
  ): Promise<Hobject | undefined> => {
    const { reply } = await client.operate({
      oid: '',
      nspace,
      hash: seed,
      locatorHash: seed,
      flags: OSD_FLAG.IGNORE_OVERLAY,
      ops: [op ?? pgnlsOp(encodeWith(hobject, cursor), count, target.epoch)],
    });
    const [answer] = reply.ops;
    const outdata = answer?.outdata ?? new Uint8Array(0);
    seen.push(`${name}: ${reply.result} rval ${answer?.rval} flags ${reply.flags.toString(16)}`);
    if (outdata.length === 0) return undefined;
    const d = new Decoder(outdata);
    const wrapped = reply.ops[0]?.op.code === OP.PGNLS;
    const read = () => {
      const handle = hobject.decode(d);
      const entries: string[] = [];
      for (let left = d.u32(); left > 0; left--) {
        entries.push(
          wrapped ? `${d.string()}|${d.string()}|${d.string()}` : `${d.string()}|${d.string()}`,
        );
      }
      return { handle, entries };
    };
    if (!wrapped) d.u8();
    const { handle, entries } = wrapped ? d.struct('pg_nls_response_t', 1, read) : read();
    const { pool, ...place } = handle;
    const at = pool === BigInt(target.pool) ? 'own' : String(pool);
    const shown = JSON.stringify(place, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v));
    seen.push(`  next ${shown} pool ${at}`, ...entries.map((entry) => `  ${entry}`));
    return handle;
  };
  try {
    for (let seed = 0; seed < target.pgNum; seed++) await list(`empty ${seed}`, seed, FIRST);
    for (let i = 0; i < 40; i++) await write(`object ${i}`);
    for (let i = 0; i < 5; i++) await write(`object ${i}`, { nspace: 'space' });
    await write('keyed', { key: 'key' });
    await write('é and 𐍈 and ﬀ');
    for (let i = 0; i < 10; i++) {
      await write(`object ${i}`, { snapContext: { seq: 4n, snaps: [4n] } });
    }
    await client.operate({
      oid: 'object 3',
      ops: [deleteOp()],
      snapContext: { seq: 4n, snaps: [4n] },
    });
    for (let seed = 0; seed < target.pgNum; seed++) {
      await list(`all of ${seed}`, seed, FIRST);
      await list(`namespace of ${seed}`, seed, FIRST, { nspace: 'space' });
      await list(`all namespaces of ${seed}`, seed, FIRST, { nspace: '\x01' });
      let cursor: Hobject | undefined = FIRST;
      for (let page = 0; cursor && page < 20; page++) {
        const next: Hobject | undefined = await list(`page ${page} of ${seed}`, seed, cursor, {
          count: 3,
        });
        if (!next || next.max !== 0 || next.oid === '') break;
        cursor = next;
      }
      const own = { ...FIRST, pool: BigInt(target.pool), hash: seed };
      await list(`from the PG's start ${seed}`, seed, own, { count: 2 });
      await list(`from the head's snapshot ${seed}`, seed, { ...own, snap: NOSNAP }, { count: 2 });
      await list(`from another PG ${seed}`, seed, { ...own, hash: seed ^ 1 }, { count: 2 });
      await list(`from the end ${seed}`, seed, { ...FIRST, max: 1 }, { count: 2 });
      await list(`no objects ${seed}`, seed, FIRST, { count: 0 });
    }
    await list('a bad cursor', 0, FIRST, { op: pgnlsOp(bytes('bad'), 3, target.epoch) });
    await list('the old listing', 0, FIRST, {
      op: rawOp(
        OP.PGLS,
        { kind: 'pgls', count: 4, startEpoch: target.epoch },
        encodeWith(hobject, FIRST),
      ),
    });
    return seen;
  } finally {
    client.close();
  }
}

/** Where the bytes of an image lie: which objects there are, how large, and on which OSDs. */

import { nodeEnvironment } from '../base/node-environment.js';
import { isRadosError } from '../base/errors.js';
import { Decoder } from '../encoding/decoder.js';
import { loadKernels } from '../kernels/load.js';
import { statOp } from '../messages/osd-op.js';
import { type ConnectOptions, connectRados } from '../rados/connect.js';
import type { OperateResult } from '../rados/io-context.js';
import { openHeader } from '../rbd/open.js';
import { formatTable } from './output.js';
import { formatSize } from './sizes.js';

export interface OsdShare {
  osd: number;
  /** Copies that it holds, and those of them that clients ask it for. */
  objects: number;
  primaries: number;
  bytes: number;
}

export interface Survey {
  objects: number;
  osds: OsdShare[];
  /** The shares as a table. */
  text: string;
}

const CONCURRENCY = 16;

/** A client that looks from outside: the monitor says where an object lies (`osd map`), its OSD how large it is. */
export async function surveyImage(
  options: ConnectOptions,
  { pool, name }: { pool: string; name: string },
  signal: AbortSignal,
): Promise<Survey> {
  const { client } = await connectRados(nodeEnvironment(), loadKernels(), options, signal);
  try {
    const { header } = await openHeader(client, { pool, name }, { readOnly: true, signal });
    const ioctx = await client.ioctx(pool);
    const shares = new Map<number, OsdShare>();
    const share = (osd: number) => {
      const found = shares.get(osd) ?? { osd, objects: 0, primaries: 0, bytes: 0 };
      shares.set(osd, found);
      return found;
    };
    const count = header.layout.objectCount(header.size);
    let next = 0;
    let objects = 0;
    const worker = async () => {
      while (next < count) {
        const oid = `${header.objectPrefix}.${(next++).toString(16).padStart(16, '0')}`;
        const size = await sizeOf(ioctx.operate(oid, [statOp()], { signal }));
        if (size === undefined) continue;
        objects++;
        const { output } = await client.command(
          { prefix: 'osd map', pool, object: oid, format: 'json' },
          { signal },
        );
        const place = JSON.parse(Buffer.from(output).toString()) as OsdMapAnswer;
        for (const osd of place.acting) {
          share(osd).objects++;
          share(osd).bytes += size;
        }
        share(place.acting_primary).primaries++;
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    const osds = [...shares.values()].sort((a, b) => a.osd - b.osd);
    return { objects, osds, text: tableOf(osds) };
  } finally {
    client.close();
  }
}

/** What we need of the answer to `osd map`. */
interface OsdMapAnswer {
  acting: number[];
  acting_primary: number;
}

async function sizeOf(stat: Promise<OperateResult>): Promise<number | undefined> {
  try {
    const { ops } = await stat;
    // A stat's output: the size, then the time of the last change.
    return new Decoder((ops[0] as { outdata: Uint8Array }).outdata).u64n();
  } catch (error) {
    // Nothing but zeroes there: no object.
    if (isRadosError(error, 'ENOENT')) return undefined;
    throw error;
  }
}

const BAR_WIDTH = 30;

function tableOf(osds: readonly OsdShare[]): string {
  const most = Math.max(...osds.map(({ bytes }) => bytes), 1);
  const table = formatTable(
    [
      { title: '', align: 'left' },
      { title: 'OSD', align: 'left' },
      { title: 'OBJECTS', align: 'right' },
      { title: 'PRIMARY', align: 'right' },
      { title: 'BYTES', align: 'right' },
      { title: '', align: 'left' },
    ],
    osds.map(({ osd, objects, primaries, bytes }) => [
      '',
      `osd.${osd}`,
      String(objects),
      String(primaries),
      formatSize(bytes),
      '#'.repeat(Math.round((bytes / most) * BAR_WIDTH)),
    ]),
  );
  return table.replace(/ +$/gm, '').trimEnd() + '\n';
}

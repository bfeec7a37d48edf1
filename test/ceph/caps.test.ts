// What users may do by their caps: every operation of a table as every user of a table, on a real cluster and on ours.

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { describeCeph } from './support/ceph-cluster.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const CALLS = join(dirname(fileURLToPath(import.meta.url)), 'support', 'caps-calls.py');

type Row = [mon: string, osd: string, operation: string, errno: number | string];

describeCeph('caps', () => {
  it('allow and refuse the same on the embedded cluster as on a real one', async () => {
    const [real = [], ours = []] = await Promise.all(SERVERS.map(rowsOn));
    expect(real.length).toBeGreaterThan(2000);
    const refused = real.filter(([, , , errno]) => errno === 1 || errno === 13);
    expect(refused.length).toBeGreaterThan(500);
    const key = ([mon, osd, operation]: Row) => `mon '${mon}' osd '${osd}': ${operation}`;
    const own = new Map(ours.map((row) => [key(row), row[3]]));
    const differences = real.flatMap((row) => {
      const errno = own.get(key(row));
      return errno === row[3] ? [] : [`${key(row)}: ${String(errno)}, not ${row[3]}`];
    });
    expect(differences).toEqual([]);
    expect(ours).toHaveLength(real.length);
  }, 300_000);
});

async function rowsOn(kind: ServerKind): Promise<Row[]> {
  let server: Server | undefined;
  try {
    server = await kind.start({ osds: 3, pools: [{ name: 'rbd' }] });
    // A real cluster's pool has been initialised.
    if (kind.embedded) await server.rbd('pool', 'init', 'rbd');
    const { stdout } = await server.runOrThrow('/usr/bin/python3', [CALLS, server.confPath]);
    const lines = stdout.trimEnd().split('\n');
    return lines.map((line) => JSON.parse(line) as Row);
  } finally {
    await server?.stop();
  }
}

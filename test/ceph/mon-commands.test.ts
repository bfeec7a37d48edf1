// The same commands, one after the other, to a real monitor and to ours: the same answers, to the byte.
// LINGER_CAPTURE=1 keeps the real answers for test/cluster/mon/commands.test.ts.

import { writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { packageFile } from '../../src/base/paths.js';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { comparable, firstDifference, MON_COMMANDS } from '../support/mon-command-list.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { runMonCommands } from './support/mon-command-runner.js';

const NO_ANSWER = { r: 0, rs: 'no answer', out: '' };

describeCeph('monitor commands', () => {
  it('are answered as a real monitor answers them', async () => {
    await using real = await CephCluster.start({
      osds: 3,
      pools: [],
      osdConf: 'osd crush initial weight = 1\n',
    });
    await using ours = await EmbeddedCluster.start({ osds: 3, size: 1 });
    const [theirs, own] = await Promise.all(
      [real.confPath, ours.confPath].map((conf) => runMonCommands(conf, MON_COMMANDS)),
    );
    const expected = (theirs ?? []).map(comparable);
    if (process.env['LINGER_CAPTURE']) {
      const answers = MON_COMMANDS.map((command, i) => ({ command, answer: expected[i] }));
      const captured = { host: hostname(), answers };
      await writeFile(
        packageFile(join('test', 'fixtures', 'ceph-16.2.15', 'mon-commands.json.gz')),
        gzipSync(JSON.stringify(captured), { level: 9 }),
      );
    }
    expect(expected).toHaveLength(MON_COMMANDS.length);
    const differences = MON_COMMANDS.flatMap((command, i) => {
      const answer = comparable(own?.[i] ?? NO_ANSWER);
      const difference = firstDifference(answer, expected[i] ?? NO_ANSWER);
      return difference ? [`${JSON.stringify(command)} ${difference}`] : [];
    });
    expect(differences).toEqual([]);
  });
});

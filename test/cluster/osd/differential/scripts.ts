// All scripts, and how one is run against an OSD: a real one, or ours.

import { writeOp } from '../../../../src/messages/osd-op.js';
import { RawClient, type RawTarget } from '../support/raw-client.js';
import { omapSteps, xattrSteps } from './attr-ops.js';
import { copySteps } from './copy-ops.js';
import { dataSteps } from './data-ops.js';
import { listingSequence } from './listing-sequence.js';
import { hostileSteps } from './hostile-ops.js';
import { lockSteps, OWN_GLOBAL_ID } from './lock-class.js';
import {
  rbdDataSteps,
  rbdDirectorySteps,
  rbdHeaderSteps,
  rbdMissingSteps,
  rbdObjectMapSteps,
  rbdParentSteps,
  rbdSnapshotSteps,
} from './rbd-class.js';
import { snapSteps } from './snap-ops.js';
import { describeReply, describeResults, type Step } from './step.js';
import { watchSequence } from './watch-sequence.js';

const NONCE = 424242;
const STEP_TIMEOUT_MS = 3000;

/** What was seen, one text per line; the same lines from every OSD that behaves the same. */
export interface Script {
  name: string;
  pgNum: number;
  /** The names of the lines, where each is a case of its own. */
  cases?: string[];
  run(target: RawTarget): Promise<string[]>;
}

const steps = (name: string, list: readonly Step[]): Script => ({
  name,
  pgNum: 1,
  cases: list.map(({ oid, name: stepName }, i) => `${i} ${oid.slice(0, 24)}: ${stepName}`),
  run: (target) => runSteps(target, list),
});

export const SCRIPTS: readonly Script[] = [
  steps('object data', dataSteps),
  steps('copy-from', copySteps),
  steps('hostile requests', hostileSteps),
  steps('xattrs', xattrSteps),
  steps('omap', omapSteps),
  steps('snapshots', snapSteps),
  steps('class lock', lockSteps),
  steps('class rbd on missing and empty objects', rbdMissingSteps),
  steps('class rbd, header', rbdHeaderSteps),
  steps('class rbd, snapshots', rbdSnapshotSteps),
  steps('class rbd, parents and children', rbdParentSteps),
  steps('class rbd, directory, trash, namespaces', rbdDirectorySteps),
  steps('class rbd, object maps', rbdObjectMapSteps),
  steps('class rbd, data objects', rbdDataSteps),
  { name: 'watches and notifies', pgNum: 1, run: watchSequence },
  // Also of a number of PGs that is no power of two.
  ...[1, 6, 8].map((pgNum) => ({
    name: `the listing of a pool with ${pgNum} PGs`,
    pgNum,
    run: listingSequence,
  })),
];

async function runSteps(target: RawTarget, list: readonly Step[]): Promise<string[]> {
  const client = await RawClient.connect(target, { globalId: OWN_GLOBAL_ID, nonce: NONCE });
  try {
    // The versions of the script count from here.
    const first = await client.operate({ oid: 'base', ops: [writeOp(0, new Uint8Array(1))] });
    const base = first.reply.replayVersion.version;
    const seen: string[] = [];
    for (const step of list) {
      const ops = step.build?.(target.pool) ?? step.ops;
      seen.push(
        await client.operate({ ...step, ops }, STEP_TIMEOUT_MS).then(
          (reply) =>
            step.resultsOnly ? describeResults(reply) : describeReply(reply, base, step.mask),
          (error: Error) => `no answer: ${error.message}`,
        ),
      );
    }
    return seen;
  } finally {
    client.close();
  }
}

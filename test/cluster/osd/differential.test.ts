// The differential script (test/ceph/differential.test.ts) where no Ceph is installed: our OSD's answers compared with
// those that a real 16.2.15 OSD gave, as recorded in fixtures/.

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageFile } from '../../../src/base/paths.js';
import { PIPELINE_MODES } from '../../../src/cluster/settings.js';
import { SCRIPTS } from './differential/scripts.js';
import { OsdUnderTest } from './support/osd-under-test.js';

const FIXTURE = 'test/cluster/osd/fixtures/answers-16.2.15.json';

describe.each(PIPELINE_MODES)('our OSD in mode %s answers as a 16.2.15 OSD did', (mode) => {
  const recorded = JSON.parse(readFileSync(packageFile(FIXTURE), 'utf8')) as Record<
    string,
    string[]
  >;
  let ours: OsdUnderTest;

  beforeAll(async () => {
    ours = await OsdUnderTest.start(SCRIPTS, mode);
  });

  afterAll(() => ours?.stop());

  for (const script of SCRIPTS) {
    const { cases } = script;
    if (!cases) {
      it(script.name, async () => {
        expect(await script.run(ours.target(script))).toEqual(recorded[script.name]);
      });
      continue;
    }
    describe(script.name, () => {
      let answers: string[];

      beforeAll(async () => {
        answers = await script.run(ours.target(script));
      });

      it.each(cases.map((name, i) => [name, i] as const))('%s', (_, i) => {
        expect(answers[i]).toBe(recorded[script.name]?.[i]);
      });
    });
  }
});

// The rules of the request pipeline, checked over what every embedded OSD of a test file says of its operations. Importing
// this is enough: after each test of the file there must be no violation.

import { afterEach, expect } from 'vitest';
import { PipelineJudge } from '../../../../src/sim/checkers/pipeline-judge.js';

const judge = new PipelineJudge();
judge.watch();

afterEach(() => {
  expect(judge.takeViolations()).toEqual([]);
});

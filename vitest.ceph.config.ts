// The tests that start real Ceph daemons: two files at a time, since each brings up a cluster of its own, and waits a lot.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/ceph/**/*.test.ts'],
    globalSetup: ['test/support/build.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    pool: 'forks',
    maxWorkers: 2,
  },
});

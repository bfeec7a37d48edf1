// The tests that start real Ceph daemons: one file at a time, because each brings up a whole cluster.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/ceph/**/*.test.ts'],
    globalSetup: ['test/support/build.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    fileParallelism: false,
  },
});

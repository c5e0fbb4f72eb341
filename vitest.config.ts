import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/support/sequencer.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/codes-seen.ts'],
    // Hosts, witnesses and qv are started by the hundred: their sources are read once.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, '.qv', 'compile-cache') },
    pool: 'forks',
    // One more than a small machine has processors: much of a test's time is waiting for what it started.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});

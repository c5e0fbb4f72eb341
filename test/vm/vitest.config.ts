/** What `npm run test:vm` runs: tests that boot guests, two at a time, and nothing of `npm test`. */
import { defineConfig } from 'vitest/config';
import { LongestFirst } from '../support/sequencer.ts';

export default defineConfig({
  test: {
    root: `${import.meta.dirname}/../..`,
    include: ['test/vm/**/*.vm.ts'],
    pool: 'forks',
    // A guest has one processor, and a small machine two.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    testTimeout: 60_000,
    hookTimeout: 600_000,
  },
});

/** What `npm run test:vm` runs: tests that boot guests, two at a time, and nothing of `npm test`. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: `${import.meta.dirname}/../..`,
    include: ['test/vm/**/*.vm.ts'],
    pool: 'forks',
    // A guest has one processor, and a small machine two.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 600_000,
  },
});

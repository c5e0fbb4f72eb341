/** What `npm run test:vm` runs: tests that boot guests, one after the other, and nothing of `npm test`. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: `${import.meta.dirname}/../..`,
    include: ['test/vm/**/*.vm.ts'],
    pool: 'forks',
    // A guest uses all processors of a small machine.
    maxWorkers: 1,
    testTimeout: 60_000,
    hookTimeout: 600_000,
  },
});

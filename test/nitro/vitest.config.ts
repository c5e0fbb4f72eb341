/** What `npm run test:nitro` runs: the image as an emulated Nitro Enclave, and nothing of `npm test`. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: `${import.meta.dirname}/../..`,
    include: ['test/nitro/**/*.nitro.ts'],
    globalSetup: ['test/nitro/build-once.ts'],
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 60_000,
    hookTimeout: 600_000,
  },
});

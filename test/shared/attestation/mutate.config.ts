/** The attestation tests against sources from which one named check is missing: QV_REMOVE_CHECK names it. */
import { defineConfig } from 'vitest/config';
import { withoutCheck } from './checks.ts';

const removed = process.env['QV_REMOVE_CHECK'] ?? '';

export default defineConfig({
  plugins: [
    {
      name: 'remove-check',
      enforce: 'pre',
      transform: (code, id) => (id.includes('/shared/src/attestation/') ? withoutCheck(code, removed) : undefined),
    },
  ],
  test: {
    include: ['test/shared/attestation/*.test.ts'],
    // Slow, or about the sources themselves; every check must be missed by a test that names what it is about.
    exclude: ['**/{bundle,flips,hostile,property,real,readme}.test.ts'],
    // Its key does not know what was removed.
    fsModuleCache: false,
    reporters: ['json'],
    bail: 1,
  },
});

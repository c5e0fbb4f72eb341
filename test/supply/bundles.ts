/** The enclave's two production bundles, built where the caller says. */
import { join } from 'node:path';
import { type BundleFiles, bundleEnclave } from '@quantumvault/enclave/bundle.ts';

export const ROOT = join(import.meta.dirname, '..', '..');

export function productionBundle(outDir: string): Promise<BundleFiles> {
  const sources = join(ROOT, 'enclave', 'src');
  return bundleEnclave({
    vaultEntry: join(sources, 'main.ts'),
    agentEntry: join(sources, 'kms-agent', 'main.ts'),
    outDir,
  });
}

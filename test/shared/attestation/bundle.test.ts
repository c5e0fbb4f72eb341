/** The verifier for browsers: no Node module in it. The enclave's part of it: no X.509 in it, and nothing heavy. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type * as verifier from '@quantumvault/shared/attestation/verify.ts';
import { build, type Metafile } from 'esbuild';
import { afterAll, expect, test } from 'vitest';
import { ownSet, REPLAY } from './expect.ts';
import { pcrsOf, realVector } from './vectors.ts';

const folder = mkdtempSync(join(tmpdir(), 'qv-bundle-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function bundle(file: string): Promise<{ metafile: Metafile; outfile: string }> {
  const outfile = join(folder, file.replace(/ts$/, 'mjs'));
  const entry = fileURLToPath(new URL(`../../../shared/src/attestation/${file}`, import.meta.url));
  // For browsers esbuild leaves no import of Node's: a `node:` specifier fails the build.
  const { metafile } = await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'browser',
    format: 'esm',
    metafile: true,
    logLevel: 'silent',
  });
  return { metafile, outfile };
}

test('verify.ts bundles for browsers, and the bundle verifies', async () => {
  const { outfile } = await bundle('verify.ts');
  const { verifyAttestation } = (await import(pathToFileURL(outfile).href)) as typeof verifier;
  const { bytes, sidecar } = realVector('54ae0f97');
  const report = await verifyAttestation(bytes, { mode: REPLAY, pcrSets: ownSet(pcrsOf(sidecar)) });
  expect(report.ok).toBe(true);
});

test('document.ts brings the reader, the error and limit tables and nothing else', async () => {
  const { metafile } = await bundle('document.ts');
  expect(
    Object.keys(metafile.inputs)
      .map((input) => input.replace(/^.*shared\/src\//, ''))
      .toSorted(),
  ).toEqual(['attestation/cbor.ts', 'attestation/document.ts', 'bytes.ts', 'errors.ts', 'limits.ts']);
});

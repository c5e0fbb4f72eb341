/** The reader in a browser: it bundles without any module of Node's, and the bundle measures a Blob. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { toHex } from '@quantumvault/shared/bytes.ts';
import type * as measuring from '@quantumvault/shared/eif/measure.ts';
import { build } from 'esbuild';
import { afterAll, expect, test } from 'vitest';
import { expectedPcrs, plainSections, writeImage } from '../../support/eif.ts';
import { NOW, newSigner, signed } from '../../support/eif-signer.ts';

const folder = mkdtempSync(join(tmpdir(), 'qv-bundle-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('measure.ts bundles for browsers, and the bundle measures', async () => {
  const outfile = join(folder, 'measure.mjs');
  // For browsers esbuild leaves no import of Node's: a `node:` specifier fails the build.
  await build({
    entryPoints: [fileURLToPath(new URL('../../../shared/src/eif/measure.ts', import.meta.url))],
    outfile,
    bundle: true,
    platform: 'browser',
    format: 'esm',
    logLevel: 'silent',
  });
  const { measureImage } = (await import(pathToFileURL(outfile).href)) as typeof measuring;
  const blob = new Blob([new Uint8Array(writeImage({ sections: signed(plainSections, newSigner()) }))]);
  const source = {
    size: blob.size,
    read: async (offset: number, length: number) =>
      new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
  };
  const report = await measureImage(source, { nowMs: NOW });
  expect(report.ok).toBe(true);
  expect([...report.pcrs.values()].slice(0, 3).map(toHex)).toEqual(expectedPcrs(plainSections));
});

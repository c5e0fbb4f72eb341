/**
 * Writes the software bills of materials, CycloneDX 1.6 in JSON: `enclave.cdx.json` and `host.cdx.json`.
 *
 *   npm run build:sbom -- [--out DIR] [--arch x64|arm64]      default: sbom, and this machine's
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { productionBundle } from './bundles.ts';
import { Packages } from './packages.ts';
import { type Arch, enclaveBom, hostBom } from './sbom.ts';

const { values } = parseArgs({ options: { out: { type: 'string' }, arch: { type: 'string' } } });
const arch = values.arch ?? process.arch;
if (arch !== 'x64' && arch !== 'arm64') {
  process.stderr.write('usage: build-sbom.ts [--out DIR] [--arch x64|arm64]\n');
  process.exit(2);
}
const out = resolve(values.out ?? 'sbom');
const work = mkdtempSync(join(tmpdir(), 'qv-sbom-'));
try {
  const packages = new Packages();
  const bundle = await productionBundle(work);
  mkdirSync(out, { recursive: true });
  const write = (name: string, bom: object): void => {
    const file = join(out, name);
    writeFileSync(file, `${JSON.stringify(bom, null, 2)}\n`);
    process.stdout.write(`${file}\n`);
  };
  write('enclave.cdx.json', enclaveBom(packages, bundle, arch satisfies Arch));
  write('host.cdx.json', hostBom(packages, arch));
} finally {
  rmSync(work, { recursive: true, force: true });
}

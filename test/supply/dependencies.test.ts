/** enclave/DEPENDENCIES.md says what is in the enclave's bundles, and what it does not say is found. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { productionBundle } from './bundles.ts';
import { DEPENDENCIES_FILE, dependenciesFindings, generatedPart, type Inside } from './dependencies.ts';
import { Packages } from './packages.ts';
import { packagesIn } from './sbom.ts';

const text = readFileSync(DEPENDENCIES_FILE, 'utf8');
const packages = new Packages();
const folder = mkdtempSync(join(tmpdir(), 'qv-dependencies-'));
let inside: Inside;
beforeAll(async () => {
  const { vaultInputs, agentInputs } = await productionBundle(folder);
  inside = { vault: packagesIn(vaultInputs), agent: packagesIn(agentInputs) };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const findings = (document: string, now: Inside = inside): string[] =>
  dependenciesFindings(document, now, generatedPart(packages, now));

const STALE = 'the generated part is another one: npm run build:dependencies';

describe('DEPENDENCIES.md', () => {
  it('has a row for each package in each bundle, with why and what it may touch, and no other', () => {
    expect(findings(text)).toEqual([]);
    expect([inside.vault.length, inside.agent.length]).toEqual([4, 23]);
  });

  it('lacks a row when a package gets in', () => {
    const vault = [...inside.vault, 'tweetnacl@1.0.3'];
    expect(findings(text, { ...inside, vault })).toEqual([
      'The vault process: tweetnacl is in the bundle and has no row',
      STALE,
    ]);
  });

  it('has a row too many when one leaves', () => {
    const agent = inside.agent.filter((key) => !key.startsWith('bowser@'));
    expect(findings(text, { ...inside, agent })).toEqual([
      'The kms-agent: bowser has a row and is not in the bundle',
      STALE,
    ]);
  });

  it('is to say why, and what may be touched', () => {
    const [row = ''] = /^\| which-runtime .*$/m.exec(text) ?? [];
    expect(findings(text.replace(row, '| which-runtime |  |  |'))).toEqual([
      'The vault process: which-runtime does not say why',
      'The vault process: which-runtime does not say what it may touch',
    ]);
  });

  it.each([
    ['a version', /\| 1\.6\.8 /, '| 1.6.9 '],
    ['an integrity', /sha512-[A-Za-z0-9]/, 'sha512-+'],
    ['a hash of a binary', /`[0-9a-f]{64}`/, `\`${'0'.repeat(64)}\``],
    ['a licence', /\| Apache-2\.0 /, '| MIT        '],
    ['the mark where it ends', /<!-- end of what is generated -->/, ''],
  ])('is stale with %s edited', (_, pattern, by) => {
    expect(text).toMatch(pattern);
    expect(findings(text.replace(pattern, by))).toEqual([STALE]);
  });
});

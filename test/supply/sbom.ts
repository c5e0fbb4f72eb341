/** The bills of materials of the enclave image and of the host: what each is made of, and what needs what. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BundleFiles } from '@quantumvault/enclave/bundle.ts';
import { ROOT } from './bundles.ts';
import { type Bom, type Component, type Hash, makeBom, packageComponent, purlOf } from './cyclonedx.ts';
import type { Installed } from './installed.ts';
import { fields } from './lockfile.ts';
import { type Packages, packageOf } from './packages.ts';

export type Arch = 'x64' | 'arm64';

/** What `process.versions` names besides Node itself that is no software. */
const NO_SOFTWARE = ['node', 'modules', 'napi', 'tz', 'cldr', 'unicode'];
const OWN_LICENCE = { license: { name: 'UNLICENSED' } } as const;

/**
 * The enclave: exactly the packages with code in its two bundles, the binaries beside them, and Node. The libraries of
 * the image's base (C, C++, the loader) are the builder's choice, so they are not in here; measurements.json of an
 * image has their hashes.
 *
 * @param bundle as built, whose hashes go in
 */
export function enclaveBom(packages: Packages, bundle: BundleFiles, arch: Arch): Bom {
  const root = own('quantumvault-enclave', 'enclave');
  const node = nodeComponent(packages, arch);
  const addon = ownAddon();
  const sodium = sodiumBinary(packages, arch);
  const programs = [
    { file: bundle.vault, name: 'enclave.cjs', inputs: bundle.vaultInputs, needs: [node, addon] },
    { file: bundle.agent, name: 'kms-agent.cjs', inputs: bundle.agentInputs, needs: [node, addon] },
  ];
  const edges = new Map<string, string[]>();
  const components = new Map<string, Component>([node, addon, sodium].map((one) => [one['bom-ref'], one]));
  for (const { file, name, inputs, needs } of programs) {
    const program: Component = {
      type: 'file',
      'bom-ref': `file:${name}`,
      name,
      version: root.version ?? '',
      hashes: [sha256Of(readFileSync(file))],
      licenses: [OWN_LICENCE],
    };
    components.set(program['bom-ref'], program);
    const inside = packagesIn(inputs);
    const reached = new Set(packages.namedBy(['enclave', 'shared']).filter((key) => inside.includes(key)));
    addPackages(packages, inside, components, edges);
    // What only packages lead to that are not in the bundle themselves is still the bundle's.
    const led = new Set(inside.flatMap((key) => packages.get(key).dependsOn));
    const direct = inside.filter((key) => reached.has(key) || !led.has(key)).map((key) => purlOf(packages.get(key)));
    edges.set(program['bom-ref'], [...direct, ...needs.map((one) => one['bom-ref'])]);
  }
  edges.set(root['bom-ref'], [...programs.map(({ name }) => `file:${name}`), node['bom-ref']]);
  edges.set(sodiumRef(packages), [...(edges.get(sodiumRef(packages)) ?? []), sodium['bom-ref']]);
  return makeBom({ root, components: [...components.values()], edges, isComplete: false });
}

/** The host: everything that its package needs to run, Node, and the addons that it may load. */
export function hostBom(packages: Packages, arch: Arch): Bom {
  const root = own('quantumvault-host', 'host');
  const node = nodeComponent(packages, arch);
  const addon = ownAddon();
  const sodium = sodiumBinary(packages, arch);
  const edges = new Map<string, string[]>();
  const components = new Map<string, Component>([node, addon, sodium].map((one) => [one['bom-ref'], one]));
  addPackages(packages, packages.neededBy(['host']), components, edges);
  const direct = packages.namedBy(['host', 'shared']).map((key) => purlOf(packages.get(key)));
  edges.set(root['bom-ref'], [...direct, node['bom-ref'], addon['bom-ref']]);
  edges.set(sodiumRef(packages), [...(edges.get(sodiumRef(packages)) ?? []), sodium['bom-ref']]);
  return makeBom({ root, components: [...components.values()], edges, isComplete: true });
}

/** Keys of the packages with code in a bundle, sorted. */
export function packagesIn(inputs: readonly string[]): string[] {
  return [...new Set(inputs.flatMap((input) => packageOf(input) ?? []))].sort();
}

function addPackages(
  packages: Packages,
  keys: readonly string[],
  components: Map<string, Component>,
  edges: Map<string, string[]>,
): void {
  for (const key of keys) {
    const one = packages.get(key);
    components.set(purlOf(one), packageComponent(one));
    const needs = one.dependsOn.filter((it) => keys.includes(it)).map((it) => purlOf(packages.get(it)));
    edges.set(purlOf(one), [...(edges.get(purlOf(one)) ?? []), ...needs]);
  }
}

function own(name: string, folder: string): Component {
  const { version } = fields(JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8')));
  return { type: 'application', 'bom-ref': name, name, version: String(version), licenses: [OWN_LICENCE] };
}

/** Node as npm's platform package has it, and the libraries inside of it, as it names them. */
function nodeComponent(packages: Packages, arch: Arch): Component {
  const manifest = fields(JSON.parse(readFileSync(join(ROOT, '.toolchain', 'package.json'), 'utf8')));
  const name = `node-linux-${arch}`;
  const version = String(fields(manifest['optionalDependencies'])[name]);
  if (process.version !== `v${version}`)
    throw new Error(`this is Node ${process.version}, the pinned one is ${version}`);
  const key = `${name}@${version}`;
  const lock = fields(JSON.parse(readFileSync(join(ROOT, '.toolchain', 'package-lock.json'), 'utf8')));
  const { integrity } = fields(fields(lock['packages'])[`node_modules/${name}`]);
  // The package of the other architecture is not installed, and says the same of itself.
  const here = packages.get(`node-linux-${process.arch}@${version}`);
  const inside = Object.entries(process.versions).filter(([part, its]) => its && !NO_SOFTWARE.includes(part));
  return {
    ...packageComponent({
      ...here,
      key,
      name,
      integrity: String(integrity),
      people: ['OpenJS Foundation and Node.js contributors'],
    }),
    type: 'platform',
    hashes: [{ alg: 'SHA-256', content: binaryOf(key, 'bin/node') }],
    cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
    components: inside.map(([part, its]) => ({
      type: 'library',
      'bom-ref': `${name}/${part}@${its}`,
      name: part,
      version: String(its),
    })),
  };
}

/** Our addon, which the builder's compiler makes, so by its sources. */
function ownAddon(): Component {
  const folder = join(ROOT, 'shared', 'native');
  const sources = readdirSync(folder)
    .filter((file) => /\.[ch]$/.test(file))
    .sort();
  return {
    type: 'file',
    'bom-ref': 'file:qv-native.node',
    name: 'qv-native.node',
    description: 'compiled from these sources by the C compiler of the base, against the headers of this Node',
    licenses: [OWN_LICENCE],
    components: sources.map((file) => ({
      type: 'file',
      'bom-ref': `file:shared/native/${file}`,
      name: `shared/native/${file}`,
      hashes: [sha256Of(readFileSync(join(folder, file)))],
    })),
  };
}

/** sodium-native's prebuilt addon, and the libsodium inside of it, whose version stands in the binary. */
function sodiumBinary(packages: Packages, arch: Arch): Component {
  const { name, version } = packages.get(sodiumKey(packages));
  const path = `prebuilds/linux-${arch}/sodium-native.node`;
  const folder = join(ROOT, 'enclave', 'node_modules', name);
  const bytes = readFileSync(join(folder, path));
  const hash = sha256Of(bytes);
  if (hash.content !== binaryOf(`${name}@${version}`, path)) throw new Error(`${path} is not the listed one`);
  const inside = /\0(1\.0\.\d+)\0/.exec(bytes.toString('latin1'))?.[1];
  if (inside === undefined) throw new Error(`${path} does not say which libsodium it has`);
  const build = readFileSync(join(folder, 'CMakeLists.txt'), 'utf8');
  const commit = /jedisct1\/libsodium#([0-9a-f]+)/.exec(build)?.[1] ?? 'not stated';
  const libsodium: Component = {
    type: 'library',
    'bom-ref': `${name}/libsodium@${inside}`,
    name: 'libsodium',
    version: inside,
    description: `commit ${commit} of github.com/jedisct1/libsodium by the package's CMakeLists.txt`,
    licenses: [{ license: { id: 'ISC' } }],
    purl: `pkg:generic/libsodium@${inside}`,
    cpe: `cpe:2.3:a:libsodium:libsodium:${inside}:*:*:*:*:*:*:*`,
  };
  return {
    type: 'file',
    'bom-ref': 'file:sodium-native.node',
    name: 'sodium-native.node',
    version,
    description: `${path} of the package ${name}`,
    hashes: [hash],
    components: [libsodium],
  };
}

const sodiumKey = (packages: Packages): string =>
  packages.namedBy(['enclave']).find((key) => key.startsWith('sodium-native@')) ?? 'sodium-native';
const sodiumRef = (packages: Packages): string => purlOf(packages.get(sodiumKey(packages)));

function binaryOf(key: string, path: string): string {
  const listed = JSON.parse(readFileSync(join(import.meta.dirname, 'installed.json'), 'utf8')) as Installed;
  const hash = listed.binaries[key]?.[path];
  if (hash === undefined) throw new Error(`${key} ${path} is not in installed.json`);
  return hash;
}

function sha256Of(bytes: Uint8Array): Hash {
  return { alg: 'SHA-256', content: createHash('sha256').update(bytes).digest('hex') };
}

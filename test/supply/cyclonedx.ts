/**
 * The part of CycloneDX 1.6 (ECMA-424, in JSON) that our bills of materials use: https://cyclonedx.org/docs/1.6/json/
 *
 * The same input gives the same bytes: no time, no random serial number; that is made of the content.
 */
import { createHash } from 'node:crypto';
import type { Package } from './packages.ts';

export interface Hash {
  readonly alg: 'SHA-256' | 'SHA-512';
  /** Hex. */
  readonly content: string;
}

export type Licence =
  | { readonly license: { readonly id: string } | { readonly name: string } }
  | { readonly expression: string };

export interface Component {
  readonly type: 'application' | 'library' | 'platform' | 'file';
  readonly 'bom-ref': string;
  readonly group?: string;
  readonly name: string;
  readonly version?: string;
  readonly description?: string;
  readonly authors?: readonly { readonly name: string }[];
  readonly hashes?: readonly Hash[];
  readonly licenses?: readonly Licence[];
  readonly purl?: string;
  readonly cpe?: string;
  readonly externalReferences?: readonly {
    readonly type: 'distribution' | 'vcs';
    readonly url: string;
    readonly comment?: string;
    readonly hashes?: readonly Hash[];
  }[];
  readonly components?: readonly Component[];
}

export interface Bom {
  readonly bomFormat: 'CycloneDX';
  readonly specVersion: '1.6';
  readonly serialNumber: string;
  readonly version: 1;
  readonly metadata: {
    readonly lifecycles: readonly { readonly phase: 'build' }[];
    readonly component: Component;
  };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
  readonly compositions: readonly {
    readonly aggregate: 'incomplete' | 'complete';
    readonly assemblies: readonly string[];
  }[];
}

export interface BomContents {
  readonly root: Component;
  readonly components: readonly Component[];
  /** References to what each needs. */
  readonly edges: ReadonlyMap<string, readonly string[]>;
  /** Whether the root has parts that this does not name. */
  readonly isComplete: boolean;
}

export function makeBom({ root, components, edges, isComplete }: BomContents): Bom {
  const order = (a: Component, b: Component): number => (a['bom-ref'] < b['bom-ref'] ? -1 : 1);
  const all = [...components].sort(order);
  const refs = [root, ...all].map((component) => component['bom-ref']);
  const dependencies = refs.map((ref) => ({ ref, dependsOn: [...new Set(edges.get(ref) ?? [])].sort() }));
  const body = { root, all, dependencies };
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify(body))}`,
    version: 1,
    metadata: { lifecycles: [{ phase: 'build' }], component: root },
    components: all,
    dependencies,
    compositions: [{ aggregate: isComplete ? 'complete' : 'incomplete', assemblies: [root['bom-ref']] }],
  };
}

/** A package of npm's registry. */
export function packageComponent(one: Package): Component {
  const { group, name } = nameOf(one.name);
  const comment = 'SHA-512 of the tarball, from the lockfile';
  const tarball = `https://registry.npmjs.org/${one.name}/-/${name}-${one.version}.tgz`;
  return {
    type: 'library',
    'bom-ref': purlOf(one),
    ...(group !== undefined && { group }),
    name,
    version: one.version,
    ...(one.people.length > 0 && { authors: one.people.map((person) => ({ name: person })) }),
    licenses: [licence(one.licence)],
    purl: purlOf(one),
    externalReferences: [
      { type: 'distribution', url: tarball, comment, hashes: [sha512Of(one.integrity)] },
      ...(one.repository === undefined ? [] : [{ type: 'vcs' as const, url: one.repository }]),
    ],
  };
}

/** https://github.com/package-url/purl-spec: the scope's `@` is encoded, its slash is not. */
export function purlOf({ name, version }: { readonly name: string; readonly version: string }): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

function nameOf(name: string): { group?: string; name: string } {
  const [group, bare] = name.split('/');
  return bare === undefined ? { name } : { ...(group !== undefined && { group }), name: bare };
}

function licence(text: string): Licence {
  if (/ (OR|AND|WITH) /.test(text)) return { expression: text.replace(/^\((.*)\)$/, '$1') };
  return { license: /^[A-Za-z0-9.+-]+$/.test(text) ? { id: text } : { name: text } };
}

export function sha512Of(integrity: string): Hash {
  return { alg: 'SHA-512', content: Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex') };
}

/** A UUID of version 8 (RFC 9562): ours to make, here of SHA-256. */
function uuidOf(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

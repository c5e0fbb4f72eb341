/** The package.json of the package. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ENTRIES, PEERS } from './sources.ts';

const HOST = resolve(import.meta.dirname, '..', '..', '..');

export const PACKAGE_NAME = '@quantumvault/client';

interface HostManifest {
  readonly version: string;
  readonly devDependencies: Readonly<Record<string, string>>;
}

export function manifest(): string {
  const { version, devDependencies } = JSON.parse(readFileSync(join(HOST, 'package.json'), 'utf8')) as HostManifest;
  // Whatever has the interfaces of the version that is tested here.
  const peers = PEERS.map((peer) => [peer, `^${devDependencies[peer]}`]);
  const entries = Object.entries(ENTRIES).map(([subpath, entry]) => {
    const path = `./dist/${entry.replace(/\.ts$/, '')}`;
    return [subpath, { types: `${path}.d.ts`, default: `${path}.js` }];
  });
  const value = {
    name: PACKAGE_NAME,
    version,
    description: 'Client of a QuantumVault Signer: signing requests, and the verification of every answer.',
    license: 'UNLICENSED',
    type: 'module',
    sideEffects: ['./dist/shared/attestation/reflect.js', './dist/vendor/*.js'],
    exports: { ...Object.fromEntries(entries), './package.json': './package.json' },
    files: ['dist', 'README.md', 'ERRORS.md', 'THIRD-PARTY.md'],
    engines: { node: '>=20' },
    peerDependencies: Object.fromEntries(peers),
    peerDependenciesMeta: Object.fromEntries(PEERS.map((peer) => [peer, { optional: true }])),
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

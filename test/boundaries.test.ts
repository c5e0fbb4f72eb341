/** Imports point one way: enclave -> shared <- host, and nothing in the product reaches into test (design 2). */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
const files = execFileSync('git', ['ls-files', '*.ts'], { cwd: root, encoding: 'utf8' }).trim().split('\n');
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)['"]([^'"\s]+)['"]/g;

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  return [...text.matchAll(IMPORT)].map((match) => match[1] ?? '');
}

/** The workspace member an import leads to, or the package's name. */
function targetOf(file: string, specifier: string): string {
  if (specifier.startsWith('.')) return relative(root, join(root, dirname(file), specifier)).split('/')[0] ?? '';
  const own = /^@quantumvault\/([a-z]+)/.exec(specifier);
  return own?.[1] ?? specifier;
}

const MAY_REACH: Readonly<Record<string, readonly string[]>> = {
  shared: ['shared'],
  enclave: ['enclave', 'shared'],
  host: ['host', 'shared'],
};
const MEMBERS = ['shared', 'enclave', 'host', 'test'];

describe.each(Object.entries(MAY_REACH))('%s', (member, allowed) => {
  const own = files.filter((file) => file.startsWith(`${member}/`));

  it('exists', () => expect(own.length).toBeGreaterThan(0));

  it(`imports no member but ${allowed.join(', ')}`, () => {
    const strays = own.flatMap((file) =>
      importsOf(file)
        .filter((specifier) => {
          const target = targetOf(file, specifier);
          return MEMBERS.includes(target) && !allowed.includes(target);
        })
        .map((specifier) => `${file}: ${specifier}`),
    );
    expect(strays).toEqual([]);
  });

  it('imports only packages that its package.json names', () => {
    const manifest = JSON.parse(readFileSync(join(root, member, 'package.json'), 'utf8')) as Record<string, object>;
    const declared = Object.keys({ ...manifest['dependencies'], ...manifest['devDependencies'] });
    const strays = own.flatMap((file) =>
      importsOf(file)
        .filter((specifier) => !specifier.startsWith('.') && !specifier.startsWith('node:'))
        .filter((specifier) => !declared.some((name) => specifier === name || specifier.startsWith(`${name}/`)))
        .map((specifier) => `${file}: ${specifier}`),
    );
    expect(strays).toEqual([]);
  });
});

describe('the enclave', () => {
  const sources = files.filter((file) => file.startsWith('enclave/src/'));

  it('touches private bytes in vault.ts alone, and those of v2 in one more file', () => {
    const users = sources.filter((file) => importsOf(file).includes('sodium-native'));
    expect(users).toEqual(['enclave/src/migration/legacy-keys.ts', 'enclave/src/vault.ts']);
    // Node's crypto leaves copies behind that nobody can wipe. Nothing secret goes near it.
    const crypto = sources.filter((file) => importsOf(file).some((specifier) => /^(node:)?crypto$/.test(specifier)));
    expect(crypto).toEqual([]);
    const recipients = sources.filter((file) =>
      importsOf(file).some((specifier) => /native-recipient/.test(specifier)),
    );
    expect(recipients).toEqual(['enclave/src/main.ts']);
  });

  it('keeps the AWS SDK in the kms-agent', () => {
    const users = sources.filter((file) => importsOf(file).some((specifier) => /^@(aws-sdk|smithy)\//.test(specifier)));
    expect(users.every((file) => file.startsWith('enclave/src/kms-agent/'))).toBe(true);
  });
});

import { spawnSync } from 'node:child_process';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkSources } from './lint.ts';
import { check } from './rule.ts';
import { NAMES } from './table.ts';

/** The findings that a file's comments promise, as the rule prints them: sorted "line what". */
function promisedIn(text: string): readonly string[] {
  return text.split('\n').flatMap((line, index) => {
    const above = /flagged on the line before( that)?: (.*)$/.exec(line);
    if (above !== null) return [`${index + (above[1] === undefined ? 0 : -1)} ${above[2]}`];
    const [, ...whats] = line.split('// flagged: ');
    return whats.map((what) => `${index + 1} ${what.trim()}`);
  });
}

function read(folder: string, name: string) {
  const text = readFileSync(join(import.meta.dirname, folder, name), 'utf8');
  const file = /^\/\/ read as (\S+)\n/.exec(text)?.[1];
  if (file === undefined) throw new Error(`${name} does not say as what it is to be read`);
  return { text, found: check(file, text).findings.map(({ line, what }) => `${line} ${what}`) };
}

const filesIn = (folder: string): readonly string[] => readdirSync(join(import.meta.dirname, folder));

for (const name of filesIn('bad')) {
  test(`bad/${name}: flagged at each line that says so, and at no other`, () => {
    const { text, found } = read('bad', name);
    expect(promisedIn(text).length).toBeGreaterThan(0);
    expect([...found].sort()).toEqual([...promisedIn(text)].sort());
  });
}

for (const name of filesIn('good')) {
  test(`good/${name}: not flagged`, () => {
    expect(read('good', name).found).toEqual([]);
  });
}

/** Each is a place where the rule is broken, with a reason beside it; a new one is a line in this list. */
const EXCEPTIONS: readonly string[] = [
  'enclave/src/kms-agent/agent.ts',
  'enclave/src/kms-agent/agent.ts',
  'enclave/src/outbox.ts',
  'host/src/cli/doctor/files.ts',
  'host/src/cli/host-connection.ts',
  'host/src/credentials.ts',
  'host/src/reads/tokens-file.ts',
  'host/src/remote-freeze/operators-file.ts',
  'host/src/remote-freeze/totp.ts',
  'host/src/tls/tls-files.ts',
  'host/src/webhooks/secrets-file.ts',
  'host/src/webhooks/secrets-file.ts',
  'host/src/webhooks/secrets-file.ts',
  'host/src/witness/directory.ts',
  'shared/src/secret.ts',
];

test('the product keeps to it, but for the exceptions that are listed here', () => {
  const { files, findings, exceptions } = checkSources();
  expect(findings).toEqual([]);
  expect(files).toBeGreaterThan(400);
  expect(exceptions.map(({ file }) => file)).toEqual(EXCEPTIONS);
});

test.each(NAMES.flatMap(({ files, names }) => names.map((name) => [name, files] as const)))(
  'the name %s is one that files of %s have: renaming it takes nothing out of the rule',
  (name, files) => {
    const root = join(import.meta.dirname, '../..');
    const named = globSync('{shared,enclave,host}/src/**/*.ts', { cwd: root }).filter((file) => files.test(file));
    const word = new RegExp(`(?<![\\w#])${name}(?!\\w)`);
    expect(named.some((file) => word.test(readFileSync(join(root, file), 'utf8')))).toBe(true);
  },
);

/** A fault of somebody in a hurry: a line more behind one that is there. */
function planted(file: string, behind: string, line: string): readonly string[] {
  const text = readFileSync(join(import.meta.dirname, '../..', file), 'utf8');
  const at = text.indexOf(`${behind}\n`);
  if (at === -1) throw new Error(`${file} has no longer a line to plant faults behind: ${behind}`);
  const end = at + behind.length + 1;
  const number = text.slice(0, end).split('\n').length;
  const { findings } = check(file, `${text.slice(0, end)}${line}\n${text.slice(end)}`);
  return findings.filter((finding) => finding.line === number).map(({ what }) => what);
}

const IN_VAULT = [
  ['console.log(part.seed);', 'logged'],
  ['console.log({ keys: part });', 'logged'],
  ['process.stderr.write(part.secretKey);', 'handed to process.stderr.write, of which nothing is known'],
  ['const text = "key " + part.walletKey;', 'turned into text'],
  ["part.seed.toString('hex');", 'turned into text'],
  ['const { policyKey: kept } = part; kept.toString();', 'turned into text'],
  ['const half = part.seed.subarray(0, 16); String(half);', 'turned into text'],
  ['JSON.stringify([...part.stateKey]);', 'serialised'],
  ['structuredClone(part);', 'serialised'],
  ['equalBytes(part.seed, publicKey);', 'compared in a time that tells'],
  ['if (part.seed[0] === 0) guard();', 'compared in a time that tells'],
  ['const copy = Uint8Array.from(part.secretKey);', 'copied to where V8 moves it about'],
  ['concatBytes(part.seed, publicKey);', 'copied to where V8 moves it about'],
  ['globalThis.seed = part.seed;', 'kept where others see it'],
  ['addressOf(part.seed);', 'turned into text'],
  ["throw new QvError('internal', { value: part.seed });", 'handed to QvError, of which nothing is known'],
  ['return part.seed;', 'handed out'],
] as const;

test.each(IN_VAULT)('planted into the vault: %s', (line, what) => {
  const behind = 'sodium.crypto_sign_detached(result, message, part.secretKey);';
  expect(planted('enclave/src/vault.ts', behind, line)).toContain(what);
});

test.each([
  ['console.log(this.#key);', 'logged'],
  ['const text = "key " + this.#key;', 'turned into text'],
  ['JSON.stringify({ key: this.#key });', 'serialised'],
  ['this.#key.use((bytes) => console.log(bytes));', 'logged'],
] as const)('planted into the row key: %s', (line, what) => {
  expect(planted('host/src/row-key.ts', '  wipe(): void {', line)).toContain(what);
});

test('the local linter ends with a fault when there is one', () => {
  const run = (args: readonly string[]) =>
    spawnSync(process.execPath, [join(import.meta.dirname, 'lint.ts'), ...args], { encoding: 'utf8' });
  const [clean, faulty] = [run([]), run([join(import.meta.dirname, 'bad')])];
  expect(clean.stdout).toMatch(/^Secrets: followed in \d+ files, \d+ exceptions with a reason, 0 faults\n$/);
  expect([clean.status, faulty.status]).toEqual([0, 1]);
  expect(faulty.stderr).toContain('bad/logged.ts:19: a secret is logged');
});

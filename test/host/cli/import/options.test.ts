/** The command line of what reads a key: its options, and keys that somebody puts on it or into the environment. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect, promisify } from 'node:util';
import { type Command, parseArguments } from '@quantumvault/host/cli/command.ts';
import { refuseExposedKeys, refuseKeyAsPath } from '@quantumvault/host/cli/import/exposed-key.ts';
import { KEY_OPTIONS, keyOptions } from '@quantumvault/host/cli/import/key-options.ts';
import { type ReadSeedOptions, readSeed } from '@quantumvault/host/cli/import/read-key.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { expectCode, refusalOf } from '../../../support/codes.ts';
import { mnemonicOf, pairOf } from './oracle.ts';

const COMMAND: Command = {
  name: 'reads',
  summary: '',
  options: KEY_OPTIONS,
  readsKey: true,
  run: () => Promise.reject(new QvError('internal')),
};
const seed = Buffer.alloc(32, 0x6b);
const { pair, address } = pairOf(seed);
const mnemonic = mnemonicOf(Buffer.alloc(16, 0x11));
const signature = toBase58(Buffer.alloc(64, 0x99));

const parse = (...argv: readonly string[]): ReadSeedOptions => keyOptions(parseArguments(COMMAND, argv));

afterEach(() => vi.unstubAllEnvs());

describe('options', () => {
  it.each([
    [[], { key: 'terminal' }],
    [['--key-fd', '0'], { key: { descriptor: 0 } }],
    [['--key-fd=63'], { key: { descriptor: 63 } }],
    [['--key-file', 'id.json', '--wallet', address], { key: { file: 'id.json' }, wallet: address }],
    [
      ['--key-form', 'mnemonic', '--path', 'none', '--passphrase'],
      { key: 'terminal', form: 'mnemonic', path: 'none', passphrase: 'terminal' },
    ],
    [
      ['--key-fd', '3', '--passphrase-fd', '4', '--path', "m/44'/501'"],
      { key: { descriptor: 3 }, passphrase: { descriptor: 4 }, path: "m/44'/501'" },
    ],
  ])('%j', (argv, options) => expect(parse(...argv)).toEqual(options));

  it.each([
    [['--key-fd', '3', '--key-file', 'x'], '--key-fd or --key-file, not both'],
    [['--key-fd', '3', '--passphrase-fd', '3'], '--key-fd and --passphrase-fd are one descriptor'],
    [['--passphrase', '--passphrase-fd', '3'], '--passphrase asks for it, --passphrase-fd reads it: not both'],
    [['--key-form', 'zqxj'], '--key-form is one of keypair, raw, base58, mnemonic'],
    [['--key-fd', '-1'], '--key-fd is the number of an open descriptor'],
    [['--key-fd=-1'], '--key-fd is the number of an open descriptor'],
    [['--key-fd', '03'], '--key-fd is the number of an open descriptor'],
    [['--key-fd', '3.0'], '--key-fd is the number of an open descriptor'],
    [['--passphrase-fd', 'zqxjzqxj'], '--passphrase-fd is the number of an open descriptor'],
    [['--passphrase', 'zqxjzqxj'], 'an unexpected argument'],
    [['zqxjzqxj'], 'an unexpected argument'],
    [['--passphrase=zqxjzqxj'], null],
  ])('%j is refused', (argv, value) => {
    const refusal = refusalOf(() => parse(...argv));
    expect(refusal?.code).toBe('usage_invalid');
    if (value === null) expect(inspect(refusal?.facts)).not.toContain('zqxj');
    else if (!argv.includes('-1')) expect(refusal?.facts.value).toBe(value);
  });

  it.each([
    [['--wallet', 'zqxjzqxj'], 'base58_malformed'],
    [['--path', 'zqxjzqxj'], 'derivation_path_malformed'],
    [['--path', "m/44'/501'/0'/0"], 'derivation_path_malformed'],
  ] as const)('%j is refused before anybody is asked', (argv, code) => {
    const refusal = refusalOf(() => parse(...argv));
    expect(refusal?.code).toBe(code satisfies ErrorCode);
    expect(inspect(refusal)).not.toContain('zqxj');
  });
});

describe('a key on the command line', () => {
  const keys: readonly (readonly [string, readonly string[]])[] = [
    ['a pair in base58', [toBase58(pair)]],
    ['a pair in base58 as an option', [`--key=${toBase58(pair)}`]],
    ['a pair in base58 in place of a file', ['--key-file', toBase58(pair)]],
    ['a keypair', [JSON.stringify([...pair])]],
    ['a seed as numbers', [`[${[...seed].join(', ')}]`]],
    ['a keypair in place of a descriptor', ['--key-fd', JSON.stringify([...pair])]],
    ['a mnemonic', [mnemonic]],
    ['a mnemonic as an option', [`--mnemonic=${mnemonic}`]],
    ['a mnemonic in words', mnemonic.split(' ')],
    ['a mnemonic behind options', ['--json', ...mnemonic.split(' '), '--passphrase']],
  ];

  it.each(keys)('is refused unseen: %s', (_, argv) => {
    const refusal = refusalOf(() => parse(...argv));
    expect(refusal?.code).toBe('key_exposed');
    expect(refusal?.facts.value).toBe(
      'the command line; qv reads keys from a descriptor, a private file or the terminal',
    );
    const shown = inspect(refusal);
    for (const word of argv.filter((given) => given.length > 7)) expect(shown).not.toContain(word.slice(0, 8));
  });

  it('is told from addresses, signatures, hashes and paths', () => {
    for (const argv of [
      ['--wallet', address],
      [signature],
      [`--signature=${signature}`],
      ['a'.repeat(64)],
      ['--key-file', './keys/of/the/twelve/owners/and/some/other/words/in/a/path/id.json'],
      ['--url', 'https://host.example', '--deployment', 'prod'],
    ])
      expect(refusalOf(() => refuseExposedKeys(argv, {}))).toBeUndefined();
  });

  it('in place of a path is refused when there is no such file', async () => {
    for (const path of [
      toBase58(pair),
      toBase58(seed),
      seed.toString('hex'),
      Buffer.from(pair).toString('hex').toUpperCase(),
      mnemonic,
    ]) {
      const refusal = await expectCode(readSeed({ key: { file: path } }), 'key_exposed');
      expect(inspect(refusal)).not.toContain(path.slice(0, 12));
    }
    for (const path of ['id.json', '/etc/quantumvault/wallet.json', 'id-2026-11-23', address.slice(1, 20)])
      expect(refusalOf(() => refuseKeyAsPath(path))).toBeUndefined();
  });
});

describe('a key in the environment', () => {
  it.each(['QV_KEY', 'QV_SEED', 'QV_MNEMONIC', 'QV_PASSPHRASE', 'QV_PRIVATE_KEY', 'QV_WALLET_SEED', 'QV_IMPORT_KEY'])(
    'is refused, and only its name is told: %s',
    (name) => {
      vi.stubEnv(name, 'zqxjzqxj');
      const refusal = refusalOf(() => parse('--key-fd', '3'));
      expect(refusal?.code).toBe('key_exposed');
      expect(refusal?.facts.value).toContain(`the environment, as ${name};`);
      expect(inspect(refusal)).not.toContain('zqxj');
      vi.stubEnv(name, '');
      expect(parse('--key-fd', '3')).toEqual({ key: { descriptor: 3 } });
    },
  );

  it('is none of what others are called', () => {
    const environment = { QV_API_TOKEN_FILE: 'x', QV_REQUIRE: 'all', QV_KEY_FILE: 'x', KEY: 'x', PATH: '/bin' };
    expect(refusalOf(() => refuseExposedKeys(['--key-fd', '3'], environment))).toBeUndefined();
  });
});

const run = promisify(execFile);
const HOST = join(import.meta.dirname, '../../../../host');

describe('sodium-native', () => {
  const maps = `process.on('exit', () => console.log(require('node:fs').readFileSync('/proc/self/maps', 'utf8').includes('sodium')))`;

  /** Whether a process that loads the module has loaded libsodium when it ends. */
  async function isLoadedBy(...modules: readonly string[]): Promise<boolean> {
    const imports = modules.map((module) => `await import(${JSON.stringify(join(HOST, module))});`).join('');
    const code = `import { createRequire } from 'node:module'; const require = createRequire('/'); ${maps}; ${imports}`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', code], { cwd: HOST });
    return stdout.trim().split('\n').at(-1) === 'true';
  }

  it('is in no process but one that reads a key', async () => {
    // The host as it serves, and every command of qv.
    expect(await isLoadedBy('src/start.ts', 'src/app.ts', 'src/admin.ts', 'src/cli/run.ts')).toBe(false);
    expect(await isLoadedBy('src/cli/import/read-key.ts')).toBe(false);
    const read = `const { loadSodium } = await import(${JSON.stringify(join(HOST, 'src/cli/import/sodium.ts'))}); await loadSodium();`;
    const code = `import { createRequire } from 'node:module'; const require = createRequire('/'); ${maps}; ${read}`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', code], { cwd: HOST });
    expect(stdout.trim()).toBe('true');
  });

  it('is imported in one place of the host', async () => {
    const { stdout } = await run('git', ['grep', '-lE', `['"]sodium-native['"]`, '--', 'host/src'], {
      cwd: join(HOST, '..'),
    });
    expect(stdout.trim().split('\n')).toEqual(['host/src/cli/import/sodium.ts']);
    const text = readFileSync(join(HOST, 'src/cli/import/sodium.ts'), 'utf8');
    expect(text.match(/sodium-native'/g)).toHaveLength(1);
    expect(text).toContain("await import('sodium-native')");
  });
});

describe('the launcher', () => {
  const launcher = join(HOST, '../.toolchain/run.mjs');
  const script = `const fs = require('node:fs'); console.log(fs.fstatSync(Number(process.argv[1])).isFile())`;

  it.each([
    ['--key-fd', '7'],
    ['--passphrase-fd', '9'],
    ['--key-fd=7', ''],
  ])('passes on the descriptor that %s %s names', async (option, value) => {
    const descriptor = value === '' ? '7' : value;
    const args = [launcher, 'node', '-e', script, '--', descriptor, option, ...(value === '' ? [] : [value])];
    const { stdout } = await run('sh', ['-c', `exec "$0" "$@" ${descriptor}< "$0"`, process.execPath, ...args]);
    expect(stdout.trim()).toBe('true');
  });
});

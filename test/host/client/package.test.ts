/** The SDK as a package: what is in it, that it needs nothing, and that its types say what they should. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSdk } from '@quantumvault/host/client/package/build.ts';
import { compile } from '@quantumvault/host/client/package/compile.ts';
import { readSources } from '@quantumvault/host/client/package/sources.ts';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Installed, installSdk, runProgram, systemNode, versionOf } from '../../support/sdk-package.ts';

const TSC = join(import.meta.dirname, '..', '..', '..', 'node_modules', 'typescript', 'bin', 'tsc');
const NODES = [process.execPath, systemNode()].filter((node) => node !== undefined);

let sdk: Installed;
beforeAll(async () => {
  sdk = await installSdk();
}, 120_000);
afterAll(() => sdk?.remove());

const read = (...path: readonly string[]): string => readFileSync(join(sdk.packageFolder, ...path), 'utf8');
const sources = (): readonly string[] => sdk.packed.filter((path) => /\.(?:js|d\.ts)$/.test(path));

describe('the tarball', () => {
  test('installs by itself: no dependencies, no scripts, nothing native', () => {
    const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, unknown>>;
    for (const member of ['dependencies', 'optionalDependencies', 'bundleDependencies', 'scripts', 'bin']) {
      expect(manifest[member], member).toBeUndefined();
    }
    expect(manifest['peerDependenciesMeta']).toEqual({
      '@solana/kit': { optional: true },
      '@solana/web3.js': { optional: true },
    });
    expect(Object.keys(manifest['peerDependencies'] ?? {})).toEqual(['@solana/kit', '@solana/web3.js']);
    expect(readdirSync(join(sdk.folder, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual([
      '@quantumvault',
    ]);
    expect(sdk.packed.filter((path) => !/^dist\/[\w/-]+\.(?:js|d\.ts)$/.test(path)).sort()).toEqual([
      'ERRORS.md',
      'README.md',
      'THIRD-PARTY.md',
      'package.json',
    ]);
  });

  test('needs Node in one file alone, and imports nothing that is not in it', () => {
    const imports = sources().flatMap((path) =>
      [...read(path).matchAll(/^(?:.*\bfrom|import) ['"]([^'"\s]+)['"];?$/gm)]
        .filter(([, specifier]) => !specifier?.startsWith('.'))
        .map(([line, specifier]) => [path, specifier, line.startsWith('import type')]),
    );
    expect(imports.sort()).toEqual([
      ['dist/client/kit.d.ts', '@solana/kit', true],
      ['dist/client/node.js', 'node:crypto', false],
      ['dist/client/web3.d.ts', '@solana/web3.js', true],
    ]);
  });

  test('names no machine it was built on, and no TypeScript file', () => {
    for (const path of sources()) {
      const text = read(path);
      expect(text.includes('node_modules'), path).toBe(false);
      expect(text.includes(process.cwd()), path).toBe(false);
      if (!path.includes('vendor')) expect(text, path).not.toMatch(/from ['"]\.[^'"]*\.ts['"]/);
    }
  });

  test('explains every error, and no other', () => {
    const documented = [...read('ERRORS.md').matchAll(/^\| `(\w+)` \| (\d+) \| (yes|no) \| (.+) \|$/gm)].map(
      ([, code, status, repeat, meaning]) => ({ code, status: Number(status), retryable: repeat === 'yes', meaning }),
    );
    expect(documented).toEqual(Object.entries(ERRORS).map(([code, row]) => ({ code, ...row })));
  });

  test('names every package whose code is in it, with its licence', () => {
    const notices = read('THIRD-PARTY.md');
    for (const name of ['@noble/hashes', '@peculiar/x509', 'asn1js', 'cbor-x', 'tweetnacl']) {
      expect(notices).toMatch(new RegExp(`^## ${name} \\d+\\.\\d+\\.\\d+$`, 'm'));
    }
    expect(notices).not.toContain('no licence named');
  });

  test('is the same from the same sources', async () => {
    const again = mkdtempSync(join(tmpdir(), 'qv-sdk-'));
    try {
      await buildSdk(again);
      for (const path of sdk.packed) {
        expect(readFileSync(join(again, path), 'utf8') === read(path), path).toBe(true);
      }
      await expect(buildSdk(again)).rejects.toThrow('is not empty');
    } finally {
      rmSync(again, { recursive: true, force: true });
    }
  });
});

describe('the build', () => {
  const withLine = (place: string, line: string) => {
    const { files, packages } = readSources();
    return { files: new Map(files).set(place, `${files.get(place)}\n${line}\n`), packages };
  };

  test.each([
    ['a Node built-in in the core', "import { readFileSync } from 'node:fs';\nexport const read = readFileSync;"],
    ['a Node global in the core', 'export const home = process.cwd();'],
    ['a function that Node 20 lacks', 'export const deferred = Promise.withResolvers<void>();'],
  ])('refuses %s', (_, line) => {
    expect(() => compile(withLine('client/http.ts', line))).toThrow('does not compile');
  });
});

describe.each(NODES.map((node) => [`Node ${versionOf(node)}`, node] as const))('under %s', (_, node) => {
  test('every entry loads, and the core works without kit and web3.js', async () => {
    writeFileSync(
      join(sdk.folder, 'load.js'),
      `import * as core from '@quantumvault/client';
       import * as kit from '@quantumvault/client/kit';
       import * as web3 from '@quantumvault/client/web3';
       import * as keys from '@quantumvault/client/node';
       const pair = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']);
       const signer = await core.signerFromKeyPair(pair);
       let code;
       try { core.createClient({ url: 'http://localhost', deployment: 'x', trust: { pcrSets: [] } }); }
       catch (error) { code = error instanceof core.QvError && error.code; }
       console.log(JSON.stringify([[core, kit, web3, keys].map((entry) => Object.keys(entry).sort()), signer.address.length > 30, code]));`,
    );
    const { exit, stdout, stderr } = await runProgram(node, ['load.js'], sdk.folder);
    expect([exit, stderr.replaceAll(/^\(.*\n|.*ExperimentalWarning.*\n/gm, '')]).toEqual([0, '']);
    const [names, hasAddress, code] = JSON.parse(stdout) as [string[][], boolean, string];
    expect(names.slice(1)).toEqual([['createKitSigner'], ['createWeb3Wallet'], ['signerFromSecretKey']]);
    expect(names[0]).toEqual(
      expect.arrayContaining(['BatchDenied', 'ERRORS', 'PolicyDenied', 'createClient', 'panic']),
    );
    expect([hasAddress, code]).toEqual([true, 'attestation_expectations_invalid']);
  });
});

test('bundles for browsers, where there is no Node at all', async () => {
  writeFileSync(join(sdk.folder, 'browser.js'), "export { createClient } from '@quantumvault/client';");
  const { outputFiles } = await build({
    entryPoints: [join(sdk.folder, 'browser.js')],
    bundle: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    logLevel: 'silent',
  });
  expect(outputFiles[0]?.text).not.toMatch(/\bfrom ['"]node:|\brequire\(['"]node:/);
});

describe('types, for a consumer', () => {
  async function check(name: string, text: string, options: object): Promise<string> {
    const folder = join(sdk.folder, name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'consumer.ts'), text);
    const strict = {
      target: 'es2022',
      module: 'nodenext',
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
    };
    const compilerOptions = { ...strict, types: [], ...options };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
    const { stdout } = await runProgram(process.execPath, [TSC, '-p', folder], folder);
    return stdout;
  }

  test('of the core: its declarations check by themselves, with a browser’s types and without Node’s', async () => {
    const core = `
      import { type Client, createClient, type ErrorCode, HostProblem, PolicyDenied, QvError, address, parsePcrSets, signerFromKeyPair, ERRORS } from '@quantumvault/client';
      const client: Client = createClient({ url: 'https://x', deployment: 'd', trust: { pcrSets: parsePcrSets(new Uint8Array(), 'p') } });
      const pair = (await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify'])) as CryptoKeyPair;
      const requester = await signerFromKeyPair(pair);
      await client.connect({ signal: AbortSignal.timeout(1) });
      try {
        const { signature, lamportsOut } = await client.sign({ wallet: address('x'), transaction: new Uint8Array(), requester, id: 'i', signalId: 's' });
        const bytes: Uint8Array = signature;
        const sum: bigint = lamportsOut;
        console.log(bytes, sum);
      } catch (error) {
        if (error instanceof PolicyDenied) console.log(error.leaf.sequence, error.facts.path);
        if (error instanceof HostProblem) { const wait: number | undefined = error.retryAfterSeconds; console.log(wait); }
        if (error instanceof QvError) { const code: ErrorCode = error.code; console.log(ERRORS[code].meaning, code === 'frozen'); }
      }
      // @ts-expect-error: an address is parsed, not asserted
      await client.sign({ wallet: 'x', transaction: new Uint8Array(), requester });
      // @ts-expect-error: no image is not a policy
      createClient({ url: 'https://x', deployment: 'd' });
      // @ts-expect-error: no such code
      const unknown: ErrorCode = 'frozzen';
      console.log(unknown);
    `;
    expect(await check('core', core, { lib: ['es2022', 'dom'], skipLibCheck: false })).toBe('');
    const errors = await check('core-wrong', core.replaceAll('// @ts-expect-error', '//'), { lib: ['es2022', 'dom'] });
    expect(errors.match(/error TS/g)).toHaveLength(3);
  });

  test('of the adapters: what kit, web3.js and wallet adapters ask for', async () => {
    for (const name of ['@solana/kit', '@solana/web3.js', '@types/node']) sdk.bring(name);
    const adapters = `
      import type { Client, Signer } from '@quantumvault/client';
      import { createKitSigner } from '@quantumvault/client/kit';
      import { signerFromSecretKey } from '@quantumvault/client/node';
      import { createWeb3Wallet } from '@quantumvault/client/web3';
      import { address, type TransactionPartialSigner } from '@solana/kit';
      import { PublicKey, Transaction, VersionedTransaction } from '@solana/web3.js';
      declare const client: Client;
      const requester: Signer = signerFromSecretKey(new Uint8Array(64));
      const wallet = address('So11111111111111111111111111111111111111112');
      const signer: TransactionPartialSigner<'So11111111111111111111111111111111111111112'> = createKitSigner({ client, requester, wallet });
      // Anchor's and the wallet adapters' shape.
      interface Wallet {
        publicKey: PublicKey;
        signTransaction<T extends Transaction | VersionedTransaction>(tx: T): Promise<T>;
        signAllTransactions<T extends Transaction | VersionedTransaction>(txs: T[]): Promise<T[]>;
      }
      const adapter: Wallet = createWeb3Wallet({ client, requester, publicKey: new PublicKey(wallet) });
      const legacy: Transaction = await adapter.signTransaction(new Transaction());
      console.log(signer.address, legacy);
      // @ts-expect-error: another wallet's signer
      const other: TransactionPartialSigner<'11111111111111111111111111111111'> = signer;
      // @ts-expect-error: kit's addresses are branded
      createKitSigner({ client, requester, wallet: 'x' });
      // @ts-expect-error: nothing else can be signed
      await adapter.signTransaction(new Uint8Array());
      console.log(other);
    `;
    const options = { lib: ['es2023', 'dom'], types: ['node'], skipLibCheck: true };
    expect(await check('adapters', adapters, options)).toBe('');
    const errors = await check('adapters-wrong', adapters.replaceAll('// @ts-expect-error', '//'), options);
    expect(errors.match(/error TS/g)).toHaveLength(3);
  });
});

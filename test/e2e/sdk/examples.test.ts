/**
 * The examples against a whole appliance: as they stand in the repository, and as an application would run them, with
 * the package installed from its tarball, under the pinned Node and under the machine's own.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import * as kit from '@solana/kit';
import { VersionedTransaction } from '@solana/web3.js';
import { transform } from 'esbuild';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LIMIT_LAMPORTS } from '../../stack/scenario.ts';
import {
  type Ended,
  type Installed,
  installSdk,
  runProgram,
  systemNode,
  versionOf,
} from '../../support/sdk-package.ts';
import { type Appliance, startAppliance } from './appliance.ts';

const EXAMPLES = join(import.meta.dirname, '..', '..', '..', 'host', 'examples');
const own = systemNode();

let appliance: Appliance;
let settings: string;
let sdk: Installed;

beforeAll(async () => {
  // One after the other: both bundle, and whoever is done first ends the bundler.
  sdk = await installSdk();
  appliance = await startAppliance();
  settings = appliance.writeSettings();
  for (const name of ['@solana/kit', '@solana/web3.js']) sdk.bring(name);
  await copyExamples(join(sdk.folder, 'examples'));
}, 180_000);
afterAll(async () => {
  sdk?.remove();
  await appliance?.stack.stop();
});

/** As JavaScript, which every Node runs, and with the package's imports in place of the repository's. */
async function copyExamples(folder: string): Promise<void> {
  mkdirSync(folder);
  for (const name of readdirSync(EXAMPLES)) {
    const { code } = await transform(readFileSync(join(EXAMPLES, name), 'utf8'), { loader: 'ts', target: 'es2022' });
    const text = code
      .replaceAll('"../src/client/index.ts"', '"@quantumvault/client"')
      .replaceAll(/"\.\.\/src\/client\/(\w+)\.ts"/g, '"@quantumvault/client/$1"')
      .replaceAll(/"\.\/(\w+)\.ts"/g, '"./$1.js"');
    writeFileSync(join(folder, `${basename(name, '.ts')}.js`), text);
  }
}

type Run = (example: string, ...args: readonly string[]) => Promise<Ended>;

const WAYS: readonly (readonly [string, Run])[] = [
  [
    'from the repository',
    (name, ...args) => runProgram(process.execPath, [join(EXAMPLES, `${name}.ts`), settings, ...args], '/'),
  ],
  ...[process.execPath, own]
    .filter((node) => node !== undefined)
    .map((node): readonly [string, Run] => [
      `with the package, under Node ${versionOf(node)}`,
      (name, ...args) => runProgram(node, [`examples/${name}.js`, settings, ...args], sdk.folder),
    ]),
];

describe.each(WAYS)('%s', (_, run) => {
  async function answer(example: string, ...args: readonly string[]): Promise<Record<string, unknown>> {
    const { exit, stdout, stderr } = await run(example, ...args);
    expect([exit, stderr], stderr).toEqual([0, '']);
    return JSON.parse(stdout) as Record<string, unknown>;
  }

  /** By two libraries that had no part in it, and tweetnacl. */
  async function expectSigned(base64: unknown): Promise<void> {
    const wire = fromBase64(String(base64));
    const read = VersionedTransaction.deserialize(wire);
    const key = read.message.staticAccountKeys[0]?.toBytes() ?? new Uint8Array(32);
    const signature = read.signatures[0] ?? new Uint8Array(64);
    expect(nacl.sign.detached.verify(read.message.serialize(), signature, key)).toBe(true);
    const transaction = kit.getTransactionDecoder().decode(wire);
    kit.assertIsFullySignedTransaction(transaction);
    expect(Object.keys(transaction.signatures)).toEqual([appliance.wallet]);
  }

  test('connect', async () => {
    expect(await answer('connect')).toMatchObject({ proves: 'authenticity and recency', same: true });
  });

  test('sign', async () => {
    const signed = await answer('sign', '1234');
    expect(signed).toMatchObject({ dryRun: 'allow', lamportsOut: '1234', repeated: true });
    await expectSigned(signed['transaction']);
  });

  test('batch', async () => {
    const { signatures } = await answer('batch', '5');
    expect(new Set(signatures as string[]).size).toBe(3);
  });

  test('kit', async () => {
    const { transaction, signature } = await answer('kit');
    await expectSigned(transaction);
    expect(signature).toBe(
      kit.getSignatureFromTransaction(kit.getTransactionDecoder().decode(fromBase64(String(transaction)))),
    );
  });

  test('web3', async () => {
    const { versioned, legacy } = await answer('web3');
    for (const transaction of [versioned, ...(legacy as string[])]) await expectSigned(transaction);
  });

  test('what is denied ends with 3 and the rule, by which way ever it was asked', async () => {
    for (const example of ['sign', 'batch', 'kit', 'web3']) {
      const { exit, stdout, stderr } = await run(example, String(LIMIT_LAMPORTS + 1n));
      expect([exit, stdout], `${example}: ${stderr}`).toEqual([3, '']);
      expect(stderr).toContain('"code":"policy_denied","path":"sol.maxPerTransaction"');
    }
  });
});

test('an image that is not pinned gets nothing to sign', async () => {
  const file = JSON.parse(readFileSync(settings, 'utf8')) as Record<string, string>;
  const pcrs = JSON.parse(readFileSync(file['pcrs'] ?? '', 'utf8')) as Record<string, string>;
  const other = join(sdk.folder, 'other-pcrs.json');
  writeFileSync(other, JSON.stringify({ ...pcrs, PCR0: 'ab'.repeat(48) }));
  const changed = join(sdk.folder, 'other.json');
  writeFileSync(changed, JSON.stringify({ ...file, pcrs: other }));
  const { exit, stderr } = await runProgram(process.execPath, ['examples/sign.js', changed], sdk.folder);
  expect(exit).toBe(1);
  expect(stderr).toContain('"code":"attestation_pcrs_not_allowed"');
});

test('every example is run here, and named where users look', () => {
  const shared = ['settings.ts', 'transfer.ts'];
  const examples = readdirSync(EXAMPLES).filter((name) => !shared.includes(name));
  expect(examples.sort()).toEqual(['batch.ts', 'connect.ts', 'kit.ts', 'sign.ts', 'web3.ts']);
  const readme = readFileSync(join(EXAMPLES, '..', '..', 'README.md'), 'utf8');
  for (const name of examples) expect(readme).toContain(`host/examples/${name}`);
});

/** The script of the guide's last step, as a process of its own, against the local stack. */
import { execFile } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { measurements } from '../../stack/scenario.ts';
import { type Stack, startStack } from '../../stack/stack.ts';
import { noteCode } from '../../support/codes-seen.ts';
import { until } from '../../support/temporary.ts';

const SCRIPT = join(import.meta.dirname, '..', '..', '..', 'host', 'deploy', 'first-signature.ts');
let stack: Stack;
let options: Readonly<Record<string, string>>;

beforeAll(async () => {
  stack = await startStack({ logLevel: 'warn' });
  const file = (name: string, text: string): string => {
    const path = join(stack.dir, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  options = {
    url: stack.url,
    deployment: stack.deployment,
    key: stack.kmsKeyArn,
    pcrs: file('measurements.json', JSON.stringify({ Measurements: measurements(stack.pcrs) })),
    owner: file('owner.json', secretKey()),
    requester: file('requester.json', secretKey()),
    'unsafe-trusted-root': file('root.pem', stack.nsmRootPem),
  };
});
afterAll(() => stack.stop());

/** As solana-keygen writes it: seed and public key, 64 numbers. */
function secretKey(): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32);
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
  return JSON.stringify([...seed, ...publicKey]);
}

function run(change: Readonly<Record<string, string | undefined>> = {}) {
  const argv = Object.entries({ ...options, ...change }).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, value],
  );
  return new Promise<{ exit: number; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, [SCRIPT, ...argv], (error, stdout, stderr) => {
      resolve({ exit: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

it('makes a wallet and gets a signature, which the log has', async () => {
  const { exit, stdout, stderr } = await run();
  expect([exit, stderr.includes('the owner reads and signs')]).toEqual([0, true]);
  const answer = JSON.parse(stdout) as Record<string, string>;
  expect(answer).toMatchObject({ lamportsOut: '1', panicCode: expect.stringMatching(/^[0-9A-Z-]{20,}$/) });
  expect(answer['signature']).toMatch(/^[1-9A-HJ-NP-Za-km-z]{80,90}$/);
  // The log is published a moment after the reply.
  const receipt = `${stack.url}/v1/receipts/${answer['requestId']}`;
  await until('the log has it', async () => (await fetch(receipt)).status === 200);
  const wallet = await fetch(`${stack.url}/v1/wallets/${answer['wallet']}`);
  expect(await wallet.json()).toMatchObject({ epoch: 1 });
});

it.each([
  ['another image', { pcrs: 'other' }, 'attestation_pcrs_not_allowed'],
  [
    'AWS’s root, under which nothing here is attested',
    { 'unsafe-trusted-root': undefined },
    'attestation_root_untrusted',
  ],
  ['no owner', { owner: undefined }, 'usage_invalid'],
  ['an owner’s file that is none', { owner: '/dev/null' }, 'input_unreadable'],
])('%s: nothing is made', async (_name, change, code) => {
  const path = join(stack.dir, 'other.json');
  writeFileSync(path, JSON.stringify({ PCR0: 'ab'.repeat(48), PCR1: 'ab'.repeat(48), PCR2: 'ab'.repeat(48) }));
  const { exit, stdout, stderr } = await run('pcrs' in change ? { pcrs: path } : change);
  expect([exit, stdout]).toEqual([1, '']);
  const refusal = JSON.parse(stderr) as { code: string };
  noteCode(refusal.code);
  expect(refusal.code).toBe(code);
});

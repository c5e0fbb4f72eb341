/** qv verify receipt: exit codes, what people and machines are told, and what never reaches the terminal. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { addressOf } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { LEAF_COLUMNS } from '@quantumvault/shared/evidence/leaf-record.ts';
import { RECEIPT_STEPS } from '@quantumvault/shared/evidence/receipt-checklist.ts';
import { decodeTransaction } from '@quantumvault/shared/solana/transaction.ts';
import { formatVerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import nacl from 'tweetnacl';
import { describe, expect, test } from 'vitest';
import { testPcr } from '../../stack/support.ts';
import { Deployment, nodeSha256 } from '../../support/log-builder.ts';
import { receiptFileOf, receiptText } from '../../support/receipts.ts';
import { transfer, wireOf } from '../../support/wallet-kit.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';
import { file } from './documents.ts';

const QV = join(import.meta.dirname, '..', '..', '..', 'host', 'src', 'cli', 'qv.ts');
const deployment = new Deployment({ witnesses: 2 });
const log = await deployment.start();
const wallet = log.wallet();
wallet.sign({ tokens: [{ mint: wallet.owner, amount: 7n }] });
wallet.deny('sol.window');

const pair = nacl.sign.keyPair.fromSeed(new Uint8Array(32).fill(7));
const wire = wireOf(transfer(addressOf(pair.publicKey), wallet.owner, 5n));
const { messageBytes } = decodeTransaction(wire);
const made = nacl.sign.detached(messageBytes, pair.secretKey);
const own = log.record({
  kind: 'signed',
  wallet: addressOf(pair.publicKey),
  messageHash: nodeSha256(messageBytes),
  signatureHash: nodeSha256(made),
});

const rootPem = `-----BEGIN CERTIFICATE-----\n${toBase64(deployment.root.certificateDer).replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
const TRUST = [
  '--pcrs',
  file('pcrs.json', JSON.stringify({ PCR0: toHex(testPcr(0xa0)), PCR1: toHex(testPcr(0xa1)) })),
  '--root',
  file('root.pem', rootPem),
];
const WITNESSES = deployment.witnesses.flatMap(({ key }) => ['--witness', formatVerifierKey(key)]);
const good = file('receipt.json', receiptText(await receiptFileOf(log, 3)));
const denied = file('denied.json', receiptText(await receiptFileOf(log, 4)));
const signed = file('signed.json', receiptText(await receiptFileOf(log, own.sequence)));
const verify = (...argv: readonly string[]): Promise<JsonAnswer> => qvJson('verify', 'receipt', ...argv);

describe('a genuine receipt', () => {
  test('to machines: both checklists, the leaf, the enclave, the log', async () => {
    const answer = await verify(good, ...TRUST, ...WITNESSES);
    expect(answer).toMatchObject({
      ok: true,
      exit: 0,
      receipt: { source: good },
      statement: expect.stringContaining('the witnesses have seen'),
      leaf: {
        kind: 'signed',
        wallet: wallet.address,
        sequence: '3',
        lamportsOut: '1000',
        tokens: [{ mint: wallet.owner, amount: '7' }],
      },
      enclave: { boot: log.boot, logOrigin: deployment.logOrigin },
      checkpoint: { size: '6', origin: log.origin },
      witnesses: [{ name: 'witness-0.example.com' }, { name: 'witness-1.example.com' }],
      warnings: [expect.stringContaining('--root is not AWS’s root')],
    });
    expect((answer['steps'] as { name: string }[]).map(({ name }) => name)).toEqual(Object.keys(RECEIPT_STEPS));
    expect((answer['attestation'] as unknown[]).length).toBeGreaterThan(15);
    expect(Object.keys(answer['leaf'] as object)).toEqual([...LEAF_COLUMNS]);
  });

  test('to people: a denial with its rule', async () => {
    const { exit, stdout, stderr } = await qv('verify', 'receipt', denied, ...TRUST);
    expect([exit, stderr]).toEqual([0, '']);
    for (const title of Object.values(RECEIPT_STEPS)) expect(stdout).toMatch(new RegExp(`^[✓–] ${title}$`, 'm'));
    expect(stdout).toContain('    ✓ PCRs match an allowed set');
    expect(stdout).toMatch(/Decision +denied: a transaction was denied/);
    expect(stdout).toMatch(/Rule +sol\.window/);
    expect(stdout).toContain(wallet.requester);
    expect(stdout).toContain('Without witnesses');
    expect(stdout).toContain('UNSAFE options were used');
  });

  test('on standard input', async () => {
    const child = spawn(process.execPath, [QV, 'verify', 'receipt', '-', ...TRUST, '--json']);
    child.stdin.end(readFileSync(good));
    const answer = JSON.parse(await text(child.stdout)) as JsonAnswer;
    expect(answer).toMatchObject({ ok: true, receipt: { source: '-' }, leaf: { kind: 'signed' } });
  });

  test('about this transaction and this signature', async () => {
    const subject = ['--transaction', toBase64(wire), '--signature', toBase58(made)];
    expect(await verify(signed, ...TRUST, ...subject)).toMatchObject({ ok: true });
    const inFile = ['--transaction', file('tx', `${toBase64(wire)}\n`)];
    expect(await verify(signed, ...TRUST, ...inFile)).toMatchObject({ ok: true });
  });
});

describe('a check that fails: exit 1, and nothing of the leaf is told', () => {
  const OTHER = toBase58(new Uint8Array(64).fill(9));
  test.each<[string, string, readonly string[]]>([
    ['attestation_pcrs_not_allowed', 'attestation', [good, ...TRUST.slice(2), '--pcr0', 'ab'.repeat(48)]],
    ['attestation_root_untrusted', 'attestation', [good, ...TRUST.slice(0, 2)]],
    ['evidence_mismatch', 'transaction', [good, ...TRUST, '--transaction', toBase64(wire)]],
    ['evidence_mismatch', 'signature', [signed, ...TRUST, '--signature', OTHER]],
    [
      'witnesses_too_few',
      'witnesses',
      [good, ...TRUST, '--witness', formatVerifierKey(verifierKey('w', 'cosignature', pair.publicKey))],
    ],
  ])('%s at %s', async (code, step, argv) => {
    const answer = await verify(...argv);
    expect(answer).toMatchObject({ ok: false, exit: 1, error: { code, step } });
    expect(answer).not.toHaveProperty('leaf');
    expect(answer).not.toHaveProperty('statement');
    const { stdout } = await qv('verify', 'receipt', ...argv);
    expect(stdout).toContain('✗ NOT verified');
    expect(stdout).not.toMatch(/Decision +signed/);
  });

  test('a threshold of one is enough when one has cosigned', async () => {
    const one = file('one.json', receiptText(await receiptFileOf(log, 3, { witnesses: 1 })));
    expect(await verify(one, ...TRUST, ...WITNESSES)).toMatchObject({ error: { code: 'witnesses_too_few' } });
    expect(await verify(one, ...TRUST, ...WITNESSES, '--witness-threshold', '1')).toMatchObject({ ok: true });
  });
});

describe('unusable: exit 2', () => {
  const key = formatVerifierKey(verifierKey('w', 'ed25519', pair.publicKey));
  test.each<[string, readonly string[]]>([
    ['usage_invalid', []],
    ['usage_invalid', [good, good, ...TRUST]],
    ['usage_invalid', [good]],
    ['usage_invalid', [good, ...TRUST, '--witness', key]],
    ['usage_invalid', [good, ...TRUST, ...WITNESSES, '--witness-threshold', '3']],
    ['usage_invalid', [good, ...TRUST, ...WITNESSES, '--witness-threshold', '-1']],
    ['usage_invalid', [good, ...TRUST, '--witness-threshold', '1']],
    ['usage_invalid', ['-', ...TRUST, '--transaction', '-']],
    ['usage_invalid', [good, ...TRUST, '--unsafe-trusted-root', 'x']],
    ['log_key_malformed', [good, ...TRUST, '--witness', 'x']],
    ['log_key_repeated', [good, ...TRUST, ...WITNESSES, ...WITNESSES]],
    ['base58_malformed', [good, ...TRUST, '--signature', 'x']],
    ['base64_malformed', [good, ...TRUST, '--transaction', 'x']],
    ['transaction_truncated', [good, ...TRUST, '--transaction', 'AQ==']],
    ['receipt_malformed', [file('none.json', '{}'), ...TRUST]],
    ['receipt_malformed', [file('empty', ''), ...TRUST]],
    ['input_unreadable', ['/does/not/exist', ...TRUST]],
    ['input_unreadable', ['/dev/zero', ...TRUST]],
    ['body_too_large', [file('large', Buffer.alloc(300 * 1024)), ...TRUST]],
  ])('%s', async (code, argv) => {
    expect(await verify(...argv)).toMatchObject({ ok: false, exit: 2, error: { code } });
  });
});

test('no text of a receipt drives the terminal', async () => {
  const evil = '\u001b]0;pwn\u0007\u009b31m\u202e';
  const receipt = receiptText(await receiptFileOf(log, 3));
  for (const changed of [
    receipt.replace('log.example.com', JSON.stringify(evil).slice(1, -1)),
    receipt.replace('"index":"3"', `"index":${JSON.stringify(evil)}`),
    receipt.replace('"index"', `${JSON.stringify(evil)}:1,"index"`),
  ]) {
    expect(changed).not.toBe(receipt);
    for (const extra of [[], ['--json']]) {
      const { exit, stdout, stderr } = await qv('verify', 'receipt', file('evil.json', changed), ...TRUST, ...extra);
      expect(exit).not.toBe(0);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
      expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    }
  }
});

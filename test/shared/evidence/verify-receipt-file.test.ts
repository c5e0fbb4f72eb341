/** Receipt files verified offline: what holds, what any change breaks, and the code of each refusal. */
import { addressOf, hash, signature, timeMs } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { encodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LEAF_COLUMNS, leafRecord, leafRows } from '@quantumvault/shared/evidence/leaf-record.ts';
import {
  RECEIPT_STEPS,
  type ReceiptExpectations,
  type ReceiptReport,
  type ReceiptStepName,
} from '@quantumvault/shared/evidence/receipt-checklist.ts';
import type { ReceiptFile } from '@quantumvault/shared/evidence/receipt-file.ts';
import { verifyReceiptFile } from '@quantumvault/shared/evidence/verify-receipt-file.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { describe, expect, test } from 'vitest';
import { documentOf, testNsm, testPcr } from '../../stack/support.ts';
import { expectCode } from '../../support/codes.ts';
import { noteCode } from '../../support/codes-seen.ts';
import { Deployment, nodeSha256, START, verifyEd25519 } from '../../support/log-builder.ts';
import { receiptFileOf, receiptText } from '../../support/receipts.ts';
import { witnessSigner } from '../tlog/keys.ts';

const numRuns = Number(process.env['PROPERTY_RUNS'] ?? 40);
const deployment = new Deployment({ witnesses: 2 });
const log = await deployment.start();
const wallet = log.wallet();
for (let count = 0; count < 5; count++) wallet.sign();
wallet.deny();
const other = await deployment.start();
other.wallet().sign();

const SIGNED = 4;
const expected = (change: Partial<ReceiptExpectations> = {}): ReceiptExpectations => {
  const { receipts: _, onChain: __, since: ___, seen: ____, ...own } = deployment.expectations();
  return { ...own, ...change };
};
const verify = (file: ReceiptFile | string, change: Partial<ReceiptExpectations> = {}): Promise<ReceiptReport> =>
  verifyReceiptFile(utf8(typeof file === 'string' ? file : receiptText(file)), expected(change), verifyEd25519);

async function expectFailure(
  step: ReceiptStepName,
  code: ErrorCode,
  file: ReceiptFile | string,
  change: Partial<ReceiptExpectations> = {},
): Promise<ReceiptReport> {
  const report = await verify(file, change);
  expect(report.ok ? 'verified' : report.failure).toMatchObject({ step, code });
  noteCode(code);
  // Nothing in a receipt that fails is known to be true.
  expect(report).not.toHaveProperty('receipt');
  return report;
}

const good = await receiptFileOf(log, SIGNED);

describe('a genuine receipt', () => {
  test.each([0, 1, 2, SIGNED, 8])('of leaf %i verifies, at every size that has it', async (sequence) => {
    for (let size = sequence + 1; size <= log.size; size++) {
      const report = await verify(await receiptFileOf(log, sequence, { size }));
      expect(report.ok).toBe(true);
      expect(report.ok && report.receipt.leaf).toEqual(log.leaves[sequence]);
      expect(report.ok && report.receipt.checkpoint.size).toBe(BigInt(size));
    }
  });

  test('every step is listed, in order, and the attestation’s own', async () => {
    const report = await verify(good);
    expect(report.steps.map(({ name }) => name)).toEqual(Object.keys(RECEIPT_STEPS));
    expect(new Set(report.steps.map(({ status }) => status))).toEqual(new Set(['pass', 'skipped']));
    expect(report.attestation.map(({ status }) => status)).not.toContain('fail');
    expect(report.attestation.length).toBeGreaterThan(15);
    expect(report.ok && report.receipt.witnesses.map(({ name }) => name)).toEqual([
      'witness-0.example.com',
      'witness-1.example.com',
    ]);
  });

  test('without witnesses their step is skipped, and that is said', async () => {
    const report = await verify(await receiptFileOf(log, SIGNED, { witnesses: 0 }), {
      witnesses: [],
      witnessThreshold: 0,
    });
    expect(report.ok).toBe(true);
    expect(report.steps.find(({ name }) => name === 'witnesses')).toMatchObject({ status: 'skipped' });
  });
});

describe('what was expected', () => {
  test('another image: that step alone fails, with its own checklist', async () => {
    const pcrSets = [{ name: 'other', pcrs: new Map([[0, testPcr(1)]]) }];
    const report = await expectFailure('attestation', 'attestation_pcrs_not_allowed', good, { pcrSets });
    expect(report.steps.filter(({ status }) => status === 'fail').map(({ name }) => name)).toEqual(['attestation']);
    expect(report.attestation.filter(({ status }) => status === 'fail').map(({ name }) => name)).toEqual(['pcrs']);
  });

  test('AWS’s root', async () => {
    const { unsafeTrustedRootDer: _, ...aws } = expected();
    const report = await verifyReceiptFile(utf8(receiptText(good)), aws, verifyEd25519);
    expect(report.ok ? '' : report.failure.code).toBe('attestation_root_untrusted');
  });

  test('a debug enclave counts only when allowed', async () => {
    const debug = await deployment.start({ debug: true });
    debug.wallet().sign();
    const file = await receiptFileOf(debug, 3);
    const pcrSets = [{ name: 'debug', pcrs: new Map([0, 1, 2].map((index) => [index, testPcr(0)])) }];
    await expectFailure('attestation', 'attestation_debug_enclave', file, { pcrSets });
    expect((await verify(file, { pcrSets, allowDebug: true })).ok).toBe(true);
  });

  test('configuration and log', async () => {
    const configHash = hash(new Uint8Array(32));
    await expectFailure('configuration', 'evidence_mismatch', good, { configHash });
    await expectFailure('configuration', 'evidence_mismatch', good, { logOrigin: 'elsewhere.example' });
  });

  test('witnesses: as many as asked for, of those known', async () => {
    const one = await receiptFileOf(log, SIGNED, { witnesses: 1 });
    await expectFailure('witnesses', 'witnesses_too_few', one);
    expect((await verify(one, { witnessThreshold: 1 })).ok).toBe(true);
    const strangers = [witnessSigner('witness-0.example.com', 1n).key, witnessSigner('other.example.com', 1n).key];
    await expectFailure('witnesses', 'witnesses_too_few', good, { witnesses: strangers, witnessThreshold: 1 });
  });

  test.each<[string, Partial<ReceiptExpectations>, ErrorCode]>([
    ['no image', { pcrSets: [] }, 'attestation_expectations_invalid'],
    ['more witnesses than there are', { witnessThreshold: 3 }, 'attestation_expectations_invalid'],
    ['half a witness', { witnessThreshold: 0.5 }, 'attestation_expectations_invalid'],
    ['no number', { witnessThreshold: Number.NaN }, 'attestation_expectations_invalid'],
    ['fewer than none', { witnessThreshold: -1 }, 'attestation_expectations_invalid'],
    ['a signature of 63 bytes', { signature: new Uint8Array(63) }, 'attestation_expectations_invalid'],
    [
      'a key that is no witness’s',
      { witnesses: [verifierKey('log', 'ed25519', new Uint8Array(32))], witnessThreshold: 0 },
      'attestation_expectations_invalid',
    ],
  ])('%s is refused before anything is read', async (_, change, code) => {
    await expectCode(verify('', change), code);
  });

  test('one witness counts once, under two names', async () => {
    const [key] = expected().witnesses;
    if (key === undefined) throw new Error('no witness');
    const witnesses = [key, verifierKey('alias', 'cosignature', key.publicKey)];
    await expectCode(verify(good, { witnesses, witnessThreshold: 2 }), 'log_key_repeated');
  });
});

describe('the subject', () => {
  const pair = nacl.sign.keyPair.fromSeed(new Uint8Array(32).fill(7));
  const message = utf8('a message');
  const made = nacl.sign.detached(message, pair.secretKey);
  const own = log.record({
    kind: 'signed',
    wallet: addressOf(pair.publicKey),
    messageHash: nodeSha256(message),
    signatureHash: nodeSha256(made),
  });
  const forged = log.record({
    kind: 'signed',
    wallet: addressOf(pair.publicKey),
    messageHash: nodeSha256(message),
    signatureHash: nodeSha256(new Uint8Array(64)),
  });

  test('this transaction, this signature, and both', async () => {
    const file = await receiptFileOf(log, own.sequence);
    for (const change of [{ message }, { signature: made }, { message, signature: made }]) {
      expect((await verify(file, change)).ok).toBe(true);
    }
  });

  test('another transaction, another signature, or none at all', async () => {
    const file = await receiptFileOf(log, own.sequence);
    await expectFailure('transaction', 'evidence_mismatch', file, { message: utf8('another') });
    await expectFailure('signature', 'evidence_mismatch', file, { signature: new Uint8Array(64) });
    const boot = await receiptFileOf(log, 0);
    await expectFailure('transaction', 'evidence_mismatch', boot, { message });
    await expectFailure('signature', 'evidence_mismatch', boot, { signature: made });
  });

  test('a signature that the leaf names but the wallet did not make', async () => {
    const file = await receiptFileOf(log, forged.sequence);
    const zeros = new Uint8Array(64);
    expect((await verify(file, { signature: zeros })).ok).toBe(true);
    await expectFailure('signature', 'evidence_mismatch', file, { signature: zeros, message });
  });
});

describe('parts that do not belong together', () => {
  test('leaf 0 of another boot', async () => {
    const { bootRecord } = await receiptFileOf(other, 1);
    const report = await expectFailure('boot-key', 'evidence_mismatch', { ...good, bootRecord });
    const failed = report.steps.filter(({ status }) => status === 'fail').map(({ name }) => name);
    expect(failed).toEqual(['boot-key', 'leaf-signature', 'checkpoint', 'witnesses', 'boot-inclusion', 'inclusion']);
  });

  test('a leaf of another boot', async () => {
    const { receipt } = await receiptFileOf(other, SIGNED - 1);
    await expectFailure('boot-key', 'evidence_mismatch', { ...good, receipt });
  });

  test('another boot’s word about this one', async () => {
    const receipt = { leaf: good.receipt.leaf, signature: other.signAsBoot(good.receipt.leaf) };
    await expectFailure('leaf-signature', 'evidence_signature_invalid', { ...good, receipt });
    const { receipt: boot, proof } = good.bootRecord;
    const bootRecord = { receipt: { leaf: boot.leaf, signature: other.signAsBoot(boot.leaf) }, proof };
    await expectFailure('boot-signature', 'evidence_signature_invalid', { ...good, bootRecord });
  });

  test('a boot that claims another’s key in its document, or another configuration or log', async () => {
    const claims = await deployment.start({ attested: { bootKey: log.boot } });
    await expectFailure('boot-key', 'evidence_mismatch', await receiptFileOf(claims, 0));
    const elsewhere = await deployment.start({ attested: { logOrigin: 'elsewhere.example/qv' } });
    await expectFailure('configuration', 'evidence_mismatch', await receiptFileOf(elsewhere, 0));
  });

  test('the checkpoint of another boot, or one before the leaf', async () => {
    const { checkpoint } = await receiptFileOf(other, 1);
    await expectFailure('checkpoint', 'log_note_unsigned', { ...good, checkpoint });
    await expectFailure('boot-inclusion', 'log_proof_malformed', {
      ...good,
      checkpoint: log.checkpoint({ size: SIGNED }),
    });
  });

  test('a checkpoint that the boot key signed for another origin', async () => {
    const checkpoint = log.checkpoint({ origin: `${log.origin}/other` });
    await expectFailure('checkpoint', 'log_origin_mismatch', { ...good, checkpoint });
  });

  test('a checkpoint of a tree without the leaf', async () => {
    const entries = [...log.entries.slice(0, SIGNED), utf8('other'), ...log.entries.slice(SIGNED + 1)];
    const forked = { ...good, checkpoint: log.checkpoint({ entries }) };
    await expectFailure('boot-inclusion', 'log_proof_invalid', forked);
  });

  test('a leaf that the boot signed but never logged', async () => {
    const leaf = { ...(log.leaves[SIGNED] ?? fail()), time: timeMs(1) };
    const bytes = encodeLeaf(leaf);
    const receipt = { leaf: bytes, signature: log.signAsBoot(bytes) };
    await expectFailure('inclusion', 'log_proof_invalid', { ...good, receipt });
  });

  test('a leaf that stands elsewhere in the tree than it says', async () => {
    const odd = await deployment.start();
    odd.wallet().sign();
    odd.rewrite(3, (leaf) => ({ ...leaf, sequence: 7n }));
    await expectFailure('inclusion', 'evidence_mismatch', await receiptFileOf(odd, 3));
    const moved = { ...(await receiptFileOf(odd, 3)), index: 7n };
    await expectFailure('inclusion', 'log_proof_malformed', moved);
  });

  test('a leaf 0 that is none', async () => {
    const bootRecord = { receipt: log.receipt(1), proof: good.bootRecord.proof };
    const report = await expectFailure('boot-record', 'evidence_mismatch', { ...good, bootRecord });
    expect(report.steps.slice(2).every(({ status }) => status === 'not-reached')).toBe(true);
    expect(report.attestation).toEqual([]);
    for (const change of [{ sequence: 1n }, { previous: hash(new Uint8Array(32)) }, { attestation: undefined }]) {
      const { attestation, ...rest } = log.leaves[0] ?? fail();
      const changed = { ...rest, ...(attestation && { attestation }), ...change };
      const leaf = encodeLeaf(changed as typeof rest);
      const record = { receipt: { leaf, signature: log.signAsBoot(leaf) }, proof: good.bootRecord.proof };
      await expectFailure('boot-record', 'evidence_mismatch', { ...good, bootRecord: record });
    }
  });

  test('a document that is none, or not of an enclave of ours', async () => {
    const of = (attestation: Uint8Array): ReceiptFile => {
      const leaf = encodeLeaf({ ...(log.leaves[0] ?? fail()), attestation });
      return { ...good, bootRecord: { receipt: { leaf, signature: log.signAsBoot(leaf) }, proof: [] } };
    };
    const report = await expectFailure('attestation', 'attestation_envelope_malformed', of(Uint8Array.of(1)));
    expect(report.steps.at(-1)).toMatchObject({ status: 'not-reached' });
    const nsm = await testNsm({ root: deployment.root, now: () => START });
    for (const userData of [null, new Uint8Array(40)]) {
      await expectFailure('attestation', 'attestation_user_data_mismatch', of(await documentOf(nsm, { userData })));
    }
  });
});

describe('files', () => {
  const text = receiptText(good);
  test.each([
    ['nothing', ''],
    ['another format', text.replace('qv/receipt/v1', 'qv/receipt/v2')],
    ['an unknown field', text.replace('"index"', '"more":1,"index"')],
    ['a field twice', text.replace('"index"', '"index":"4","index"')],
    ['a padded index', text.replace('"index":"4"', '"index":"04"')],
    ['a byte behind it', `${text}x`],
    ['a list', `[${text}]`],
  ])('%s is no receipt', async (_, changed) => {
    const report = await expectFailure('form', 'receipt_malformed', changed);
    expect(report.steps.slice(1).every(({ status }) => status === 'not-reached')).toBe(true);
  });
});

const changedByte = (bytes: Uint8Array, at: number, by: number): Uint8Array => {
  const changed = Uint8Array.from(bytes);
  changed[at % bytes.length] = ((changed[at % bytes.length] ?? 0) + by) % 256;
  return changed;
};

/** Each part of a receipt, changed in one byte. */
const PARTS: Readonly<Record<string, (at: number, by: number) => ReceiptFile | string>> = {
  index: (at) => ({ ...good, index: good.index === BigInt(at) ? BigInt(at) + 1n : BigInt(at) }),
  leaf: (at, by) => ({ ...good, receipt: { ...good.receipt, leaf: changedByte(good.receipt.leaf, at, by) } }),
  signature: (at, by) => ({
    ...good,
    receipt: { ...good.receipt, signature: signature(changedByte(good.receipt.signature, at, by)) },
  }),
  proof: (at, by) => ({
    ...good,
    proof: good.proof.map((item, index) => (index === at % good.proof.length ? hash(changedByte(item, at, by)) : item)),
  }),
  checkpoint: (at, by) => {
    const changed = changedByte(good.checkpoint, at, by);
    // JSON holds text: what is no UTF-8 cannot stand in a file.
    return receiptText(good).replace(JSON.stringify(new TextDecoder().decode(good.checkpoint)), () =>
      JSON.stringify(new TextDecoder().decode(changed)),
    );
  },
  'leaf 0': (at, by) => {
    const { receipt, proof } = good.bootRecord;
    return { ...good, bootRecord: { receipt: { ...receipt, leaf: changedByte(receipt.leaf, at, by) }, proof } };
  },
  'leaf 0’s signature': (at, by) => {
    const { receipt, proof } = good.bootRecord;
    const changed = signature(changedByte(receipt.signature, at, by));
    return { ...good, bootRecord: { receipt: { ...receipt, signature: changed }, proof } };
  },
  'leaf 0’s proof': (at, by) => {
    const { receipt, proof } = good.bootRecord;
    const changed = proof.map((item, index) => (index === at % proof.length ? hash(changedByte(item, at, by)) : item));
    return { ...good, bootRecord: { receipt, proof: changed } };
  },
};

describe('one byte changed anywhere', { timeout: 30_000 + 500 * numRuns }, () => {
  test.each(Object.entries(PARTS))('of the %s: it does not verify', async (_, changed) => {
    await fc.assert(
      fc.asyncProperty(fc.nat(20_000), fc.integer({ min: 1, max: 255 }), async (at, by) => {
        const report = await verify(changed(at, by));
        expect(report.ok).toBe(false);
      }),
      { numRuns },
    );
  });

  test('of the file as it stands', async () => {
    const bytes = utf8(receiptText(good));
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, by) => {
        const report = await verifyReceiptFile(changedByte(bytes, at, by), expected(), verifyEd25519);
        expect(report.ok).toBe(false);
      }),
      { numRuns: 4 * numRuns },
    );
  });

  test('any bytes are judged without a fault', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 200 }), async (text) => {
        expect((await verify(text)).ok).toBe(false);
      }),
    );
  });
});

describe('what a leaf says', () => {
  test('every field is in the record, in the stated order', () => {
    const everything = {
      ...(log.leaves[SIGNED] ?? fail()),
      rule: 'a',
      value: 'b',
      amounts: { lamportsOut: 1n, feeLamports: 2n, tokens: [{ mint: wallet.owner, amount: 2n ** 64n - 1n }] },
      attestation: Uint8Array.of(1),
      configHash: hash(new Uint8Array(32)),
      freezeId: new Uint8Array(16),
      scope: 'fleet',
      reason: 'why',
      repeats: 1n,
      predecessor: { boot: log.boot, checkpoint: Uint8Array.of(2) },
      successor: log.boot,
      succession: {
        change: 1,
        owner: wallet.owner,
        successor: { key: wallet.requester, delayDays: 30 },
        claimedAt: timeMs(0),
      },
    };
    const record = leafRecord(everything, hash(new Uint8Array(32).fill(9)));
    expect(Object.keys(record)).toEqual([...LEAF_COLUMNS]);
    expect(Object.values(record)).not.toContain(null);
    expect(record.tokens).toEqual([{ mint: wallet.owner, amount: '18446744073709551615' }]);
    expect(leafRows(everything).length).toBeGreaterThan(20);
  });

  test('a time that no calendar has is still said', () => {
    const leaf = { ...(log.leaves[1] ?? fail()), time: timeMs(Number.MAX_SAFE_INTEGER) };
    expect(leafRecord(leaf, hash(new Uint8Array(32))).time).toBe('9007199254740991 ms');
  });
});

function fail(): never {
  throw new Error('not there');
}

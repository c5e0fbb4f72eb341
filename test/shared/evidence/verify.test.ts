/** Each helper accepts what fits, and nothing of which one field is another one, although the boot key signed it. */
import { timeMs } from '@quantumvault/shared/brands.ts';
import { type CborValue, encodeCbor } from '@quantumvault/shared/cbor.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import {
  enableReceiptCodec,
  encodeLeaf,
  freezeAckCodec,
  type Leaf,
  leafHash,
  type Receipt,
  retireAckCodec,
  type SignedBytes,
  walletCertificateCodec,
} from '@quantumvault/shared/evidence/leaf.ts';
import { resumeAckCodec } from '@quantumvault/shared/evidence/succession.ts';
import {
  type CertificateExpectations,
  type EnableExpectations,
  type FreezeExpectations,
  type LeafExpectations,
  type ResumeExpectations,
  type RetireExpectations,
  verifyCertificate,
  verifyEnableReceipt,
  verifyFreezeAck,
  verifyReceipt,
  verifyResumeAck,
  verifyRetireAck,
} from '@quantumvault/shared/evidence/verify.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { describe, expect, test } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import {
  BOOT,
  certificate,
  createdLeaf,
  enabledLeaf,
  enableReceipt,
  freezeAck,
  frozenLeaf,
  HASH,
  NONCE,
  OTHER_BOOT,
  OTHER_HASH,
  OWNER,
  REQUESTER,
  receiptOf,
  resumeAck,
  resumedLeaf,
  retireAck,
  retiredLeaf,
  STRANGER,
  signed,
  signedLeaf,
  TIME,
  verifyEd25519,
  WALLET,
} from './signed.ts';

const refused = async (attempt: () => unknown, code: ErrorCode, path: string): Promise<void> => {
  expect((await expectCode(async () => attempt(), code)).facts.path).toBe(path);
};

/** One byte changed after signing. */
function flipped(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[copy.length - 1] = (copy[copy.length - 1] ?? 0) ^ 1;
  return copy;
}

interface Subject {
  readonly what: string;
  readonly verify: (statement: SignedBytes, receipt: Receipt) => unknown;
  readonly statement: SignedBytes;
  readonly leaf: Leaf;
}

describe('verifyReceipt', () => {
  const expected: LeafExpectations = {
    boot: BOOT,
    kind: 'signed',
    wallet: WALLET,
    actor: REQUESTER,
    requestId: 'request-1',
    messageHash: HASH,
    policyHash: OTHER_HASH,
  };

  test('gives the leaf and its hash', () => {
    const { leaf, leafHash: found } = verifyReceipt(receiptOf(signedLeaf), expected, verifyEd25519);
    expect(leaf).toEqual(signedLeaf);
    expect(found).toEqual(leafHash(encodeLeaf(signedLeaf)));
  });

  test.each<[keyof Leaf & keyof LeafExpectations, Partial<Leaf>]>([
    ['boot', { boot: OTHER_BOOT }],
    ['kind', { kind: 'denied' }],
    ['wallet', { wallet: STRANGER }],
    ['actor', { actor: STRANGER }],
    ['requestId', { requestId: 'request-2' }],
    ['messageHash', { messageHash: OTHER_HASH }],
    ['policyHash', { policyHash: HASH }],
  ])('another %s is refused', async (field, change) => {
    const other: Leaf = { ...signedLeaf, ...change };
    await refused(() => verifyReceipt(receiptOf(other), expected, verifyEd25519), 'evidence_mismatch', `leaf.${field}`);
    if (field === 'boot' || field === 'kind') return;
    const { [field]: _, ...without } = signedLeaf;
    const receipt = receiptOf(without);
    const error = await expectCode(async () => verifyReceipt(receipt, expected, verifyEd25519), 'evidence_mismatch');
    expect(error.facts).toEqual({ path: `leaf.${field}`, value: 'absent' });
  });

  test('another boot’s signature, a changed leaf and a changed or short signature are refused', async () => {
    const { leaf, signature } = receiptOf(signedLeaf);
    const short = signature.subarray(0, 63) as typeof signature;
    const attempts: Receipt[] = [
      receiptOf(signedLeaf, OTHER_BOOT),
      { leaf: flipped(leaf), signature },
      { leaf, signature: flipped(signature) as typeof signature },
      { leaf, signature: short },
    ];
    for (const receipt of attempts)
      await refused(() => verifyReceipt(receipt, expected, verifyEd25519), 'evidence_signature_invalid', 'receipt');
  });

  test('a signed statement of another purpose is no leaf', async () => {
    const { bytes, signature } = signed(walletCertificateCodec, certificate);
    await expectCode(
      async () => verifyReceipt({ leaf: bytes, signature }, expected, verifyEd25519),
      'message_malformed',
    );
  });
});

describe('verifyCertificate', () => {
  const expected: CertificateExpectations = {
    deployment: 'test',
    boot: BOOT,
    wallet: WALLET,
    owner: OWNER,
    requesters: [REQUESTER],
    nonce: NONCE,
    kmsKeyArn: certificate.kmsKeyArn,
  };
  const verify = (statement: SignedBytes, receipt: Receipt) =>
    verifyCertificate(statement, receipt, expected, verifyEd25519);

  test('gives what it certifies', () => {
    expect(verify(signed(walletCertificateCodec, certificate), receiptOf(createdLeaf))).toEqual(certificate);
  });

  test.each<Partial<typeof certificate>>([
    { deployment: 'other' },
    { boot: OTHER_BOOT },
    { wallet: STRANGER },
    { owner: STRANGER },
    { requesters: [STRANGER] },
    { requesters: [REQUESTER, STRANGER] },
    { kmsKeyArn: 'arn:aws:kms:eu-central-1:000000000000:key/2' },
    { nonce: new Uint8Array(16) },
    { leafHash: HASH },
  ])('refuses %o', async (change) => {
    const other = signed(walletCertificateCodec, { ...certificate, ...change });
    const path = `certificate.${Object.keys(change)[0]}`;
    await refused(() => verify(other, receiptOf(createdLeaf)), 'evidence_mismatch', path);
  });

  test('that a key was imported is said by certificate and leaf, and neither passes for the other', async () => {
    const born = signed(walletCertificateCodec, certificate);
    const importedLeaf = { ...createdLeaf, kind: 'wallet-imported' } as const;
    const ofImport = leafHash(encodeLeaf(importedLeaf));
    const own = signed(walletCertificateCodec, { ...certificate, leafHash: ofImport, imported: true });
    const wanted = { ...expected, imported: true } as const;
    expect(verifyCertificate(own, receiptOf(importedLeaf), wanted, verifyEd25519)).toMatchObject({ imported: true });
    const attempts: [SignedBytes, Receipt, CertificateExpectations, string][] = [
      [own, receiptOf(importedLeaf), expected, 'certificate.imported'],
      [born, receiptOf(createdLeaf), wanted, 'certificate.imported'],
      [own, receiptOf(createdLeaf), wanted, 'leaf.kind'],
      [born, receiptOf(importedLeaf), expected, 'leaf.kind'],
    ];
    for (const [bytes, receipt, expectation, path] of attempts)
      await refused(() => verifyCertificate(bytes, receipt, expectation, verifyEd25519), 'evidence_mismatch', path);
  });

  test('that it was not imported is said by nothing at all', async () => {
    const fields = new Map(walletCertificateCodec.toCbor(certificate) as Map<number, CborValue>);
    fields.set(9, false);
    const bytes = encodeCbor(fields);
    await expectCode(async () => decodeAs(walletCertificateCodec, bytes, 'certificate'), 'message_malformed');
  });

  test('the order of requesters counts', async () => {
    const requesters = [REQUESTER, STRANGER];
    const statement = signed(walletCertificateCodec, { ...certificate, requesters: [...requesters].reverse() });
    const attempt = () =>
      verifyCertificate(statement, receiptOf(createdLeaf), { ...expected, requesters }, verifyEd25519);
    await refused(attempt, 'evidence_mismatch', 'certificate.requesters');
  });

  refusesForgeries({
    what: 'certificate',
    verify,
    statement: signed(walletCertificateCodec, certificate),
    leaf: createdLeaf,
  });
});

describe('verifyEnableReceipt', () => {
  const expected: EnableExpectations = {
    deployment: 'test',
    boot: BOOT,
    wallet: WALLET,
    owner: OWNER,
    epoch: 3,
    policyHash: HASH,
    previousHash: OTHER_HASH,
  };
  const verify = (statement: SignedBytes, receipt: Receipt) =>
    verifyEnableReceipt(statement, receipt, expected, verifyEd25519);

  test('gives what counts from now on', () => {
    expect(verify(signed(enableReceiptCodec, enableReceipt), receiptOf(enabledLeaf))).toEqual(enableReceipt);
  });

  test.each<Partial<typeof enableReceipt>>([
    { deployment: 'other' },
    { boot: OTHER_BOOT },
    { wallet: STRANGER },
    { owner: STRANGER },
    { epoch: 2 },
    { policyHash: OTHER_HASH },
    { previousHash: HASH },
    { leafHash: HASH },
  ])('refuses %o', async (change) => {
    const other = signed(enableReceiptCodec, { ...enableReceipt, ...change });
    const path = `enableReceipt.${Object.keys(change)[0]}`;
    await refused(() => verify(other, receiptOf(enabledLeaf)), 'evidence_mismatch', path);
  });

  test('a first policy has no predecessor, and a later one does', async () => {
    const { previousHash: _, ...first } = enableReceipt;
    const statement = signed(enableReceiptCodec, first);
    const receipt = receiptOf(enabledLeaf);
    await refused(() => verify(statement, receipt), 'evidence_mismatch', 'enableReceipt.previousHash');
    const asFirst = { ...expected, previousHash: undefined };
    expect(verifyEnableReceipt(statement, receipt, asFirst, verifyEd25519)).toEqual(first);
    const attempt = () =>
      verifyEnableReceipt(signed(enableReceiptCodec, enableReceipt), receipt, asFirst, verifyEd25519);
    await refused(attempt, 'evidence_mismatch', 'enableReceipt.previousHash');
  });

  refusesForgeries({
    what: 'enableReceipt',
    verify,
    statement: signed(enableReceiptCodec, enableReceipt),
    leaf: enabledLeaf,
  });
});

describe('verifyRetireAck', () => {
  const expected: RetireExpectations = {
    deployment: 'test',
    boot: BOOT,
    wallet: WALLET,
    owner: OWNER,
    policyHash: HASH,
    nonce: NONCE,
  };
  const verify = (statement: SignedBytes, receipt: Receipt) =>
    verifyRetireAck(statement, receipt, expected, verifyEd25519);

  test('gives what was retired', () => {
    expect(verify(signed(retireAckCodec, retireAck), receiptOf(retiredLeaf))).toEqual(retireAck);
  });

  test.each<[Partial<typeof retireAck>, string]>([
    [{ deployment: 'other' }, 'retireAck.deployment'],
    [{ boot: OTHER_BOOT }, 'retireAck.boot'],
    [{ wallet: STRANGER }, 'retireAck.wallet'],
    [{ owner: STRANGER }, 'retireAck.owner'],
    [{ nonce: new Uint8Array(16) }, 'retireAck.nonce'],
    [{ policyHash: OTHER_HASH }, 'retireAck.policyHash'],
    [{ time: timeMs(TIME + 1) }, 'leaf.time'],
    [{ leafHash: HASH }, 'retireAck.leafHash'],
  ])('refuses %o', async (change, path) => {
    const other = signed(retireAckCodec, { ...retireAck, ...change });
    await refused(() => verify(other, receiptOf(retiredLeaf)), 'evidence_mismatch', path);
  });

  test.each<[Partial<Leaf>, string]>([
    [{ kind: 'policy-enabled' }, 'leaf.kind'],
    [{ wallet: STRANGER }, 'leaf.wallet'],
    [{ actor: STRANGER }, 'leaf.actor'],
    [{ policyHash: OTHER_HASH }, 'leaf.policyHash'],
    [{ time: timeMs(TIME + 1) }, 'leaf.time'],
    [{ stateVersion: 4n }, 'retireAck.leafHash'],
  ])('refuses a leaf with %o', async (change, path) => {
    const receipt = receiptOf({ ...retiredLeaf, ...change });
    await refused(() => verify(signed(retireAckCodec, retireAck), receipt), 'evidence_mismatch', path);
  });

  refusesForgeries({ what: 'retireAck', verify, statement: signed(retireAckCodec, retireAck), leaf: retiredLeaf });
});

describe('verifyFreezeAck', () => {
  const expected: FreezeExpectations = {
    deployment: 'test',
    boot: BOOT,
    scope: 'fleet',
    reason: 'a test',
    notBefore: TIME,
  };
  const verify = (statement: SignedBytes, receipt: Receipt) =>
    verifyFreezeAck(statement, receipt, expected, verifyEd25519);

  test('gives the freeze', () => {
    expect(verify(signed(freezeAckCodec, freezeAck), receiptOf(frozenLeaf))).toEqual(freezeAck);
  });

  test.each<[Partial<typeof freezeAck>, string]>([
    [{ deployment: 'other' }, 'freezeAck.deployment'],
    [{ boot: OTHER_BOOT }, 'freezeAck.boot'],
    [{ scope: 'wallet' }, 'freezeAck.scope'],
    [{ time: timeMs(TIME - 1) }, 'freezeAck.time'],
    [{ time: timeMs(TIME + 1) }, 'leaf.time'],
    [{ freezeId: new Uint8Array(16) }, 'leaf.freezeId'],
    [{ leafHash: HASH }, 'freezeAck.leafHash'],
  ])('refuses %o', async (change, path) => {
    const other = signed(freezeAckCodec, { ...freezeAck, ...change });
    await refused(() => verify(other, receiptOf(frozenLeaf)), 'evidence_mismatch', path);
  });

  test.each<[Partial<Leaf>, string]>([
    [{ scope: 'wallet' }, 'leaf.scope'],
    [{ reason: 'another' }, 'leaf.reason'],
    [{ freezeId: new Uint8Array(16) }, 'leaf.freezeId'],
    [{ time: timeMs(TIME + 1) }, 'leaf.time'],
  ])('refuses a leaf with %o', async (change, path) => {
    const receipt = receiptOf({ ...frozenLeaf, ...change });
    await refused(() => verify(signed(freezeAckCodec, freezeAck), receipt), 'evidence_mismatch', path);
  });

  refusesForgeries({ what: 'freezeAck', verify, statement: signed(freezeAckCodec, freezeAck), leaf: frozenLeaf });
});

describe('verifyResumeAck', () => {
  const expected: ResumeExpectations = { deployment: 'test', boot: BOOT, scope: 'fleet', freezeId: NONCE };
  const verify = (statement: SignedBytes, receipt: Receipt) =>
    verifyResumeAck(statement, receipt, expected, verifyEd25519);

  test('gives what ended', () => {
    expect(verify(signed(resumeAckCodec, resumeAck), receiptOf(resumedLeaf))).toEqual(resumeAck);
  });

  test.each<[Partial<typeof resumeAck>, string]>([
    [{ deployment: 'other' }, 'resumeAck.deployment'],
    [{ boot: OTHER_BOOT }, 'resumeAck.boot'],
    [{ scope: `wallet:${WALLET}` }, 'resumeAck.scope'],
    [{ freezeId: new Uint8Array(16) }, 'resumeAck.freezeId'],
    [{ time: timeMs(TIME + 1) }, 'leaf.time'],
    [{ leafHash: HASH }, 'resumeAck.leafHash'],
  ])('refuses %o', async (change, path) => {
    const other = signed(resumeAckCodec, { ...resumeAck, ...change });
    await refused(() => verify(other, receiptOf(resumedLeaf)), 'evidence_mismatch', path);
  });

  test.each<[Partial<Leaf>, string]>([
    [{ kind: 'frozen' }, 'leaf.kind'],
    [{ scope: `wallet:${WALLET}` }, 'leaf.scope'],
    [{ freezeId: new Uint8Array(16) }, 'leaf.freezeId'],
    [{ time: timeMs(TIME + 1) }, 'leaf.time'],
  ])('refuses a leaf with %o', async (change, path) => {
    const receipt = receiptOf({ ...resumedLeaf, ...change });
    await refused(() => verify(signed(resumeAckCodec, resumeAck), receipt), 'evidence_mismatch', path);
  });

  refusesForgeries({ what: 'resumeAck', verify, statement: signed(resumeAckCodec, resumeAck), leaf: resumedLeaf });
});

/** What no statement with a leaf behind it may get past. */
function refusesForgeries({ what, verify, statement, leaf }: Subject): void {
  test('refuses other signers, changed bytes and statements of another purpose', async () => {
    const receipt = receiptOf(leaf);
    const { bytes, signature } = statement;
    const invalid = 'evidence_signature_invalid';
    await refused(() => verify({ bytes: flipped(bytes), signature }, receipt), invalid, what);
    await refused(() => verify({ bytes, signature: flipped(signature) as typeof signature }, receipt), invalid, what);
    await refused(() => verify(statement, receiptOf(leaf, OTHER_BOOT)), invalid, 'receipt');
    const another =
      what === 'freezeAck' ? signed(walletCertificateCodec, certificate) : signed(freezeAckCodec, freezeAck);
    await expectCode(async () => verify(another, receipt), 'message_malformed');
  });

  test('refuses the leaf of another decision', async () => {
    const other = receiptOf({ ...leaf, sequence: leaf.sequence + 1n });
    await refused(() => verify(statement, other), 'evidence_mismatch', `${what}.leafHash`);
    await refused(() => verify(statement, receiptOf({ ...leaf, kind: 'denied' })), 'evidence_mismatch', 'leaf.kind');
    if (leaf.wallet === undefined) return;
    const stranger = receiptOf({ ...leaf, wallet: STRANGER });
    await refused(() => verify(statement, stranger), 'evidence_mismatch', 'leaf.wallet');
  });
}

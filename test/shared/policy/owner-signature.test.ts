/** What an owner may have signed: the envelopes, byte for byte as others build them, and none of them a transaction. */
import { type Address, addressOf, timeMs } from '@quantumvault/shared/brands.ts';
import { concatBytes, fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { isSignedByOwner, ownerMessages } from '@quantumvault/shared/policy/owner-signature.ts';
import { POLICY_FEATURES, parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { renderCreationStatement, renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import { decodeMessage } from '@quantumvault/shared/solana/message.ts';
import { inspectTransaction } from '@quantumvault/shared/solana/transaction.ts';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { ENVELOPES, version0, version1 } from '../../support/envelopes.ts';
import { party } from '../../support/wallet-kit.ts';
import { fullPolicy, OWNER, REQUESTER, simplePolicy } from './cases.ts';

const owner = party();
const verify = (signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean =>
  nacl.sign.detached.verify(message, signature, key);

const policyStatement = (document: Record<string, unknown>): string => {
  const policy = parsePolicy(document, { support: POLICY_FEATURES });
  const enableBeforeMs = timeMs(Date.parse('2026-11-22T13:00:00Z'));
  const deployment = 'prod-eu';
  return renderPolicyStatement({
    policy,
    policyHash: policyHash(policyBytes(policy)),
    deployment,
    previousHash: undefined,
    enableBeforeMs,
  });
};
const creationStatement = renderCreationStatement({
  deployment: 'prod-eu',
  owner: OWNER as Address,
  nonce: new Uint8Array(16),
  requesters: [REQUESTER as Address],
  createBeforeMs: timeMs(Date.parse('2026-11-22T13:00:00Z')),
});
const STATEMENTS = [creationStatement, policyStatement(simplePolicy()), policyStatement(fullPolicy())];

describe('envelopes', () => {
  it.each(STATEMENTS)('are those that others build: %#', (statement) => {
    const expected = Object.values(ENVELOPES).map((envelope) => envelope(statement, owner.address));
    expect(ownerMessages(statement, owner.address)).toEqual(expected);
  });

  it('of the Solana CLI are those of its own test', () => {
    // solana-offchain-message, test_offchain_message_utf8.
    const text = 'Тестовое сообщение';
    const header = fromHex('ff736f6c616e61206f6666636861696e00012300');
    expect(ownerMessages(text, owner.address)[3]).toEqual(concatBytes(header, utf8(text)));
  });
});

describe('a signature', () => {
  const [statement = ''] = STATEMENTS;
  const isAccepted = (message: Uint8Array): boolean =>
    isSignedByOwner(owner.sign(message), statement, owner.address, verify);

  it('over each of them is the owner’s', () => {
    for (const message of ownerMessages(statement, owner.address)) expect(isAccepted(message)).toBe(true);
  });

  it('of somebody else is not', () => {
    for (const message of ownerMessages(statement, owner.address)) {
      const signature = party().sign(message);
      expect(isSignedByOwner(signature, statement, owner.address, verify)).toBe(false);
    }
  });

  const other = party().address;
  it.each([
    ['another statement', version1(`${statement} `, owner.address)],
    ['the statement and a line break', utf8(`${statement}\n`)],
    ['a second signer', version1(statement, owner.address, other)],
    ['another signer', version1(statement, other)],
    ['a second signer, version 0', version0(statement, [owner.address, other])],
    ['another application', version0(statement, [owner.address], other)],
    ['its SHA-512', nacl.hash(utf8(statement))],
  ])('over %s is not', (_, message) => expect(isAccepted(message)).toBe(false));

  it('over an envelope with one byte changed is not', () => {
    for (const message of ownerMessages(statement, owner.address).slice(1))
      for (let index = 0; index < message.length - statement.length; index++) {
        const changed = Uint8Array.from(message);
        changed[index] = (changed[index] ?? 0) ^ 1;
        expect(isAccepted(changed)).toBe(false);
      }
  });
});

/** Refused as a message and as a transaction, by a code and not by a crash. */
function expectNoTransaction(bytes: Uint8Array): void {
  expect(refusalOf(() => decodeMessage(bytes))?.code).toMatch(/^transaction_/);
  expect(refusalOf(() => inspectTransaction(bytes))?.code).toMatch(/^transaction_/);
}

describe('no transaction', () => {
  it.each(STATEMENTS)('is any of them: %#', (statement) => {
    for (const message of ownerMessages(statement, owner.address)) expectNoTransaction(message);
  });

  it('starts as a statement or an envelope does', () => {
    const start = fc.constantFrom(utf8('qv/enable-policy/v1'), utf8('qv/create-wallet/v1'), Uint8Array.of(0xff));
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 1200 }), fc.boolean(), (prefix, rest, isLong) => {
        expectNoTransaction(concatBytes(prefix, isLong ? new Uint8Array(1200).fill(rest[0] ?? 1) : rest));
      }),
    );
  });

  it('even where enough keys follow: a legacy header made of a statement contradicts itself', () => {
    // 113 signers of which 118 are readonly.
    const [signers = 0, readonlySigners = 0] = utf8('qv');
    expect(readonlySigners).toBeGreaterThan(signers);
    const keys = Array.from({ length: 0x2f + 113 }, (_, index) => addressOf(new Uint8Array(32).fill(index)));
    const bytes = concatBytes(
      utf8('qv/'),
      Uint8Array.of(0xa0, 0x01),
      new Uint8Array(32 * keys.length),
      new Uint8Array(33),
    );
    expect(refusalOf(() => decodeMessage(bytes))?.code).toBe('transaction_header_invalid');
  });
});

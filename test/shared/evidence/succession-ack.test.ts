/** The enclave's word on who may follow an owner, with each of its fields wrong. */
import {
  encodeLeaf,
  type Leaf,
  leafHash,
  type SuccessionAck,
  successionAckCodec,
} from '@quantumvault/shared/evidence/leaf.ts';
import { type SuccessionExpectations, verifySuccessionAck } from '@quantumvault/shared/evidence/verify.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import {
  BOOT,
  leafBase,
  NONCE,
  OTHER_BOOT,
  OTHER_HASH,
  OWNER,
  receiptOf,
  STRANGER,
  signed,
  TIME,
  verifyEd25519,
  WALLET,
} from './signed.ts';

const HEIR = STRANGER;
const succession = { change: 2, owner: OWNER, successor: { key: HEIR, delayDays: 30 }, claimedAt: TIME };
const leaf: Leaf = {
  ...leafBase,
  kind: 'takeover-claimed',
  wallet: WALLET,
  actor: HEIR,
  stateVersion: 3n,
  succession,
};
const ack: SuccessionAck = {
  deployment: 'test',
  boot: BOOT,
  wallet: WALLET,
  kind: 'takeover-claimed',
  nonce: NONCE,
  time: TIME,
  succession,
  leafHash: leafHash(encodeLeaf(leaf)),
};
const expected: SuccessionExpectations = {
  deployment: 'test',
  boot: BOOT,
  kind: 'takeover-claimed',
  wallet: WALLET,
  owner: OWNER,
  actor: HEIR,
  change: 2,
  nonce: NONCE,
  successor: HEIR,
  delayDays: 30,
};
const verify = (said: SuccessionAck = ack, recorded: Leaf = leaf, wanted = expected) =>
  verifySuccessionAck(signed(successionAckCodec, said), receiptOf(recorded), wanted, verifyEd25519);

describe('the acknowledgement of a change of succession', () => {
  it('says what was asked for, and the leaf does, too', () => {
    expect(verify()).toEqual(ack);
    expect(verify(ack, leaf, { ...expected, delayDays: undefined } as never)).toEqual(ack);
  });

  it.each<[string, Partial<SuccessionAck>]>([
    ['another deployment', { deployment: 'other' }],
    ['another boot', { boot: OTHER_BOOT }],
    ['another wallet', { wallet: OWNER }],
    ['another kind', { kind: 'takeover-cancelled' }],
    ['another nonce', { nonce: new Uint8Array(16) }],
    ['another number', { succession: { ...succession, change: 3 } }],
    ['another owner', { succession: { ...succession, owner: HEIR } }],
    ['another successor', { succession: { ...succession, successor: { key: OWNER, delayDays: 30 } } }],
    ['another delay', { succession: { ...succession, successor: { key: HEIR, delayDays: 1 } } }],
    ['an earlier claim', { succession: { ...succession, claimedAt: (TIME - 1) as never } }],
    ['no claim', { succession: { change: 2, owner: OWNER, successor: succession.successor } }],
    ['another time', { time: (TIME + 1) as never }],
    ['another leaf', { leafHash: OTHER_HASH }],
  ])('with %s is refused', async (_, change) => {
    await expectCode(async () => verify({ ...ack, ...change }), 'evidence_mismatch');
  });

  it.each<[string, Partial<Leaf>]>([
    ['of another kind', { kind: 'successor-named' }],
    ['of another wallet', { wallet: OWNER }],
    ['by somebody else', { actor: OWNER }],
    ['of another time', { time: (TIME - 1) as never }],
  ])('over a leaf %s is refused', async (_, change) => {
    const other = { ...leaf, ...change };
    await expectCode(async () => verify({ ...ack, leafHash: leafHash(encodeLeaf(other)) }, other), 'evidence_mismatch');
  });

  it('by another boot is refused', async () => {
    const other = signed(successionAckCodec, ack, OTHER_BOOT);
    await expectCode(
      async () => verifySuccessionAck(other, receiptOf(leaf), expected, verifyEd25519),
      'evidence_signature_invalid',
    );
  });
});

/** What is signed and kept: leaves, certificates, acknowledgements, orders, leases, user data, sealed states. */

import { packSignals, packSpends, unpackSignals, unpackSpends } from '@quantumvault/enclave/spends.ts';
import { decodeState, encodeState } from '@quantumvault/enclave/state.ts';
import { type Address, timeMs } from '@quantumvault/shared/brands.ts';
import { concatBytes, equalBytes } from '@quantumvault/shared/bytes.ts';
import {
  decodeLeaf,
  enableReceiptCodec,
  encodeLeaf,
  freezeAckCodec,
  type Leaf,
  leafHash,
  receiptCodec,
  retireAckCodec,
  signedBytesCodec,
  successionAckCodec,
  walletCertificateCodec,
} from '@quantumvault/shared/evidence/leaf.ts';
import { leafRecord, leafRows } from '@quantumvault/shared/evidence/leaf-record.ts';
import {
  leaseCodec,
  operatorSigned,
  releaseCodec,
  releaseOrderCodec,
  resumeAckCodec,
} from '@quantumvault/shared/evidence/succession.ts';
import { userDataCodec } from '@quantumvault/shared/evidence/user-data.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { SpendState } from '@quantumvault/shared/policy/state.ts';
import { type Codec, decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import type { Mutator } from '../engine/mutate.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { mustEndThere } from './checks.ts';
import * as sample from './samples.ts';

const { boot, otherBoot, wallet, owner, requester, mint, hash, freezeId, time, deployment, note, requestId } = sample;
const CODES = ['cbor_malformed', 'message_malformed'] as const;

const signedLeaf: Leaf = {
  boot,
  sequence: 41n,
  previous: hash,
  time,
  kind: 'signed',
  wallet,
  actor: requester,
  requestId,
  messageHash: hash,
  policyHash: hash,
  amounts: { lamportsOut: 7n, feeLamports: 5000n, tokens: [{ mint, amount: 3n }] },
  stateVersion: 9n,
  signatureHash: hash,
  repeats: 40n,
};

export const leaves: Target = {
  name: 'leaves',
  covers: ['shared/src/evidence/leaf.ts#decodeLeaf'],
  seeds: () => ({
    boot: sample.leaf,
    signed: encodeLeaf(signedLeaf),
    denied: encodeLeaf({ boot, sequence: 2n, previous: hash, time, kind: 'denied', wallet, rule: 'sol', value: '9' }),
    frozen: encodeLeaf({
      boot,
      sequence: 3n,
      previous: hash,
      time,
      kind: 'frozen',
      freezeId,
      scope: 'fleet',
      reason: 'why',
      by: 'ann',
      orderedAt: time,
    }),
    resumed: encodeLeaf({
      boot,
      sequence: 4n,
      previous: hash,
      time,
      kind: 'resumed',
      freezeId,
      scope: 'fleet',
      signers: [owner],
    }),
    lease: encodeLeaf({
      boot,
      sequence: 5n,
      previous: hash,
      time,
      kind: 'lease',
      wallet,
      predecessor: { boot: otherBoot, checkpoint: note },
    }),
    rewrapped: encodeLeaf({
      boot,
      sequence: 7n,
      previous: hash,
      time,
      kind: 'rewrapped',
      wallet,
      policyHash: hash,
      stateVersion: 11n,
    }),
    retired: encodeLeaf({
      boot,
      sequence: 6n,
      previous: hash,
      time,
      kind: 'retired',
      wallet,
      actor: owner,
      policyHash: hash,
      stateVersion: 10n,
    }),
    claimed: encodeLeaf({
      boot,
      sequence: 7n,
      previous: hash,
      time,
      kind: 'takeover-claimed',
      wallet,
      actor: owner,
      stateVersion: 11n,
      succession: { change: 2, owner, successor: { key: wallet, delayDays: 30 }, claimedAt: time },
    }),
  }),
  mutators: [cborMutator()],
  maxBytes: LIMITS.frameBytes,
  codes: CODES,
  executions: 2_000,
  run(input) {
    const leaf = accept(decodeLeaf(input));
    mustEqualBytes(encodeLeaf(leaf), input, 'it encodes to other bytes');
    mustEndThere(decodeLeaf, input);
    const record = leafRecord(leaf, leafHash(input));
    must(
      Object.values(record).every((value) => value === null || typeof value === 'string' || Array.isArray(value)),
      'a record of something else',
    );
    for (const [label, value] of leafRows(leaf))
      must(/^[\x20-\x7e\u2019]*$/.test(label + value.replaceAll('\u2019', '')), `not printable: ${label}`);
    return leaf;
  },
};

interface Struct {
  readonly codec: Codec<never>;
  readonly sample: unknown;
}
const of = <T>(codec: Codec<T>, value: T): Struct => ({ codec: codec as unknown as Codec<never>, sample: value });

/** Purposes are checked by each codec: what is one of them must be none of the others. */
const STRUCTS: Readonly<Record<string, Struct>> = {
  certificate: of(walletCertificateCodec, {
    deployment,
    boot,
    wallet,
    owner,
    requesters: [requester],
    kmsKeyArn: 'arn',
    nonce: sample.filled(16, 1),
    leafHash: hash,
  }),
  enable: of(enableReceiptCodec, {
    deployment,
    boot,
    wallet,
    owner,
    epoch: 1,
    policyHash: hash,
    previousHash: hash,
    leafHash: hash,
  }),
  freeze: of(freezeAckCodec, { deployment, boot, freezeId, scope: 'fleet', time, leafHash: hash }),
  resume: of(resumeAckCodec, { deployment, boot, freezeId, scope: 'fleet', time, leafHash: hash }),
  order: of(releaseOrderCodec, {
    deployment,
    predecessor: boot,
    successor: otherBoot,
    wallets: [wallet],
    notAfter: time,
  }),
  release: of(releaseCodec, {
    deployment,
    predecessor: boot,
    successor: otherBoot,
    wallet,
    version: 3n,
    freezes: [{ scope: `wallet:${wallet}`, freezeId }],
    checkpoint: note,
  }),
  lease: of(leaseCodec, {
    deployment,
    predecessor: boot,
    successor: otherBoot,
    wallets: [{ wallet, version: 3n }],
    freezes: [],
    checkpoint: note,
    notAfter: time,
    sumsProven: true,
  }),
  'user-data': of(userDataCodec, {
    bootKey: boot,
    importKey: sample.filled(32, 2),
    configHash: hash,
    logOrigin: 'example.com/qv',
    version: '0.1.0',
  }),
  receipt: of(receiptCodec, sample.receipt),
  'signed-bytes': of(signedBytesCodec, sample.signedBytes),
  'operator-signed': of(operatorSigned, sample.operatorSigned),
  retire: of(retireAckCodec, {
    deployment,
    boot,
    wallet,
    owner,
    nonce: sample.filled(16, 1),
    time,
    policyHash: hash,
    leafHash: hash,
  }),
  succession: of(successionAckCodec, {
    deployment,
    boot,
    wallet,
    kind: 'successor-named',
    nonce: sample.filled(16, 1),
    time,
    succession: { change: 1, owner, successor: { key: wallet, delayDays: 30 } },
    leafHash: hash,
  }),
};
const LISTED = Object.values(STRUCTS);
const WITHOUT_PURPOSE: readonly unknown[] = [STRUCTS['receipt'], STRUCTS['signed-bytes'], STRUCTS['operator-signed']];

const inner = cborMutator();
const behindOneByte: Mutator = (input, material) => {
  const made = inner(input.subarray(1), material);
  return made && concatBytes(input.subarray(0, 1), made);
};

/** The first byte of an input says which of them is expected. */
export const structs: Target = {
  name: 'structs',
  covers: ['shared/src/protocol/wire.ts#purposeStruct', 'shared/src/evidence/verify.ts#readUserData'],
  seeds: () =>
    Object.fromEntries(
      Object.entries(STRUCTS).map(([name, { codec, sample: value }], index) => [
        name,
        concatBytes(Uint8Array.of(index), encodeAs(codec, value as never)),
      ]),
    ),
  mutators: [behindOneByte],
  maxBytes: LIMITS.frameBytes,
  codes: CODES,
  executions: 3_000,
  run(input) {
    const chosen = LISTED[(input[0] ?? 0) % LISTED.length];
    must(chosen !== undefined, 'chosen');
    const bytes = input.subarray(1);
    const value = accept(decodeAs(chosen.codec, bytes, 'it'));
    mustEqualBytes(encodeAs(chosen.codec, value), bytes, 'it encodes to other bytes');
    for (const other of LISTED) {
      if (other === chosen || (WITHOUT_PURPOSE.includes(other) && WITHOUT_PURPOSE.includes(chosen))) continue;
      let isBoth = true;
      try {
        decodeAs(other.codec, bytes, 'it');
      } catch {
        isBoth = false;
      }
      must(!isBoth, 'the same bytes are two things');
    }
    return value;
  },
};

const spent: SpendState = {
  spends: [
    { at: time, count: 1, lamportsOut: 5n, feeLamports: 5000n, tokens: new Map() },
    {
      at: timeMs(time + 5),
      count: 2,
      lamportsOut: 0n,
      feeLamports: 2n ** 64n - 1n,
      tokens: new Map<Address, bigint>([
        [mint, 9n],
        [wallet, 1n],
      ]),
    },
  ],
  signals: [{ key: '11'.repeat(16), at: time, uses: 3 }],
  signalFloor: time,
};
const state = {
  wallet,
  owner,
  version: 3n,
  holder: boot,
  epoch: 2,
  policyHash: hash,
  firstRequesters: [requester],
  logPosition: 41n,
  spent,
};

export const states: Target = {
  name: 'states',
  covers: ['enclave/src/state.ts#decodeState'],
  seeds: () => ({
    full: encodeState({ ...state, spent: { ...spent, fullAt: time } }),
    empty: encodeState({ ...state, epoch: 0, spent: { spends: [], signals: [], signalFloor: timeMs(0) } }),
    spends: encodeState(state),
    retired: encodeState({ ...state, retiredAt: time }),
    claimed: encodeState({
      ...state,
      succession: { changes: 2, successor: { key: wallet, delayDays: 30 }, claimedAt: time },
    }),
  }),
  mutators: [cborMutator()],
  maxBytes: LIMITS.sealedStateBytes,
  codes: [...CODES, 'state_invalid'],
  executions: 3_000,
  run(input) {
    const read = accept(decodeState(input));
    // Mints are listed by use, so what names them otherwise reads the same and encodes shorter or in another order.
    const again = encodeState(read);
    mustEqualBytes(encodeState(decodeState(again)), again, 'it is another state when it is read again');
    must(equalBytes(packSignals(decodeState(again).spent), packSignals(read.spent)), 'other signals');
    for (const [index, spend] of decodeState(again).spent.spends.entries()) {
      const before = read.spent.spends[index];
      must(before !== undefined && before.at === spend.at && before.lamportsOut === spend.lamportsOut, 'other spends');
      must(before.feeLamports === spend.feeLamports && before.count === spend.count, 'other fees or counts');
      for (const [token, amount] of before.tokens) must(spend.tokens.get(token) === amount, 'other tokens');
    }
    must(decodeState(again).spent.spends.length === read.spent.spends.length, 'a spend is lost');
    return read;
  },
};

/** The packed lists inside a state; the first byte says which. */
export const packed: Target = {
  name: 'packed-spends',
  covers: ['enclave/src/spends.ts#unpackSpends', 'enclave/src/spends.ts#unpackSignals'],
  seeds: () => ({
    spends: concatBytes(Uint8Array.of(0), packSpends(spent)),
    none: concatBytes(Uint8Array.of(0), packSpends({ spends: [] })),
    signals: concatBytes(Uint8Array.of(1), packSignals(spent)),
  }),
  maxBytes: LIMITS.packedSpendBytes,
  codes: ['state_invalid'],
  executions: 4_000,
  run(input) {
    const bytes = input.subarray(1);
    if (((input[0] ?? 0) & 1) === 1) {
      const signals = accept(unpackSignals(bytes));
      mustEqualBytes(packSignals({ spends: [], ...signals }), bytes, 'signals pack to other bytes');
      return signals;
    }
    const spends = accept(unpackSpends(bytes));
    const again = packSpends(spends);
    must(again.length <= bytes.length, 'packs to more than it was');
    mustEqualBytes(packSpends(unpackSpends(again)), again, 'packs otherwise the second time');
    return spends;
  },
};

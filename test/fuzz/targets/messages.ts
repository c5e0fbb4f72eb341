/** Messages between host and enclave, and between the vault process and the kms-agent. */
import {
  AGENT_FAILURES,
  AGENT_MESSAGES,
  type AgentMessageName,
  decodeAgentReply,
  decodeAgentRequest,
  encodeAgentFailure,
  encodeAgentReply,
  encodeAgentRequest,
} from '@quantumvault/enclave/kms-agent/protocol.ts';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { isErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import {
  decodeReplyHead,
  decodeRequestHead,
  encodeRefusal,
  encodeReply,
  encodeRequest,
  isRefusal,
  MESSAGES,
  type MessageName,
  type ReplyOf,
  type RequestOf,
} from '@quantumvault/shared/protocol/messages.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { mustEndThere } from './checks.ts';
import * as sample from './samples.ts';

const { wallet, owner, requester, mint, boot, hash, signature, freezeId, time, requestId, deployment, note, receipt } =
  sample;
const { signedBytes, operatorSigned, sealedState, blobs, filled } = sample;
const amounts = { lamportsOut: 5n, feeLamports: 5000n, tokens: [{ mint, amount: 7n }] };
const policy = { bytes: filled(60, 5), mac: filled(32, 6) };
const signal = { source: 'alpha', id: requestId, timestamp: '1795383600', body: utf8('{}'), signature };
const signing = {
  id: requestId,
  timestamp: '1795383600',
  body: utf8('{}'),
  signature,
  policy,
  signal,
  timeoutMilliseconds: 900,
};
const { sealedState: _, ...keyBlobs } = blobs;
const rewrapped = { keys: keyBlobs, mac: filled(32, 6), at: time };

const statement = {
  deployment,
  wallet,
  owner,
  change: 1,
  boot,
  nonce: filled(16, 3),
  before: time,
  signature,
  blobs,
};

const CREDENTIALS = {
  accessKeyId: utf8('AKIA'),
  secretAccessKey: utf8('key'),
  sessionToken: utf8('token'),
  expiresAt: time,
};

export const REQUESTS: { readonly [N in MessageName]: RequestOf<N> } = {
  status: {},
  attest: { nonce: filled(32, 1) },
  credentials: CREDENTIALS,
  rowKeyCreate: {},
  rowKeyUnwrap: { blob: filled(180, 2) },
  walletCreate: { deployment, owner, nonce: filled(16, 3), requesters: [requester], createBefore: time, signature },
  walletImport: {
    deployment,
    owner,
    nonce: filled(16, 3),
    requesters: [requester],
    importBefore: time,
    signature,
    wallet,
    boot,
    importKey: filled(32, 4),
    sealed: filled(LIMITS.sealedImportBytes, 5),
  },
  walletRewrap: { wallet, owner, blobs, policy: filled(60, 5) },
  walletRetire: {
    deployment,
    wallet,
    owner,
    policyHash: hash,
    boot,
    nonce: filled(16, 3),
    retireBefore: time,
    signature,
    blobs,
  },
  migrationBegin: { statement: operatorSigned, sealed: filled(112, 5) },
  walletMigrate: { statementHash: hash, row: filled(200, 5), index: 3, proof: [hash, hash], dryRun: false },
  migrationEnd: { statementHash: hash },
  successorName: { ...statement, successor: { key: wallet, delayDays: 30 } },
  takeoverClaim: { ...statement, successor: wallet },
  takeoverCancel: { ...statement, successor: wallet },
  takeoverComplete: { ...statement, successor: wallet },
  policyEnable: { policy: filled(60, 5), previousHash: hash, enableBefore: time, signature, blobs },
  sign: { ...signing, blobs },
  signBatch: { ...signing, blobs: keyBlobs },
  freeze: { scope: `wallet:${wallet}`, reason: 'why', by: 'ann', orderedAt: time },
  resume: { scope: 'fleet', freezeId, signatures: [{ key: owner, signature }] },
  freezesGet: {},
  release: { order: operatorSigned, wallet },
  take: { wallet, owner, blobs, release: signedBytes },
  leaseShow: { lease: operatorSigned },
  stateGet: { wallet },
  leavesGet: { from: 7n },
  checkpoint: { after: 8n },
  cosign: { note },
  follow: { checkpoint: note },
  budgets: { wallet, policy: filled(60, 5) },
  bootRecord: {},
};

export const REPLIES: { readonly [N in MessageName]: ReplyOf<N> } = {
  status: {
    phase: 'serving',
    boot,
    deployment,
    configHash: hash,
    time,
    leaves: 9n,
    version: '0.1.0',
    kmsKeyArn: 'arn:aws:kms:x',
    freezeId,
    wallets: 3,
    witnessThreshold: 2,
    kmsCalls: 10n,
    kmsFailures: 1n,
    kmsKeys: [{ keyArn: 'arn:aws:kms:x', use: 'current', calls: 10n, failures: 1n, isAvoided: false }],
    attestationAgeSeconds: 3,
    timeAgeSeconds: 1,
  },
  attest: { document: filled(200, 8) },
  credentials: {},
  rowKeyCreate: { blob: filled(180, 2) },
  rowKeyUnwrap: { rowKey: filled(32, 4) },
  walletCreate: { wallet, blobs, stateVersion: 1n, certificate: signedBytes, receipt },
  walletImport: { wallet, blobs, stateVersion: 1n, certificate: signedBytes, receipt },
  walletRewrap: { rewrapped, state: sealedState, receipt },
  walletRetire: { state: sealedState, ack: signedBytes, receipt },
  migrationBegin: {},
  walletMigrate: { created: { wallet, blobs, stateVersion: 1n, certificate: signedBytes, receipt } },
  migrationEnd: {},
  successorName: { state: sealedState, ack: signedBytes, receipt },
  takeoverClaim: { state: sealedState, ack: signedBytes, receipt },
  takeoverCancel: { state: sealedState, ack: signedBytes, receipt },
  takeoverComplete: {
    state: sealedState,
    ack: signedBytes,
    receipt,
    rewrapped: { keys: keyBlobs, at: time, owner },
  },
  policyEnable: { mac: filled(32, 6), state: sealedState, enableReceipt: signedBytes, receipt },
  sign: {
    messageHash: hash,
    amounts,
    signature,
    state: sealedState,
    receipt,
    allow: true,
    rules: [{ rule: 'sol', outcome: 'deny', value: '6' }],
  },
  signBatch: {
    verdicts: [{ messageHash: hash, allow: true, rule: 'r', value: 'v', signature, receipt }],
    state: sealedState,
  },
  freeze: { ack: signedBytes, receipt },
  resume: { ack: signedBytes, receipt },
  freezesGet: { freezes: [{ scope: 'fleet', freezeId }], count: 1 },
  release: { release: signedBytes, state: sealedState, receipt, rewrapped },
  take: { state: sealedState, receipt },
  leaseShow: { given: 2 },
  stateGet: { state: sealedState, rewrapped },
  leavesGet: { receipts: [receipt, receipt] },
  checkpoint: { note },
  cosign: { covered: 7n },
  follow: { receipt },
  budgets: { time, budgets: [{ rule: 'sol.window', seconds: 60, limit: 9n, spent: 3n, freesAt: time }] },
  bootRecord: { receipt },
};

export const NAMES = Object.keys(MESSAGES) as MessageName[];

const CODES = ['cbor_malformed', 'message_malformed'] as const;

export const requests: Target = {
  name: 'requests',
  covers: ['shared/src/protocol/messages.ts#decodeRequestHead', 'shared/src/protocol/wire.ts#decodeAs'],
  seeds: () => Object.fromEntries(NAMES.map((name) => [name, encodeRequest(7, name, REQUESTS[name])])),
  mutators: [cborMutator()],
  maxBytes: LIMITS.frameBytes,
  codes: CODES,
  executions: 3_000,
  run(input) {
    const { id, name, body } = decodeRequestHead(input);
    must(Number.isInteger(id) && id >= 0 && id < 2 ** 32, 'id');
    const read = accept(body());
    mustEqualBytes(encodeRequest(id, name, read as never), input, `${name} encodes to other bytes`);
    mustEndThere((bytes) => decodeRequestHead(bytes).body(), input);
    return read;
  },
};

/** The first byte says for which kind of request the reply is read: that is the reader's to know. */
export const replies: Target = {
  name: 'replies',
  covers: ['shared/src/protocol/messages.ts#decodeReplyHead', 'shared/src/protocol/messages.ts#isRefusal'],
  seeds: () => ({
    ...Object.fromEntries(
      NAMES.map((name) => [name, concatBytes(Uint8Array.of(MESSAGES[name].kind), encodeReply(7, name, REPLIES[name]))]),
    ),
    refusal: concatBytes(
      Uint8Array.of(1),
      encodeRefusal(7, { code: 'policy_denied', path: 'sol', value: '7', receipt }),
    ),
  }),
  mutators: [
    (input, material) => {
      const made = cborMutator()(input.subarray(1), material);
      return made && concatBytes(input.subarray(0, 1), made);
    },
  ],
  maxBytes: LIMITS.frameBytes,
  codes: CODES,
  executions: 3_000,
  run(input) {
    const name = NAMES.find((candidate) => MESSAGES[candidate].kind === input[0]) ?? 'status';
    const { id, read } = decodeReplyHead(input.subarray(1));
    const body = accept(read(name));
    const isNo = isRefusal(body);
    if (isNo) must(isErrorCode(body.code), 'a refusal without a code of the table');
    // Status is the only reply that could look like one.
    const again = isNo ? encodeRefusal(id, body) : encodeReply(id, name, body as never);
    mustEqualBytes(again, input.subarray(1), `${name} encodes to other bytes`);
    return body;
  },
};

const call = { keyArn: 'arn:aws:kms:x', context: [{ name: 'purpose', value: 'qv' }], document: filled(100, 1) };
const answer = { keyArn: 'arn:aws:kms:x', envelope: filled(100, 2), ciphertext: filled(100, 3), plaintext: false };
const AGENT_NAMES = Object.keys(AGENT_MESSAGES) as AgentMessageName[];

export const agentRequests: Target = {
  name: 'agent-requests',
  covers: ['enclave/src/kms-agent/protocol.ts#decodeAgentRequest'],
  seeds: () => ({
    credentials: encodeAgentRequest(1, 'credentials', CREDENTIALS),
    generate: encodeAgentRequest(2, 'generateDataKey', call),
    decrypt: encodeAgentRequest(3, 'decrypt', { ...call, ciphertext: filled(100, 3) }),
  }),
  mutators: [cborMutator()],
  maxBytes: LIMITS.frameBytes,
  codes: CODES,
  executions: 1_500,
  run(input) {
    const { id, name, body } = accept(decodeAgentRequest(input));
    mustEqualBytes(encodeAgentRequest(id, name, body as never), input, `${name} encodes to other bytes`);
    return body;
  },
};

export const agentReplies: Target = {
  name: 'agent-replies',
  covers: ['enclave/src/kms-agent/protocol.ts#decodeAgentReply'],
  seeds: () => ({
    answer: concatBytes(Uint8Array.of(1), encodeAgentReply(2, 'decrypt', answer)),
    empty: concatBytes(Uint8Array.of(0), encodeAgentReply(1, 'credentials', {})),
    refused: concatBytes(Uint8Array.of(2), encodeAgentFailure(3, 'kms_refused')),
  }),
  mutators: requestsBehindOneByte(),
  maxBytes: LIMITS.frameBytes,
  codes: [...CODES, ...AGENT_FAILURES],
  executions: 1_500,
  run(input) {
    const name = AGENT_NAMES[(input[0] ?? 0) % AGENT_NAMES.length] ?? 'decrypt';
    const payload = input.subarray(1);
    const { id, read } = decodeAgentReply(payload);
    let body: unknown;
    try {
      body = read(name);
    } catch (error) {
      const failure = AGENT_FAILURES.find((code) => error instanceof QvError && error.code === code);
      if (failure !== undefined)
        mustEqualBytes(encodeAgentFailure(id, failure), payload, 'a failure encodes to other bytes');
      throw error;
    }
    accept(body);
    mustEqualBytes(encodeAgentReply(id, name, body as never), payload, `${name} encodes to other bytes`);
    return body;
  },
};

function requestsBehindOneByte(): NonNullable<Target['mutators']> {
  const inner = cborMutator();
  return [
    (input, material) => {
      const made = inner(input.subarray(1), material);
      return made && concatBytes(input.subarray(0, 1), made);
    },
  ];
}

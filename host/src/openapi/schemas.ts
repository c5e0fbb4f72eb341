/** Forms that several operations share. They are the components of the document, by these names. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Schema } from './operation.ts';

export const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
export const text = (description: string, more: Schema = {}): Schema => ({ type: 'string', description, ...more });
/** All members are required unless named in `optional`; others are refused or do not occur. */
export const closed = (properties: Readonly<Record<string, Schema>>, optional: readonly string[] = []): Schema => ({
  type: 'object',
  additionalProperties: false,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
  properties,
});

export const orNull = (schema: Schema, description: string): Schema => ({
  oneOf: [schema, { type: 'null' }],
  description,
});

/** Printable ASCII. */
const FACT = '^[\\x20-\\x7e]*$';
const BASE64 = '^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$';
const INSTANT = '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}';

const AMOUNTS = {
  lamportsOut: { ...ref('Decimal'), description: 'Lamports that leave the wallet, fees not included.' },
  feeLamports: { ...ref('Decimal'), description: 'Base and priority fee together.' },
  tokens: {
    type: 'object',
    description: 'By mint, base units that leave the wallet; empty when only lamports leave.',
    propertyNames: ref('Address'),
    additionalProperties: ref('Decimal'),
  },
};
const MESSAGE_HASH = { ...ref('Sha256'), description: 'SHA-256 of the message that is signed.' };
const SIGNED = {
  signature: ref('TransactionSignature'),
  messageHash: MESSAGE_HASH,
  ...AMOUNTS,
  receipt: ref('Receipt'),
};

const held = (more: Readonly<Record<string, Schema>>, before: Readonly<Record<string, Schema>> = {}): Schema =>
  closed({
    ...before,
    held: { const: true },
    at: { ...ref('Instant'), description: 'Since when.' },
    elapsedMilliseconds: { type: 'number', minimum: 0, description: 'From the order until it held, or was found to.' },
    ...more,
  });
const notHeld = (before: Readonly<Record<string, Schema>> = {}): Schema =>
  closed({ ...before, held: { const: false }, code: text('Why not: a code of the error table.') });
const ENCLAVE = { enclave: text('The address of its control connection.') };

/** Who may follow a wallet's owner, as the newest leaf about it says. */
export const SUCCESSION_MEMBERS: Readonly<Record<string, Schema>> = {
  change: {
    type: 'integer',
    minimum: 0,
    maximum: 0xffff_ffff,
    description: 'The number of the last change; the next statement names one more.',
  },
  successor: orNull(ref('Successor'), 'Null where the owner named nobody any more.'),
  takeover: orNull(
    closed({
      claimedAt: { ...ref('Instant'), description: 'Since when the claim runs, by the enclave’s trusted time.' },
      dueAt: { ...ref('Instant'), description: 'Until then the owner can cancel it.' },
    }),
    'The successor’s claim; null while none runs.',
  ),
};

export const SCHEMAS: Readonly<Record<string, Schema>> = {
  Address: text('32 bytes in base58: a Solana address or an Ed25519 public key.', {
    pattern: '^[1-9A-HJ-NP-Za-km-z]{32,44}$',
  }),
  BootId: text('The boot key in base58: one start of one enclave.', { pattern: '^[1-9A-HJ-NP-Za-km-z]{32,44}$' }),
  Base64: text('Canonical base64 with padding (RFC 4648 section 4).', { pattern: BASE64, contentEncoding: 'base64' }),
  Signature: text('An Ed25519 signature of 64 bytes in base64.', {
    pattern: '^[A-Za-z0-9+/]{85}[AQgw]==$',
    contentEncoding: 'base64',
  }),
  TransactionSignature: text('An Ed25519 signature in base58, as Solana writes it.', {
    pattern: '^[1-9A-HJ-NP-Za-km-z]{64,88}$',
  }),
  Sha256: text('32 bytes in lower-case hex.', { pattern: '^[0-9a-f]{64}$' }),
  Decimal: text('A whole number in decimal digits, below 2^64. A string, because JSON numbers lose such values.', {
    pattern: '^(?:0|[1-9][0-9]{0,19})$',
  }),
  Time: text('RFC 3339 in UTC with whole seconds.', { pattern: `${INSTANT}Z$`, format: 'date-time' }),
  Instant: text('RFC 3339 in UTC with milliseconds.', { pattern: `${INSTANT}\\.[0-9]{3}Z$`, format: 'date-time' }),
  RequestId: text('The id of a request or of a signal.', { pattern: '^[A-Za-z0-9_-]{1,64}$' }),
  Receipt: {
    ...closed({
      leaf: { ...ref('Base64'), description: 'A leaf of the log, in CBOR.' },
      signature: { ...ref('Signature'), description: 'The boot key’s, over the bytes of the leaf.' },
    }),
    description: 'A decision as it stands in the log, signed by the boot key of the enclave.',
  },
  SignedBytes: {
    ...closed({
      bytes: { ...ref('Base64'), description: 'CBOR that begins with its own purpose.' },
      signature: { ...ref('Signature'), description: 'The boot key’s, over those bytes.' },
    }),
    description: 'What a boot key signed beside the log.',
  },
  Wallet: {
    ...closed({
      wallet: ref('Address'),
      owner: ref('Address'),
      stateVersion: { ...ref('Decimal'), description: 'Grows by one with each signature and each policy.' },
      policyHash: orNull(ref('Sha256'), 'SHA-256 of the policy’s canonical bytes; null before the first one.'),
      epoch: orNull({ type: 'integer', minimum: 1 }, 'Of the policy; null before the first one.'),
      frozen: { type: 'boolean', description: 'By itself, with the fleet, or because all its requesters are.' },
      retired: { type: 'boolean', description: 'Ended by its owner, for good: it signs nothing any more.' },
      succession: orNull(closed(SUCCESSION_MEMBERS), 'Null where the owner never named anybody.'),
      createdAt: ref('Time'),
    }),
    description: 'The public facts of a wallet.',
  },
  Successor: {
    ...closed({
      key: { ...ref('Address'), description: 'An ordinary Solana key.' },
      delayDays: {
        type: 'integer',
        minimum: 1,
        maximum: LIMITS.successorDelayDays,
        description: 'How many days behind his claim he may become the owner at the earliest.',
      },
    }),
    description: 'Who may follow a wallet’s owner.',
  },
  Signal: closed({
    source: text('As the host’s configuration and the policy call it.', { pattern: '^[A-Za-z0-9._-]{1,64}$' }),
    id: ref('RequestId'),
    verifiedBy: {
      enum: ['enclave', 'host'],
      description: '`host`: what a policy calls `hostVerified`, the word of this host alone.',
    },
  }),
  SignReply: {
    ...closed({ ...SIGNED, signal: ref('Signal') }, ['signal']),
    description: 'A signature. `signal` is there when the request named one.',
  },
  RuleOutcome: closed(
    {
      rule: text('The rule as a path into the policy.', { pattern: FACT }),
      outcome: { enum: ['allow', 'deny'] },
      value: text('What broke it, or was held against it.', { pattern: FACT }),
    },
    ['value'],
  ),
  SignVerdict: {
    ...closed({
      verdict: { enum: ['allow', 'deny'] },
      rules: { type: 'array', maxItems: LIMITS.ruleOutcomes, items: ref('RuleOutcome') },
      messageHash: MESSAGE_HASH,
      ...AMOUNTS,
    }),
    description: 'The answer to a dry run: every rule that was asked.',
  },
  BatchReply: {
    ...closed(
      {
        signed: { type: 'array', minItems: 1, maxItems: LIMITS.batchTransactions, items: closed(SIGNED) },
        signal: ref('Signal'),
      },
      ['signal'],
    ),
    description: 'A signature for each transaction, in the order of the request.',
  },
  BatchVerdictItem: {
    ...closed(
      {
        verdict: { enum: ['allow', 'deny'] },
        messageHash: MESSAGE_HASH,
        rule: text('The rule that denied it.', { pattern: FACT }),
        value: text('What broke that rule.', { pattern: FACT }),
        receipt: ref('Receipt'),
      },
      ['rule', 'value', 'receipt'],
    ),
    description: 'What became, or would become, of one transaction of a batch.',
  },
  BatchVerdict: {
    ...closed({
      verdict: { enum: ['allow', 'deny'], description: '`deny` when one transaction would be denied.' },
      verdicts: { type: 'array', minItems: 1, maxItems: LIMITS.batchTransactions, items: ref('BatchVerdictItem') },
    }),
    description: 'The answer to the dry run of a batch.',
  },
  Hold: {
    oneOf: [held({}), notHeld()],
    description: 'Whether one place holds the freeze.',
  },
  EnclaveHold: {
    oneOf: [held({ ack: ref('SignedBytes'), receipt: ref('Receipt') }, ENCLAVE), notHeld(ENCLAVE)],
    description: 'Whether one enclave holds it, with its signed acknowledgement (`qv/freeze-ack/v1`) and the leaf.',
  },
  FreezeReport: {
    ...closed({
      scope: text('As it was ordered: `wallet:<address>` or `requester:<key>`.'),
      host: ref('Hold'),
      enclaves: { type: 'array', items: ref('EnclaveHold') },
      database: ref('Hold'),
    }),
    description: 'Which of host, enclaves and database hold the freeze. 200 also when some do not: read it.',
  },
  ProvenLeaf: closed({
    leaf: ref('Base64'),
    signature: ref('Signature'),
    proof: { type: 'array', maxItems: LIMITS.proofHashes, items: ref('Base64') },
  }),
  ReceiptFile: {
    ...closed({
      format: { const: 'qv/receipt/v1' },
      index: text('The place of the leaf in the log of its boot.', { pattern: '^(?:0|[1-9][0-9]{0,18})$' }),
      leaf: ref('Base64'),
      signature: ref('Signature'),
      proof: {
        type: 'array',
        maxItems: LIMITS.proofHashes,
        items: ref('Base64'),
        description: 'Inclusion in the checkpoint (RFC 6962 section 2.1.1), the deepest hash first.',
      },
      checkpoint: text('A signed note (C2SP tlog-checkpoint) with the cosignatures of witnesses.'),
      bootRecord: { ...ref('ProvenLeaf'), description: 'Leaf 0, which holds the attestation document.' },
    }),
    description: 'One decision as a file that `qv verify` checks offline.',
  },
};

/**
 * A leaf as text: every public field by its name, for exports and `--json`, and the same for people. Bytes are hex,
 * keys and boots base58, amounts and versions decimal strings, times RFC 3339; documents and notes are base64.
 */
import { isoTime } from '../attestation/chain.ts';
import type { Hash } from '../brands.ts';
import { toBase64, toHex } from '../bytes.ts';
import type { Leaf, LeafKind } from './leaf.ts';

/** Names and order are stable; a new field of leaves goes to the end. */
export const LEAF_COLUMNS = [
  'boot',
  'sequence',
  'time',
  'kind',
  'wallet',
  'actor',
  'requestId',
  'lamportsOut',
  'feeLamports',
  'tokens',
  'rule',
  'value',
  'messageHash',
  'signatureHash',
  'policyHash',
  'stateVersion',
  'repeats',
  'freezeId',
  'scope',
  'reason',
  'configHash',
  'predecessorBoot',
  'predecessorCheckpoint',
  'successor',
  'attestation',
  'previous',
  'leafHash',
  'ownerBefore',
  'successorKey',
  'successorDelayDays',
  'claimedAt',
  'successionChange',
] as const;
export type LeafColumn = (typeof LEAF_COLUMNS)[number];

export interface TokenRecord {
  readonly mint: string;
  readonly amount: string;
}

/** Null where the leaf has no such field. */
export type LeafRecord = Readonly<
  Record<Exclude<LeafColumn, 'tokens'>, string | null> & { tokens: readonly TokenRecord[] | null }
>;

/** In the order of LEAF_COLUMNS. */
export function leafRecord(leaf: Leaf, leafHash: Hash): LeafRecord {
  const { amounts, predecessor, succession } = leaf;
  return {
    boot: leaf.boot,
    sequence: String(leaf.sequence),
    time: isoTime(leaf.time),
    kind: leaf.kind,
    wallet: leaf.wallet ?? null,
    actor: leaf.actor ?? null,
    requestId: leaf.requestId ?? null,
    lamportsOut: decimal(amounts?.lamportsOut),
    feeLamports: decimal(amounts?.feeLamports),
    tokens: amounts?.tokens?.map(({ mint, amount }) => ({ mint, amount: String(amount) })) ?? null,
    rule: leaf.rule ?? null,
    value: leaf.value ?? null,
    messageHash: hex(leaf.messageHash),
    signatureHash: hex(leaf.signatureHash),
    policyHash: hex(leaf.policyHash),
    stateVersion: decimal(leaf.stateVersion),
    repeats: decimal(leaf.repeats),
    freezeId: hex(leaf.freezeId),
    scope: leaf.scope ?? null,
    reason: leaf.reason ?? null,
    configHash: hex(leaf.configHash),
    predecessorBoot: predecessor?.boot ?? null,
    predecessorCheckpoint: base64(predecessor?.checkpoint),
    successor: leaf.successor ?? null,
    attestation: base64(leaf.attestation),
    previous: hex(leaf.previous),
    leafHash: toHex(leafHash),
    ownerBefore: succession?.owner ?? null,
    successorKey: succession?.successor?.key ?? null,
    successorDelayDays: decimal(succession?.successor?.delayDays),
    claimedAt: succession?.claimedAt === undefined ? null : isoTime(succession.claimedAt),
    successionChange: decimal(succession?.change),
  };
}

const decimal = (value: bigint | number | undefined): string | null => (value === undefined ? null : String(value));
const hex = (bytes: Uint8Array | undefined): string | null => (bytes === undefined ? null : toHex(bytes));
const base64 = (bytes: Uint8Array | undefined): string | null => (bytes === undefined ? null : toBase64(bytes));

const DECISIONS: Readonly<Record<LeafKind, string>> = {
  boot: 'an enclave started',
  follows: 'this log continues another',
  'wallet-created': 'a wallet was created',
  'policy-enabled': 'a policy was enabled',
  signed: 'a transaction was signed',
  denied: 'a transaction was denied',
  'key-failed': 'a wallet’s key did not open',
  frozen: 'signing was stopped',
  resumed: 'a freeze was lifted',
  release: 'a wallet was released to another boot',
  lease: 'operators moved wallets from a boot that is gone',
  'wallet-imported': 'a key that existed outside became a wallet',
  rewrapped: 'a wallet was put under a fresh key and salt',
  retired: 'a wallet was retired for good',
  'wallet-migrated': 'a key of v2 became a wallet',
  'successor-named': 'an owner named who may follow him, or nobody',
  'takeover-claimed': 'a successor claimed a wallet',
  'takeover-cancelled': 'a successor’s claim was cancelled',
  'owner-changed': 'a successor became the owner of a wallet',
};

/** Whose signature caused it. */
const ACTORS: Partial<Readonly<Record<LeafKind, string>>> = {
  'wallet-created': 'Owner',
  'wallet-imported': 'Owner',
  'policy-enabled': 'Owner',
  retired: 'Owner',
  'wallet-migrated': 'Owner, by the operators’ list',
  'successor-named': 'Owner',
  'takeover-claimed': 'Successor',
  'takeover-cancelled': 'Owner',
  'owner-changed': 'New owner',
  signed: 'Requester',
  denied: 'Requester',
};

/** What a leaf says, for people: label and value, without what is absent. Texts are the leaf's own, unescaped. */
export function leafRows(leaf: Leaf): readonly (readonly [string, string])[] {
  const record = leafRecord(leaf, new Uint8Array(32) as Hash);
  const tokens = (record.tokens ?? []).map(({ mint, amount }) => [`Token ${mint}`, `${amount} base units`] as const);
  const sum = (lamports: string | null): string | null => (lamports === null ? null : `${lamports} lamports`);
  const rows: readonly (readonly [string, string | null])[] = [
    ['Decision', `${leaf.kind}: ${DECISIONS[leaf.kind]}`],
    ['Time', record.time],
    ['Wallet', record.wallet],
    [ACTORS[leaf.kind] ?? 'Actor', record.actor],
    ['Request id', record.requestId],
    ['Leaves the wallet', sum(record.lamportsOut)],
    ['Fee', sum(record.feeLamports)],
    ...tokens,
    ['Rule', record.rule],
    ['Value', record.value],
    ['Message', sha(record.messageHash)],
    ['Signature', sha(record.signatureHash)],
    ['Policy', sha(record.policyHash)],
    ['State version', record.stateVersion],
    ['Repeats', record.repeats === null ? null : `leaf ${record.repeats}: the same bytes, and nothing spent again`],
    ['Freeze id', record.freezeId],
    ['Scope', record.scope],
    ['Reason', record.reason],
    ['Configuration', sha(record.configHash)],
    ['Continues', record.predecessorBoot === null ? null : `the log of boot ${record.predecessorBoot}`],
    ['Successor', record.successor],
    ['Owner before', record.ownerBefore],
    ['Who may follow', successorText(leaf)],
    ['Claimed at', record.claimedAt],
    ['Change of succession', record.successionChange],
    ['Attestation', leaf.attestation === undefined ? null : `a document of ${leaf.attestation.length} bytes`],
    ['Place', `leaf ${record.sequence} of boot ${record.boot}`],
  ];
  return rows.flatMap(([label, value]) => (value === null ? [] : [[label, value] as const]));
}

const sha = (digest: string | null): string | null => (digest === null ? null : `SHA-256 ${digest}`);

function successorText({ succession }: Leaf): string | null {
  if (succession === undefined) return null;
  const { successor } = succession;
  return successor === undefined ? 'nobody' : `${successor.key}, ${successor.delayDays} days after a claim`;
}

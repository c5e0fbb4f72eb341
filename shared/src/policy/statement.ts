/**
 * What the owner reads and signs, as a plain message of an ordinary wallet: deterministic printable ASCII, one fact
 * per line, purpose and version first, at most 1,000 bytes so that every wallet can show it (design 7, 'Enable').
 * The enclave renders it again from the policy and verifies the signature over that, so no line is ever parsed.
 *
 * Long lists shrink to `N entries, SHA-256 …` over their canonical bytes. Which lists shrink depends on the policy
 * alone: the most explicit rendering that fits is the statement.
 */

import type { Address, BootId, Hash, TimeMs } from '../brands.ts';
import { toHex, utf8 } from '../bytes.ts';
import { encodeCbor } from '../cbor.ts';
import { QvError } from '../errors.ts';
import type { Successor } from '../evidence/leaf.ts';
import { LIMITS } from '../limits.ts';
import { formatTime } from '../rfc3339.ts';
import { sha256 } from '../sha256.ts';
import { TOKEN_PROGRAM } from '../solana/programs.ts';
import { cborOf, policyJson } from './canonical.ts';
import type { Policy, TokenRule, Window } from './policy.ts';
import { checkedDeployment, requireNonce } from './statement-lines.ts';
import { successorLine } from './succession-statement.ts';
import { policyWarnings } from './warnings.ts';

export const ENABLE_PURPOSE = 'qv/enable-policy/v1';
export const CREATE_PURPOSE = 'qv/create-wallet/v1';
export const IMPORT_PURPOSE = 'qv/import-wallet/v1';
export const RETIRE_PURPOSE = 'qv/retire-wallet/v1';

export interface PolicyStatement {
  readonly policy: Policy;
  /** policyHash of the policy's canonical bytes. */
  readonly policyHash: Hash;
  readonly deployment: string;
  /** The policy it replaces; undefined for a wallet's first. */
  readonly previousHash: Hash | undefined;
  readonly enableBeforeMs: TimeMs;
}

export interface CreationStatement {
  readonly deployment: string;
  readonly owner: Address;
  /** 16 bytes. */
  readonly nonce: Uint8Array;
  /** 1 to 16. */
  readonly requesters: readonly Address[];
  readonly createBeforeMs: TimeMs;
  /** Who may follow the owner, where he names somebody at once. */
  readonly successor?: Successor | undefined;
}

export interface ImportStatement {
  readonly deployment: string;
  readonly owner: Address;
  /** The address of the key that is imported. */
  readonly wallet: Address;
  /** 16 bytes. */
  readonly nonce: Uint8Array;
  /** 1 to 16. */
  readonly requesters: readonly Address[];
  /** The only enclave boot that may take the key in, and the X25519 key (32 bytes) that its attestation names. */
  readonly boot: BootId;
  readonly importKey: Uint8Array;
  readonly importBeforeMs: TimeMs;
  /** As in a creation. */
  readonly successor?: Successor | undefined;
}

export interface RetireStatement {
  readonly deployment: string;
  readonly wallet: Address;
  readonly owner: Address;
  /** Of the policy that is enabled; undefined for a wallet that has none. */
  readonly policyHash: Hash | undefined;
  /** The enclave boot that holds the wallet. */
  readonly boot: BootId;
  /** 16 bytes. */
  readonly nonce: Uint8Array;
  readonly retireBeforeMs: TimeMs;
}

type Entries = readonly Parameters<typeof cborOf>[0][];

/** What shrinks to a hash, in this order until the text fits: lists of several, programs, tokens, lists of one. */
interface Detail {
  readonly lists: boolean;
  readonly programs: boolean;
  readonly tokens: boolean;
  readonly single: boolean;
}
const ALL: Detail = { lists: true, programs: true, tokens: true, single: true };
const DETAILS: readonly Detail[] = [
  ALL,
  { ...ALL, lists: false },
  { ...ALL, lists: false, programs: false },
  { ...ALL, lists: false, programs: false, tokens: false },
  { lists: false, programs: false, tokens: false, single: false },
];

/** @throws QvError statement_too_long; field_malformed for a deployment that could break out of its line */
export function renderPolicyStatement(statement: PolicyStatement): string {
  for (const detail of DETAILS) {
    const text = policyLines(statement, detail).join('\n');
    if (utf8(text).length <= LIMITS.statementBytes) return text;
  }
  throw new QvError('statement_too_long');
}

/** @throws QvError field_malformed for a nonce, list of requesters, successor or deployment of the wrong form */
export function renderCreationStatement(statement: CreationStatement): string {
  const { deployment, owner, nonce, requesters, createBeforeMs, successor } = statement;
  requireFirst(nonce, requesters);
  const head = [
    `${CREATE_PURPOSE}: create a wallet`,
    `Deployment: ${checkedDeployment(deployment)}`,
    `Owner: ${owner}`,
    `Nonce: ${toHex(nonce)}`,
    `Create before: ${formatTime(createBeforeMs)}`,
    ...(successor === undefined ? [] : [successorLine(successor, owner)]),
  ];
  // Without a successor the longest one, of 16 requesters and 64 characters of deployment, has 976 bytes.
  return withRequesters(head, requesters);
}

/**
 * What the owner of a key signs to bring it in. The sealed key carries the SHA-256 of this text.
 * @throws QvError field_malformed for a nonce, import key, list of requesters, successor or deployment of the wrong form
 */
export function renderImportStatement(statement: ImportStatement): string {
  const { deployment, owner, wallet, nonce, requesters, boot, importKey, importBeforeMs, successor } = statement;
  requireFirst(nonce, requesters);
  if (importKey.length !== 32) throw new QvError('field_malformed', { path: 'importKey' });
  const head = [
    `${IMPORT_PURPOSE}: import a key that exists outside`,
    `Deployment: ${checkedDeployment(deployment)}`,
    `Owner: ${owner}`,
    `Wallet: ${wallet}`,
    `Nonce: ${toHex(nonce)}`,
    `Import before: ${formatTime(importBeforeMs)}`,
    `Boot: ${boot}`,
    `Import key: ${toHex(importKey)}`,
    ...(successor === undefined ? [] : [successorLine(successor, owner, wallet)]),
  ];
  return withRequesters(head, requesters);
}

/**
 * What the owner of a wallet signs to end it. It says what cannot be taken back, because nothing else will ask again.
 * @throws QvError field_malformed for a nonce, policy hash or deployment of the wrong form
 */
export function renderRetireStatement(statement: RetireStatement): string {
  const { deployment, wallet, owner, policyHash, boot, nonce, retireBeforeMs } = statement;
  requireNonce(nonce);
  if (policyHash !== undefined && policyHash.length !== 32)
    throw new QvError('field_malformed', { path: 'policyHash' });
  return [
    `${RETIRE_PURPOSE}: retire this wallet for good`,
    `Deployment: ${checkedDeployment(deployment)}`,
    `Wallet: ${wallet}`,
    `Owner: ${owner}`,
    `Policy: ${policyHash === undefined ? 'none' : toHex(policyHash)}`,
    `Boot: ${boot}`,
    `Nonce: ${toHex(nonce)}`,
    `Retire before: ${formatTime(retireBeforeMs)}`,
    'It never signs again: what is left in the wallet stays there for good.',
    'Copies of its ciphertext elsewhere cannot be destroyed.',
  ].join('\n');
}

/** In full where that fits. */
function withRequesters(head: readonly string[], requesters: readonly Address[]): string {
  const listed = [...head, `Requesters: ${requesters.length}`, ...requesters].join('\n');
  return listed.length <= LIMITS.statementBytes ? listed : [...head, `Requesters: ${hashed(requesters)}`].join('\n');
}

function requireFirst(nonce: Uint8Array, requesters: readonly Address[]): void {
  requireNonce(nonce);
  if (requesters.length < 1 || requesters.length > LIMITS.requesters || new Set(requesters).size !== requesters.length)
    throw new QvError('field_malformed', { path: 'requesters' });
}

function policyLines(statement: PolicyStatement, detail: Detail): string[] {
  const { policy, previousHash } = statement;
  return [
    `${ENABLE_PURPOSE}: enable this policy`,
    `Deployment: ${checkedDeployment(statement.deployment)}`,
    `Wallet: ${policy.wallet}`,
    `Owner: ${policy.owner}`,
    `Epoch: ${policy.epoch}`,
    `Previous policy: ${previousHash === undefined ? 'none' : toHex(previousHash)}`,
    `Enable before: ${formatTime(statement.enableBeforeMs)}`,
    `Valid: ${formatTime(policy.validFrom)} until ${formatTime(policy.validUntil)}`,
    `Requesters: ${entries(policy.requesters, detail)}`,
    ...signalLines(policy, detail),
    `Transactions: ${policy.transaction.versions.join(', ') || 'none'}; ${policy.transaction.maxInstructions} instructions`,
    ...tableLines(policy),
    `Fee: up to ${units(policy.fees.maxLamports, 9)} SOL each${within(policy.fees.window, 9)}`,
    `SOL: up to ${units(policy.sol.maxPerTransaction, 9)} each${within(policy.sol.window, 9)}, to ${entries(policy.sol.destinations, detail)}`,
    ...tokenLines(policy, detail),
    ...programLines(policy, detail),
    ...(policy.rate === undefined ? [] : [`Rate: ${policy.rate.perMinute}/minute, ${policy.rate.perDay}/day`]),
    `Policy SHA-256: ${toHex(statement.policyHash)}`,
  ];
}

function signalLines({ signals }: Policy, detail: Detail): string[] {
  if (signals === undefined) return [];
  const sources = signals.sources.map((source) =>
    'key' in source ? `${source.name} ${source.key}` : `${source.name} HOST VERIFIED ONLY`,
  );
  const byHost = signals.sources.filter((source) => 'hostVerified' in source).length;
  const each = `${signals.signaturesPerSignal} per signal, ${signals.maxAgeSeconds} s`;
  const lines = [`Signals ${signals.required ? 'required' : 'optional'}, ${each}: ${entries(sources, detail)}`];
  return byHost === 0 ? lines : [...lines, `WARNING: only the host verifies ${byHost} of the signal sources`];
}

function tableLines(policy: Policy): string[] {
  const { lookupTables } = policy.transaction;
  if (lookupTables.length === 0) return [];
  const snapshots = lookupTables.map(({ table, addresses }) => [table, addresses] as const);
  return [`Lookup tables: ${hashed(snapshots)}`];
}

function tokenLines(policy: Policy, detail: Detail): string[] {
  const { tokens } = policy;
  if (tokens.length === 0) return ['Tokens: none'];
  if (!detail.tokens) return [`Tokens: ${hashed(policyJson(policy)['tokens'] as Entries)}`];
  return tokens.map(
    (rule: TokenRule) =>
      `Token ${rule.mint}${rule.tokenProgram === TOKEN_PROGRAM ? '' : ' (Token-2022)'}, ${rule.decimals} decimals: up to ${units(rule.maxPerTransaction, rule.decimals)} each${within(rule.window, rule.decimals)}, to ${entries(rule.destinations, detail)}`,
  );
}

function programLines(policy: Policy, detail: Detail): string[] {
  const { programs } = policy;
  if (programs.length === 0) return ['Programs: none'];
  const json = policyJson(policy)['programs'] as Entries;
  const listed = detail.programs
    ? programs.map(
        (rule, index) =>
          // The names are the owner's words; what they stand for is in the hash.
          `Program ${rule.program}: ${rule.instructions.map(({ name }) => name).join(', ')}, ${digest(json[index] ?? [])}`,
      )
    : [`Programs: ${hashed(json)}`];
  const uncounted = policyWarnings(policy).filter(({ weakness }) => weakness === 'rule-counts-nothing').length;
  return [
    ...listed,
    'WARNING: an upgradeable program can take what it is passed',
    ...bracketLines(policy),
    ...(uncounted === 0 ? [] : [`WARNING: ${uncounted} program rules count nothing`]),
  ];
}

function bracketLines({ programs }: Policy): string[] {
  const rules = programs.flatMap(({ instructions }) => instructions);
  const programsUsed = new Set(rules.flatMap(({ bracketedBy }) => bracketedBy ?? []));
  return [...programsUsed].map((program) => {
    const count = rules.filter((rule) => rule.bracketedBy === program).length;
    return `Balances bracketed on chain: ${count} of ${rules.length} program rules, while ${program} is unchanged`;
  });
}

function entries(list: readonly string[], detail: Detail): string {
  if (list.length === 0) return 'nobody';
  const written = list.length === 1 ? detail.single : detail.lists;
  return written ? list.join(', ') : hashed(list);
}

/** The count and the first 16 bytes of SHA-256 over the canonical CBOR of the list. */
function hashed(list: Entries): string {
  return `${list.length} ${list.length === 1 ? 'entry' : 'entries'}, ${digest(list)}`;
}

function digest(value: Parameters<typeof cborOf>[0]): string {
  return `SHA-256 ${toHex(sha256(encodeCbor(cborOf(value)))).slice(0, 32)}`;
}

function within(window: Window | undefined, decimals: number): string {
  return window === undefined ? '' : `, ${units(window.max, decimals)} per ${window.seconds} s`;
}

/** Base units as an exact decimal: 1500000 with 6 decimals is 1.5. */
function units(amount: bigint, decimals: number): string {
  const digits = amount.toString().padStart(decimals + 1, '0');
  const fraction = decimals === 0 ? '' : digits.slice(-decimals).replace(/0+$/, '');
  return `${digits.slice(0, digits.length - decimals)}${fraction === '' ? '' : `.${fraction}`}`;
}

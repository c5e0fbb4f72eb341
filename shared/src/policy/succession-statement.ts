/**
 * What an owner and his successor sign about who may follow him: as all statements (statement.ts), plain text that
 * ordinary wallets show. Each names the number of the change that it is, so that none counts for another state of the
 * succession than its signer read, whatever is held back, repeated or reordered on the way.
 */
import type { Address, BootId, TimeMs } from '../brands.ts';
import { toHex } from '../bytes.ts';
import { QvError } from '../errors.ts';
import type { Successor } from '../evidence/leaf.ts';
import { LIMITS } from '../limits.ts';
import { formatTime } from '../rfc3339.ts';
import { checkedDeployment, requireNonce } from './statement-lines.ts';

export const SUCCESSION_ACTS = ['name', 'claim', 'cancel', 'complete'] as const;
export type SuccessionAct = (typeof SUCCESSION_ACTS)[number];

/** Their first lines up to the colon, and `purpose` in JSON. */
export const SUCCESSION_PURPOSES: Readonly<Record<SuccessionAct, string>> = {
  name: 'qv/name-successor/v1',
  claim: 'qv/claim-wallet/v1',
  cancel: 'qv/cancel-claim/v1',
  complete: 'qv/take-wallet-over/v1',
};

interface Common {
  readonly deployment: string;
  readonly wallet: Address;
  readonly owner: Address;
  /** 1 for a wallet's first. */
  readonly change: number;
  /** The enclave boot that holds the wallet. */
  readonly boot: BootId;
  /** 16 bytes. */
  readonly nonce: Uint8Array;
  /** It counts until then. */
  readonly beforeMs: TimeMs;
}

/** The owner names a successor, or with `undefined` none any more. */
export interface NameStatement extends Common {
  readonly successor: Successor | undefined;
}

/** The successor claims the wallet, its owner takes that back, or the successor becomes the owner. */
export interface ClaimStatement extends Common {
  readonly successor: Address;
}

/**
 * @throws QvError field_malformed for a nonce, change, delay or deployment of the wrong form, and for a successor who is
 * the owner or the wallet itself
 */
export function renderNameStatement(statement: NameStatement): string {
  const { successor, wallet, owner } = statement;
  if (successor !== undefined) requireSuccessor(successor, owner, wallet);
  const named =
    successor === undefined
      ? ['Successor: none', 'Nobody else can become the owner of this wallet.']
      : [
          `Successor: ${successor.key}`,
          `Delay: ${days(successor)}`,
          'The successor can claim this wallet and own it after the delay;',
          'until the delay has passed the owner can cancel each claim.',
        ];
  return [...head(statement, 'name', 'name who may become its owner'), ...named].join('\n');
}

/** @throws QvError field_malformed for a nonce, change or deployment of the wrong form */
export function renderClaimStatement(statement: ClaimStatement): string {
  return [
    ...head(statement, 'claim', 'claim this wallet as its successor'),
    `Successor: ${statement.successor}`,
    'The delay that its owner has set begins; he can cancel until it has passed.',
  ].join('\n');
}

/** @throws QvError field_malformed for a nonce, change or deployment of the wrong form */
export function renderCancelStatement(statement: ClaimStatement): string {
  return [
    ...head(statement, 'cancel', 'cancel the claim of its successor'),
    `Successor: ${statement.successor}`,
    'The successor stays named and can claim again.',
  ].join('\n');
}

/** @throws QvError field_malformed for a nonce, change or deployment of the wrong form */
export function renderCompleteStatement(statement: ClaimStatement): string {
  return [
    ...head(statement, 'complete', 'become the owner of this wallet'),
    `Successor: ${statement.successor}`,
    'No policy counts until the new owner enables one. What is frozen stays frozen.',
  ].join('\n');
}

/** The line of creation and import statements that name one. @throws QvError field_malformed as above */
export function successorLine(successor: Successor, owner: Address, wallet?: Address): string {
  requireSuccessor(successor, owner, wallet);
  return `Successor: ${successor.key} after ${days(successor)}`;
}

/** @throws QvError field_malformed */
function requireSuccessor({ key, delayDays }: Successor, owner: Address, wallet: Address | undefined): void {
  if (!Number.isInteger(delayDays) || delayDays < 1 || delayDays > LIMITS.successorDelayDays)
    throw new QvError('field_malformed', { path: 'successor.delayDays', value: String(delayDays) });
  // Who owns it already takes nothing over, and a wallet's own key signs no statement.
  if (key === owner || key === wallet) throw new QvError('field_malformed', { path: 'successor.key', value: key });
}

function head(statement: Common, act: SuccessionAct, what: string): string[] {
  const { deployment, wallet, owner, change, boot, nonce, beforeMs } = statement;
  requireNonce(nonce);
  if (!Number.isInteger(change) || change < 1 || change > 0xffff_ffff)
    throw new QvError('field_malformed', { path: 'change', value: String(change) });
  return [
    `${SUCCESSION_PURPOSES[act]}: ${what}`,
    `Deployment: ${checkedDeployment(deployment)}`,
    `Wallet: ${wallet}`,
    `Owner: ${owner}`,
    `Change: ${change}`,
    `Boot: ${boot}`,
    `Nonce: ${toHex(nonce)}`,
    `Counts before: ${formatTime(beforeMs)}`,
  ];
}

const days = ({ delayDays }: Successor): string => `${delayDays} ${delayDays === 1 ? 'day' : 'days'}`;

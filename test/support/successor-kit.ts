/** What owners and successors sign about who follows an owner. */
import type { Address, BootId } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import type { Successor } from '@quantumvault/shared/evidence/leaf.ts';
import {
  renderCancelStatement,
  renderClaimStatement,
  renderCompleteStatement,
  renderNameStatement,
  SUCCESSION_PURPOSES,
} from '@quantumvault/shared/policy/succession-statement.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import nacl from 'tweetnacl';
import { type Party, secondsFromNow } from './wallet-kit.ts';

export type Naming = Omit<RequestOf<'successorName'>, 'blobs'>;
export type Claiming = Omit<RequestOf<'takeoverClaim'>, 'blobs'>;

export interface SuccessionFacts {
  readonly deployment: string;
  readonly boot: BootId;
  readonly wallet: Address;
  readonly owner: Party;
  readonly change: number;
}

function common({ deployment, boot, wallet, owner, change }: SuccessionFacts) {
  const nonce = nacl.randomBytes(16);
  return { deployment, boot, wallet, owner: owner.address, change, nonce, before: secondsFromNow(600) };
}

/** Rightly signed, also with `change` in its facts, which is made before it is signed; as the next two. */
export function naming(facts: SuccessionFacts, successor: Successor | undefined, change: Partial<Naming> = {}): Naming {
  const said = { ...common(facts), ...(successor && { successor }), ...change };
  const text = renderNameStatement({ ...said, successor: said.successor, beforeMs: said.before });
  return { ...said, signature: change.signature ?? facts.owner.sign(utf8(text)) };
}

export function claiming(facts: SuccessionFacts, successor: Party, change: Partial<Claiming> = {}): Claiming {
  const said = { ...common(facts), successor: successor.address, ...change };
  const text = renderClaimStatement({ ...said, beforeMs: said.before });
  return { ...said, signature: change.signature ?? successor.sign(utf8(text)) };
}

export function cancelling(facts: SuccessionFacts, successor: Address, change: Partial<Claiming> = {}): Claiming {
  const said = { ...common(facts), successor, ...change };
  const text = renderCancelStatement({ ...said, beforeMs: said.before });
  return { ...said, signature: change.signature ?? facts.owner.sign(utf8(text)) };
}

export function completing(facts: SuccessionFacts, successor: Party, change: Partial<Claiming> = {}): Claiming {
  const said = { ...common(facts), successor: successor.address, ...change };
  const text = renderCompleteStatement({ ...said, beforeMs: said.before });
  return { ...said, signature: change.signature ?? successor.sign(utf8(text)) };
}

/** The body of its request over HTTP. */
export function successionJson(
  act: keyof typeof SUCCESSION_PURPOSES,
  request: Naming | Claiming,
): Record<string, unknown> {
  const { nonce, before, signature, successor, ...plain } = request;
  return {
    purpose: SUCCESSION_PURPOSES[act],
    ...plain,
    successor: successor ?? null,
    nonce: toHex(nonce),
    before: formatTime(before),
    signature: toBase64(signature),
  };
}

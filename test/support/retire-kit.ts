/** Retire statements as owners sign them. */
import type { Address, BootId } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { policyHash } from '@quantumvault/shared/policy/policy.ts';
import { RETIRE_PURPOSE, renderRetireStatement } from '@quantumvault/shared/policy/statement.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import nacl from 'tweetnacl';
import { type Party, secondsFromNow } from './wallet-kit.ts';

type Retiring = Omit<RequestOf<'walletRetire'>, 'blobs'>;

export interface RetireFacts {
  readonly deployment: string;
  readonly boot: BootId;
  readonly wallet: Address;
  readonly owner: Party;
  /** The bytes of the policy that is enabled. */
  readonly policy?: Uint8Array | undefined;
}

/** A rightly signed statement; `change` is of its facts, before they are signed. */
export function retiring(
  { deployment, boot, wallet, owner, policy }: RetireFacts,
  change: Partial<Retiring> = {},
): Retiring {
  const facts = {
    deployment,
    wallet,
    owner: owner.address,
    ...(policy && { policyHash: policyHash(policy) }),
    boot,
    nonce: nacl.randomBytes(16),
    retireBefore: secondsFromNow(600),
    ...change,
  };
  const text = renderRetireStatement({ ...facts, policyHash: facts.policyHash, retireBeforeMs: facts.retireBefore });
  return { ...facts, signature: change.signature ?? owner.sign(utf8(text)) };
}

/** The body of POST /v1/wallets/:wallet/retire. */
export function retiringJson(request: Retiring): Record<string, unknown> {
  const { policyHash: hash, nonce, retireBefore, signature, ...texts } = request;
  return {
    purpose: RETIRE_PURPOSE,
    ...texts,
    policyHash: hash === undefined ? null : toHex(hash),
    nonce: toHex(nonce),
    retireBefore: formatTime(retireBefore),
    signature: toBase64(signature),
  };
}

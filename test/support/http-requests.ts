/** What owners and requesters send over HTTP, for tests inside and outside of a test runner. */
import type { Address } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import { signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import type { Transaction } from '@solana/web3.js';
import { type creation, type Party, secondsFromNow, wireOf } from './wallet-kit.ts';

/** The body of POST /v1/wallets. */
export function creationJson(request: ReturnType<typeof creation>): Record<string, unknown> {
  const { deployment, owner, nonce, requesters, createBefore, signature } = request;
  return {
    purpose: 'qv/create-wallet/v1',
    deployment,
    owner,
    nonce: toHex(nonce),
    requesters,
    createBefore: formatTime(createBefore),
    signature: toBase64(signature),
  };
}

export interface EnablingFacts {
  readonly deployment: string;
  readonly document: Record<string, unknown>;
  /** Who really signs. */
  readonly signer: Party;
  /** The policy that counts so far. */
  readonly previous?: Uint8Array | undefined;
}

/** The body of PUT /v1/wallets/:wallet/policy. */
export function enablingJson({ deployment, document, signer, previous }: EnablingFacts) {
  const policy = parsePolicy(document);
  const enableBeforeMs = secondsFromNow(600);
  const previousHash = previous === undefined ? undefined : policyHash(previous);
  const facts = { policy, policyHash: policyHash(policyBytes(policy)), deployment, previousHash, enableBeforeMs };
  return {
    policy: document,
    previousHash: previousHash === undefined ? null : toHex(previousHash),
    enableBefore: formatTime(enableBeforeMs),
    signature: toBase64(signer.sign(utf8(renderPolicyStatement(facts)))),
  };
}

export interface SigningFacts {
  readonly deployment: string;
  readonly wallet: Address;
  readonly transaction: Transaction;
  readonly signer: Party;
  readonly id: string;
  /** Seconds since 1970; default now. */
  readonly timestamp?: number | undefined;
  /** Further or changed members of the signed body. */
  readonly body?: Record<string, unknown> | undefined;
}

/** The body and the headers of POST /v1/sign. */
export function signingRequest(facts: SigningFacts): { body: string; headers: Record<string, string> } {
  const { id, wallet } = facts;
  const timestamp = String(facts.timestamp ?? Math.floor(Date.now() / 1000));
  const body = JSON.stringify({
    purpose: 'qv/sign/v1',
    audience: facts.deployment,
    wallet,
    transaction: toBase64(wireOf(facts.transaction)),
    ...facts.body,
  });
  const signature = facts.signer.sign(signedContent(id, timestamp, utf8(body)));
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1a,${toBase64(signature)}`,
  };
  return { body, headers };
}

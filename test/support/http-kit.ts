/** A user's side of the HTTP API, in raw requests, so that tests can send what no SDK would. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import { signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import type { Transaction } from '@solana/web3.js';
import { expect } from 'vitest';
import type { Stack } from '../stack/stack.ts';
import { creation, type Party, party, policyDocument, secondsFromNow, transfer, wireOf } from './wallet-kit.ts';

export interface HttpWallet {
  readonly address: Address;
  readonly owner: Party;
  readonly requester: Party;
  readonly destination: Address;
}

export interface SignOptions {
  readonly id?: string;
  readonly timestamp?: number;
  readonly transaction?: Transaction;
  readonly lamports?: bigint;
  readonly body?: Record<string, unknown>;
  readonly signer?: Party;
  readonly headers?: Record<string, string>;
  /** Sent in place of the body that was signed. */
  readonly sent?: (body: string) => string;
}

let counter = 0;

function creationJson(request: ReturnType<typeof creation>): Record<string, unknown> {
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

export type HttpKit = ReturnType<typeof httpKit>;

/** @param stack any of its hosts */
export function httpKit(stack: Pick<Stack, 'url' | 'deployment'>) {
  const http = (path: string, method: string, body: unknown): Promise<Response> =>
    fetch(stack.url + path, {
      method,
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });

  function creationBody(owner: Party, requester: Party): Record<string, unknown> {
    return creationJson(creation(stack.deployment, owner, [requester]));
  }

  /** What the owner sends to enable a policy. `signer` is who really signs. */
  function enablingBody(document: Record<string, unknown>, signer: Party, previous: Uint8Array | undefined) {
    const policy = parsePolicy(document);
    const enableBeforeMs = secondsFromNow(600);
    const previousHash = previous === undefined ? undefined : policyHash(previous);
    const facts = {
      policy,
      policyHash: policyHash(policyBytes(policy)),
      deployment: stack.deployment,
      previousHash,
      enableBeforeMs,
    };
    return {
      policy: document,
      previousHash: previousHash === undefined ? null : toHex(previousHash),
      enableBefore: formatTime(enableBeforeMs),
      signature: toBase64(signer.sign(utf8(renderPolicyStatement(facts)))),
    };
  }

  const documentFor = (own: HttpWallet, change: { epoch?: number; maxLamports?: string } = {}) =>
    policyDocument({
      wallet: own.address,
      owner: own.owner.address,
      requesters: [own.requester.address],
      destinations: [own.destination],
      ...change,
    });

  /** @param change of its policy, before its owner signs that */
  async function openWallet(change = (document: Record<string, unknown>) => document): Promise<HttpWallet> {
    const [owner, requester] = [party(), party()];
    const created = await http('/v1/wallets', 'POST', creationBody(owner, requester));
    expect(created.status).toBe(201);
    const reply = (await created.json()) as { wallet: string };
    const own = { address: address(reply.wallet), owner, requester, destination: party().address };
    const enabled = await http(
      `/v1/wallets/${own.address}/policy`,
      'PUT',
      enablingBody(change(documentFor(own)), owner, undefined),
    );
    expect(enabled.status).toBe(200);
    return own;
  }

  function sign(own: HttpWallet, options: SignOptions = {}): Promise<Response> {
    const id = options.id ?? `r-${counter++}`;
    const timestamp = String(options.timestamp ?? Math.floor(Date.now() / 1000));
    const transaction = options.transaction ?? transfer(own.address, own.destination, options.lamports ?? 1_000n);
    const body = JSON.stringify({
      purpose: 'qv/sign/v1',
      audience: stack.deployment,
      wallet: own.address,
      transaction: toBase64(wireOf(transaction)),
      ...options.body,
    });
    const signature = (options.signer ?? own.requester).sign(signedContent(id, timestamp, utf8(body)));
    return fetch(`${stack.url}/v1/sign`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1a,${toBase64(signature)}`,
        ...options.headers,
      },
      body: options.sent?.(body) ?? body,
    });
  }

  async function ready(): Promise<void> {
    await expect.poll(async () => (await fetch(`${stack.url}/readyz`)).status, { timeout: 15_000 }).toBe(200);
  }

  /** Sends a creation as its owner signed it. */
  const create = (request: ReturnType<typeof creation>) => http('/v1/wallets', 'POST', creationJson(request));

  return { create, http, enablingBody, documentFor, openWallet, sign, ready };
}

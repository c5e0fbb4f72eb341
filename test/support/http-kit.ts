/** A user's side of the HTTP API, in raw requests, so that tests can send what no SDK would. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import type { Transaction } from '@solana/web3.js';
import { expect } from 'vitest';
import type { Stack } from '../stack/stack.ts';
import { creationJson, enablingJson, signingRequest } from './http-requests.ts';
import { creation, type Party, party, policyDocument, transfer } from './wallet-kit.ts';

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
    return enablingJson({ deployment: stack.deployment, document, signer, previous });
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
    const transaction = options.transaction ?? transfer(own.address, own.destination, options.lamports ?? 1_000n);
    const { body, headers } = signingRequest({
      deployment: stack.deployment,
      wallet: own.address,
      transaction,
      signer: options.signer ?? own.requester,
      id,
      timestamp: options.timestamp,
      body: options.body,
    });
    return fetch(`${stack.url}/v1/sign`, {
      method: 'POST',
      headers: { ...headers, ...options.headers },
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

/** What the demo, `npm start` and its example do with a running stack, in terms of the client SDK. */

import { type Client, createClient } from '@quantumvault/host/client/client.ts';
import type { PcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import type { Address } from '@quantumvault/shared/brands.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { PublicKey, SystemProgram, Transaction } from '@solana/web3.js';
import type { Stack } from './stack.ts';

export const LAMPORTS_PER_SOL = 1_000_000_000n;
export const LIMIT_LAMPORTS = 50_000_000n;

/** Lamports as people read them, exactly. */
export function sol(lamports: bigint): string {
  const fraction = (lamports % LAMPORTS_PER_SOL).toString().padStart(9, '0').replace(/0+$/, '');
  return `${lamports / LAMPORTS_PER_SOL}${fraction === '' ? '' : `.${fraction}`} SOL`;
}

/** PCR0-2 in the form that nitro-cli prints. */
export function measurements(pcrs: Stack['pcrs']): Readonly<Record<string, string>> {
  const named = [0, 1, 2].map((index) => [`PCR${index}`, pcrs[index] ?? ''] as const);
  return { HashAlgorithm: 'Sha384 { ... }', ...Object.fromEntries(named) };
}

export function pcrSetOf(pcrs: Stack['pcrs']): PcrSet {
  return { name: 'local-stack', pcrs: new Map([0, 1, 2].map((index) => [index, fromHex(pcrs[index] ?? '')])) };
}

/** Believes the simulated module's root and the image that this stack measured, nothing else. */
export function clientOf(stack: Stack): Client {
  const { url, deployment, kmsKeyArn, nsmRootDer, pcrs } = stack;
  return createClient({
    url,
    deployment,
    trust: { pcrSets: [pcrSetOf(pcrs)], kmsKeyArn, unsafeTrustedRootDer: nsmRootDer },
  });
}

export interface Parties {
  readonly wallet: Address;
  readonly owner: Address;
  readonly requester: Address;
  readonly destination: Address;
}

/** Up to LIMIT_LAMPORTS per transaction, to one destination, for a month. */
export function firstPolicy({ wallet, owner, requester, destination }: Parties, nowMs: number) {
  const time = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
  return {
    version: 1,
    wallet,
    owner,
    epoch: 1,
    validFrom: time(nowMs - 60_000),
    validUntil: time(nowMs + 30 * 24 * 3600_000),
    requesters: [requester],
    transaction: { versions: ['legacy', '0'], lookupTables: {}, durableNonce: false, maxInstructions: 4 },
    fees: { maxLamports: '100000' },
    sol: { maxPerTransaction: String(LIMIT_LAMPORTS), destinations: [destination] },
    tokens: [],
    programs: [],
  };
}

export interface Transfer {
  readonly transaction: Transaction;
  /** Serialized with an empty signature slot. */
  readonly wire: Uint8Array;
}

/** A System transfer as trading backends build it. Offline, so the blockhash is random instead of recent. */
export function transfer(from: Address, to: Address, lamports: bigint): Transfer {
  const fromPubkey = new PublicKey(from);
  const recentBlockhash = new PublicKey(crypto.getRandomValues(new Uint8Array(32))).toBase58();
  const transaction = new Transaction({ feePayer: fromPubkey, recentBlockhash }).add(
    SystemProgram.transfer({ fromPubkey, toPubkey: new PublicKey(to), lamports }),
  );
  return { transaction, wire: Uint8Array.from(transaction.serialize({ requireAllSignatures: false })) };
}

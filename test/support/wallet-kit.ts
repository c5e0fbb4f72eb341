/** Owners, requesters, statements and requests for tests: everything a user would sign, signed by throwaway keys. */
import {
  type Address,
  addressOf,
  type RequestId,
  signature,
  type TimeMs,
  timeMs,
} from '@quantumvault/shared/brands.ts';
import { toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { renderCreationStatement, renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import type { EnabledPolicy, WalletBlobs } from '@quantumvault/shared/protocol/message-parts.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import { PublicKey, SystemProgram, Transaction } from '@solana/web3.js';
import nacl from 'tweetnacl';

export interface Party {
  readonly address: Address;
  sign(message: Uint8Array): ReturnType<typeof signature>;
}

export function party(): Party {
  const pair = nacl.sign.keyPair();
  return {
    address: addressOf(pair.publicKey),
    sign: (message) => signature(nacl.sign.detached(message, pair.secretKey)),
  };
}

/** Whole seconds from now on, as statements print them. */
export function secondsFromNow(seconds: number): TimeMs {
  return timeMs((Math.floor(Date.now() / 1000) + seconds) * 1000);
}

export function creation(
  deployment: string,
  owner: Party,
  requesters: readonly Party[],
  change: Partial<RequestOf<'walletCreate'>> = {},
): RequestOf<'walletCreate'> {
  const facts = {
    deployment,
    owner: owner.address,
    nonce: crypto.getRandomValues(new Uint8Array(16)),
    requesters: requesters.map(({ address }) => address),
    createBefore: secondsFromNow(600),
    ...change,
  };
  const statement = renderCreationStatement({ ...facts, createBeforeMs: facts.createBefore });
  return { ...facts, signature: change.signature ?? owner.sign(utf8(statement)) };
}

export interface PolicyFacts {
  readonly wallet: Address;
  readonly owner: Address;
  readonly requesters: readonly Address[];
  readonly destinations: readonly Address[];
  readonly epoch?: number;
  readonly maxLamports?: string;
}

/** A policy document as an owner would write it. */
export function policyDocument(facts: PolicyFacts): Record<string, unknown> {
  return {
    version: 1,
    wallet: facts.wallet,
    owner: facts.owner,
    epoch: facts.epoch ?? 1,
    validFrom: '2026-01-01T00:00:00Z',
    validUntil: '2036-01-01T00:00:00Z',
    requesters: [...facts.requesters],
    transaction: { versions: ['legacy', '0'], lookupTables: {}, durableNonce: false, maxInstructions: 8 },
    fees: { maxLamports: '100000' },
    sol: { maxPerTransaction: facts.maxLamports ?? '1000000', destinations: [...facts.destinations] },
    tokens: [],
    programs: [],
  };
}

export interface EnableFacts {
  readonly deployment: string;
  readonly document: Record<string, unknown>;
  readonly previous?: Uint8Array;
  readonly enableBefore?: TimeMs;
}

export function enabling(owner: Party, blobs: WalletBlobs, facts: EnableFacts): RequestOf<'policyEnable'> {
  const policy = parsePolicy(facts.document);
  const bytes = policyBytes(policy);
  const enableBefore = facts.enableBefore ?? secondsFromNow(600);
  const previousHash = facts.previous === undefined ? undefined : policyHash(facts.previous);
  const statement = renderPolicyStatement({
    policy,
    policyHash: policyHash(bytes),
    deployment: facts.deployment,
    previousHash,
    enableBeforeMs: enableBefore,
  });
  return {
    policy: bytes,
    enableBefore,
    signature: owner.sign(utf8(statement)),
    blobs,
    ...(previousHash && { previousHash }),
  };
}

/** A legacy transfer with an empty signature slot, in wire form. */
export function transfer(wallet: Address, destination: Address, lamports: bigint | number): Transaction {
  return new Transaction({
    feePayer: new PublicKey(wallet),
    recentBlockhash: new PublicKey(nacl.randomBytes(32)).toBase58(),
  }).add(
    SystemProgram.transfer({
      fromPubkey: new PublicKey(wallet),
      toPubkey: new PublicKey(destination),
      lamports: BigInt(lamports),
    }),
  );
}

export const TOKEN_PROGRAM = 'TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA';
const ASSOCIATED_TOKEN_PROGRAM = 'ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL';

/** TransferChecked between the associated accounts of two owners, derived by web3.js; six decimals. */
export function tokenTransfer(from: Address, to: Address, mint: Address, amount: bigint): Transaction {
  const key = (text: string) => new PublicKey(text);
  const account = (owner: Address) =>
    PublicKey.findProgramAddressSync(
      [key(owner).toBytes(), key(TOKEN_PROGRAM).toBytes(), key(mint).toBytes()],
      key(ASSOCIATED_TOKEN_PROGRAM),
    )[0];
  const data = Buffer.alloc(10);
  data[0] = 12;
  data.writeBigUInt64LE(amount, 1);
  data[9] = 6;
  const keys = [
    { pubkey: account(from), isSigner: false, isWritable: true },
    { pubkey: key(mint), isSigner: false, isWritable: false },
    { pubkey: account(to), isSigner: false, isWritable: true },
    { pubkey: key(from), isSigner: true, isWritable: false },
  ];
  const recentBlockhash = key(party().address).toBase58();
  return new Transaction({ feePayer: key(from), recentBlockhash }).add({ programId: key(TOKEN_PROGRAM), keys, data });
}

export const wireOf = (transaction: Transaction): Uint8Array =>
  new Uint8Array(transaction.serialize({ requireAllSignatures: false, verifySignatures: false }));

export interface RequestFacts {
  readonly deployment: string;
  readonly wallet: Address;
  readonly transaction: Transaction;
  readonly policy: EnabledPolicy;
  readonly blobs: WalletBlobs;
  readonly id?: string;
  /** Seconds since 1970. */
  readonly timestamp?: number;
  /** Further or changed members of the signed body. */
  readonly body?: Record<string, unknown>;
}

let counter = 0;

function signedRequest(requester: Party, facts: Omit<RequestFacts, 'transaction'>, members: Record<string, unknown>) {
  const id = facts.id ?? `request-${process.pid}-${counter++}`;
  const timestamp = String(facts.timestamp ?? Math.floor(Date.now() / 1000));
  const body = utf8(JSON.stringify({ audience: facts.deployment, wallet: facts.wallet, ...members, ...facts.body }));
  return {
    id: id as RequestId,
    timestamp,
    body,
    signature: requester.sign(signedContent(id, timestamp, body)),
    policy: facts.policy,
  };
}

export function signing(requester: Party, facts: RequestFacts): RequestOf<'sign'> {
  const members = { purpose: 'qv/sign/v1', transaction: toBase64(wireOf(facts.transaction)) };
  return { ...signedRequest(requester, facts, members), blobs: facts.blobs };
}

export interface BatchFacts extends Omit<RequestFacts, 'transaction'> {
  readonly transactions: readonly Transaction[];
}

export function batchSigning(requester: Party, facts: BatchFacts): RequestOf<'signBatch'> {
  const transactions = facts.transactions.map((transaction) => toBase64(wireOf(transaction)));
  const { salt, executionKey, sealedSeed } = facts.blobs;
  const request = signedRequest(requester, facts, { purpose: 'qv/sign-batch/v1', transactions });
  return { ...request, blobs: { salt, executionKey, sealedSeed } };
}

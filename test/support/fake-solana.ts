/**
 * A Solana RPC endpoint for tests: it keeps accounts, reads what it is sent with @solana/web3.js, verifies signatures
 * and blockhashes, and does what the System, Token and Associated Token programs would do, all or nothing. Time passes
 * when somebody asks for statuses: one block each. It can fail, hang, drop and lie.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { type Address, addressOf } from '@quantumvault/shared/brands.ts';
import { Transaction } from '@solana/web3.js';
import nacl from 'tweetnacl';
import {
  type Account,
  ataOf,
  mintBytes,
  move,
  need,
  priorityOf,
  Refused,
  run,
  SYSTEM,
  TOKEN,
  TOKEN_RENT,
  type TokenFacts,
  tokenBytes,
  WALLET_RENT,
  WRAPPED,
} from './solana-ledger.ts';

const BLOCKS_VALID = 150;

type Reply = { readonly result: unknown } | { readonly error: { readonly code: number; readonly message: string } };

export class FakeSolana {
  accounts = new Map<string, Account>([[WRAPPED, { lamports: 1_461_600n, owner: TOKEN, data: mintBytes(9) }]]);
  /** Methods in the order in which they were called. */
  readonly calls: string[] = [];
  /** Signatures that are in a block. */
  readonly landed: string[] = [];
  height = 1_000;
  /** Runs before an answer: may wait, throw (the connection breaks), or answer in its place. */
  before: (method: string, params: readonly unknown[]) => Promise<Reply | undefined> | Reply | undefined = () =>
    undefined;
  /** Runs behind it, with what is about to be answered. */
  after: (method: string, reply: Reply, params: readonly unknown[]) => Promise<unknown> | unknown = (_, reply) => reply;
  /** False: taken in, and never in a block. */
  lands: (transaction: Transaction) => boolean = () => true;
  /** What fails is in a block all the same, and says so there. */
  isPreflighting = true;
  /** Blocks until one is final. */
  finality = 2;

  readonly #statuses = new Map<string, { readonly err: unknown; readonly height: number }>();
  readonly #blockhashes = new Map<string, number>();
  #server: Server | undefined;
  url = '';

  async start(): Promise<this> {
    const server = createServer(async (request, response) => {
      try {
        const { id, method, params } = JSON.parse(await text(request)) as {
          id: number;
          method: string;
          params: readonly unknown[];
        };
        this.calls.push(method);
        const reply = (await this.before(method, params)) ?? this.#answer(method, params);
        const answer = await this.after(method, reply, params);
        const body =
          typeof answer === 'string' ? answer : JSON.stringify({ jsonrpc: '2.0', id, ...(answer as object) });
        response.setHeader('content-type', 'application/json').end(body);
      } catch {
        response.destroy();
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/?api-key=very-private`;
    return this;
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  /** As it was, for the next test. */
  calm(): void {
    this.before = () => undefined;
    this.after = (_, reply) => reply;
    this.lands = () => true;
    this.isPreflighting = true;
    this.calls.length = 0;
  }

  give(wallet: string, lamports: bigint): void {
    const { lamports: before = 0n, owner = SYSTEM, data = new Uint8Array() } = this.accounts.get(wallet) ?? {};
    this.accounts.set(wallet, { lamports: before + lamports, owner, data });
  }

  lamports(wallet: string): bigint {
    return this.accounts.get(wallet)?.lamports ?? 0n;
  }

  mint(decimals = 6, program: Address = TOKEN, extensions?: readonly number[]): Address {
    const mint = addressOf(nacl.randomBytes(32));
    this.accounts.set(mint, { lamports: 1_461_600n, owner: program, data: mintBytes(decimals, extensions) });
    return mint;
  }

  /** @param at default: the associated account */
  token(facts: TokenFacts, at = ataOf(facts.owner, facts.mint, facts.program ?? TOKEN)): Address {
    const lamports = TOKEN_RENT + (facts.isNative === true ? facts.units : 0n);
    this.accounts.set(at, { lamports, owner: facts.program ?? TOKEN, data: tokenBytes(facts) });
    return at;
  }

  units(owner: Address, mint: Address, program: Address = TOKEN): bigint {
    const account = this.accounts.get(ataOf(owner, mint, program));
    return account === undefined ? 0n : Buffer.from(account.data).readBigUInt64LE(64);
  }

  #answer(method: string, params: readonly unknown[]): Reply {
    const inContext = (value: unknown): Reply => ({ result: { context: { slot: this.height }, value } });
    switch (method) {
      case 'getBalance':
        return inContext(Number(this.lamports(String(params[0]))));
      case 'getMultipleAccounts':
        return inContext((params[0] as readonly string[]).map((key) => this.#shown(key)));
      case 'getTokenAccountsByOwner': {
        const [owner, { programId }] = params as [string, { programId: string }];
        const own = [...this.accounts].filter(
          ([, account]) => account.owner === programId && toBase58(account.data.subarray(32, 64)) === owner,
        );
        const tokens = own.filter(([, { data }]) => data.length === 165 || data[165] === 2);
        return inContext(tokens.map(([pubkey]) => ({ pubkey, account: this.#shown(pubkey) })));
      }
      case 'getLatestBlockhash': {
        const blockhash = toBase58(nacl.randomBytes(32));
        this.#blockhashes.set(blockhash, this.height + BLOCKS_VALID);
        return inContext({ blockhash, lastValidBlockHeight: this.height + BLOCKS_VALID });
      }
      case 'getBlockHeight':
        return { result: this.height };
      case 'sendTransaction':
        return this.#send(Buffer.from(String(params[0]), 'base64'));
      case 'getSignatureStatuses':
        this.height++;
        return inContext((params[0] as readonly string[]).map((key) => this.#status(key)));
      default:
        return { error: { code: -32601, message: 'Method not found' } };
    }
  }

  #shown(key: string) {
    const account = this.accounts.get(key);
    if (account === undefined) return null;
    const { lamports, owner, data, executable = false } = account;
    return {
      lamports: Number(lamports),
      owner,
      data: [Buffer.from(data).toString('base64'), 'base64'],
      executable,
      rentEpoch: 2 ** 64,
      space: data.length,
    };
  }

  #status(signature: string) {
    const status = this.#statuses.get(signature);
    if (status === undefined) return null;
    const depth = this.height - status.height;
    const confirmationStatus = depth >= this.finality ? 'finalized' : depth > 0 ? 'confirmed' : 'processed';
    return { slot: status.height, confirmations: depth, err: status.err, confirmationStatus, status: { Ok: null } };
  }

  #send(wire: Uint8Array): Reply {
    const refuse = (message: string): Reply => ({
      error: { code: -32002, message: `Transaction simulation failed: ${message}` },
    });
    const transaction = Transaction.from(wire);
    if (!transaction.verifySignatures())
      return { error: { code: -32003, message: 'Transaction signature verification failure' } };
    const signature = toBase58(transaction.signature ?? new Uint8Array(64));
    if (this.#statuses.has(signature)) return refuse('This transaction has already been processed');
    if ((this.#blockhashes.get(transaction.recentBlockhash ?? '') ?? 0) < this.height)
      return refuse('Blockhash not found');
    const { after, err } = this.#run(transaction);
    if (err !== undefined && (this.isPreflighting || after === undefined)) return refuse(err);
    if (after === undefined || !this.lands(transaction)) return { result: signature };
    this.accounts = after;
    this.#statuses.set(signature, {
      err: err === undefined ? null : { InstructionError: [0, err] },
      height: this.height,
    });
    this.landed.push(signature);
    return { result: signature };
  }

  /** The accounts behind it; of a transaction that fails, with the fee alone; undefined when not even that is there. */
  #run(transaction: Transaction): { readonly after?: Map<string, Account>; readonly err?: string } {
    const payer = transaction.feePayer?.toBase58() ?? '';
    const before = new Map(this.accounts);
    const charged = new Map(before);
    const fee = 5_000n * BigInt(transaction.signatures.length) + priorityOf(transaction);
    if (this.lamports(payer) < fee) return { err: 'InsufficientFundsForFee' };
    move(charged, payer, undefined, fee);
    const after = new Map(charged);
    try {
      for (const instruction of transaction.instructions) run(after, instruction);
      for (const [key, { lamports, owner }] of after)
        need(
          owner !== SYSTEM || lamports >= WALLET_RENT || lamports === before.get(key)?.lamports,
          `InsufficientFundsForRent ${key}`,
        );
      return { after };
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return { after: charged, err: error.message };
    }
  }
}

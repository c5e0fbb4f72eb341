/** `qv wallet sweep` between an endpoint and a host that drop, delay and lie. */
import { rpcTo } from '@quantumvault/host/cli/sweep/rpc.ts';
import { sweep } from '@quantumvault/host/cli/sweep/sweep.ts';
import { signingWallet } from '@quantumvault/host/cli/sweep/wallet-facts.ts';
import { createClient, ownerFromSigner } from '@quantumvault/host/client/client.ts';
import { fromBase58, toBase58 } from '@quantumvault/shared/base58.ts';
import { type Address, addressBytes } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { pcrSetOf } from '../stack/scenario.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { expectCode } from '../support/codes.ts';
import { FakeSolana } from '../support/fake-solana.ts';
import { TOKEN, TOKEN_RENT, tokenBytes } from '../support/solana-ledger.ts';
import { type SweepKit, sweepKit } from '../support/sweep-kit.ts';
import { expectAudited } from './succession-kit.ts';

const SOL = 1_000_000_000n;
const FEE = 5_000n;

let stack: Stack;
let solana: FakeSolana;
let kit: SweepKit;

beforeAll(async () => {
  solana = await new FakeSolana().start();
  stack = await startStack({ witnesses: 'none' });
  kit = sweepKit(stack, solana);
}, 120_000);
afterAll(async () => {
  await stack?.stop();
  await solana?.stop();
});
beforeEach(() => solana.calm());

describe('an endpoint that drops, delays and lies', () => {
  it('drops transactions: they are signed anew over later blockhashes, and move everything once', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, SOL);
    const mint = solana.mint();
    solana.token({ mint, owner: wallet.address, units: 6n });
    let dropped = 0;
    const seen = new Set<string>();
    solana.lands = ({ recentBlockhash = '' }) => {
      seen.add(recentBlockhash);
      // The first blockhash of the tokens, and the first of the SOL.
      const isDropped = seen.size === 1 || seen.size === 3;
      if (isDropped) dropped++;
      // The chain goes on without it.
      if (isDropped) solana.height += 60;
      return !isDropped;
    };
    const before = solana.landed.length;
    expect(await kit.sweep(wallet)).toMatchObject({ ok: true, left: [] });
    expect(dropped).toBeGreaterThan(2);
    expect(solana.landed.length - before).toBe(2);
    expect(solana.units(wallet.destination, mint)).toBe(6n);
    await expectAudited(kit.operators);
  }, 60_000);

  it('takes nothing into a block: SOL stays to pay for another call', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, SOL);
    const mint = solana.mint();
    solana.token({ mint, owner: wallet.address, units: 6n });
    solana.lands = () => {
      solana.height += 60;
      return false;
    };
    const answer = await kit.sweep(wallet, '--retire');
    expect(answer).toMatchObject({
      ok: false,
      moved: [],
      retiredAt: null,
      left: [
        { what: 'sol', amount: String(SOL), reason: 'kept' },
        { what: 'token', mint, reason: 'expired' },
      ],
    });
    expect((answer['statements'] as string[]).length).toBe(1);
    solana.calm();
    expect(await kit.sweep(wallet)).toMatchObject({ ok: true, left: [] });
    expect(solana.units(wallet.destination, mint)).toBe(6n);
    await expectAudited(kit.operators);
  }, 60_000);

  it('says that there is more than there is: nothing is lost, and it ends', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, SOL);
    solana.after = (method, reply) =>
      method === 'getBalance' ? { result: { context: { slot: 1 }, value: Number(5n * SOL) } } : reply;
    const answer = await kit.sweep(wallet);
    expect(answer).toMatchObject({ ok: false, moved: [], left: [{ what: 'sol', reason: 'failed' }] });
    expect((answer['statements'] as string[]).length).toBe(1);
    expect(solana.lamports(wallet.address)).toBe(SOL);
  });

  it('goes on showing what has gone: the owner is not asked again and again', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, SOL);
    const mint = solana.mint();
    const account = solana.token({ mint, owner: wallet.address, units: 6n });
    let shown: unknown;
    solana.after = (method, reply, params) => {
      if (method !== 'getTokenAccountsByOwner' || !JSON.stringify(params).includes(TOKEN)) return reply;
      if (JSON.stringify(reply).includes(account)) shown = reply;
      return shown ?? reply;
    };
    const answer = await kit.sweep(wallet);
    expect(answer).toMatchObject({ ok: false });
    expect((answer['statements'] as string[]).length).toBeLessThanOrEqual(2);
    expect(solana.units(wallet.destination, mint)).toBe(6n);
  });

  it('takes another transaction for ours, or breaks off: it ends with a code, and another call goes on', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, SOL);
    solana.before = (method) => (method === 'sendTransaction' ? { result: '1'.repeat(64) } : undefined);
    expect(await kit.sweep(wallet)).toMatchObject({ exit: 1, error: { code: 'rpc_response_invalid' } });
    solana.calm();
    solana.before = (method) =>
      method === 'getLatestBlockhash' ? { error: { code: -32601, message: 'no' } } : undefined;
    expect(await kit.sweep(wallet)).toMatchObject({
      exit: 1,
      error: { code: 'rpc_refused', path: 'getLatestBlockhash', value: '-32601 no' },
    });
    solana.before = () => {
      throw new Error('broken off');
    };
    expect(await kit.sweep(wallet)).toMatchObject({ exit: 4, error: { code: 'rpc_unavailable', path: 'getBalance' } });
    solana.calm();
    expect(await kit.sweep(wallet)).toMatchObject({ ok: true, left: [] });
    expect(solana.lamports(wallet.destination)).toBe(SOL - FEE);
  }, 60_000);

  it('is sent more SOL meanwhile: the owner is asked for that, too', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, SOL);
    let asked = 0;
    solana.before = (method) => {
      // The second look at the balance is the one before the transfer.
      if (method === 'getBalance' && ++asked === 2) solana.give(wallet.address, 1n);
      return undefined;
    };
    const answer = await kit.sweep(wallet);
    expect(answer).toMatchObject({ ok: true, left: [], moved: [{ amount: String(SOL + 1n - FEE) }] });
    expect((answer['statements'] as string[]).length).toBe(2);
  });
});

describe('token accounts of which one does not close', () => {
  it('keep the SOL until the others are closed one by one', async () => {
    const wallet = await kit.openWallet();
    const { address, destination } = wallet;
    solana.give(address, SOL);
    const [stuck = address, ...others] = [1, 2, 3].map(() =>
      solana.token({ mint: solana.mint(), owner: address, units: 0n }),
    );
    // What fails is in a block, and paid for.
    solana.isPreflighting = false;
    const mint = toBase58(solana.accounts.get(stuck)?.data.subarray(0, 32) ?? new Uint8Array()) as Address;
    const shown = (units: bigint): string =>
      Buffer.from(tokenBytes({ mint, owner: address, units })).toString('base64');
    // On chain there is something in it, whatever the endpoint says.
    solana.after = (method, reply) =>
      method === 'getTokenAccountsByOwner' && 'result' in reply
        ? { result: JSON.parse(JSON.stringify(reply.result).replace(shown(5n), shown(0n))) }
        : reply;
    solana.token({ mint, owner: address, units: 5n }, stuck);
    const answer = await kit.sweep(wallet);
    expect(answer).toMatchObject({ ok: false, left: [{ what: 'rent', account: stuck, reason: 'failed' }] });
    expect((answer['statements'] as string[]).length).toBe(2);
    expect(others.some((account) => solana.accounts.has(account))).toBe(false);
    expect(solana.accounts.has(address)).toBe(false);
    // The transaction of all three, and the one of the first by itself, cost their fees on chain.
    expect(solana.lamports(destination)).toBe(SOL + 2n * TOKEN_RENT - 5n * FEE);
  }, 60_000);
});

describe('a wallet with very many token accounts', () => {
  it('is swept in several statements, and one account that does not close keeps no other', async () => {
    const wallet = await kit.openWallet();
    const { address, destination } = wallet;
    solana.give(address, SOL);
    const mints = Array.from({ length: 5 }, () => solana.mint());
    for (const mint of mints) solana.token({ mint, owner: address, units: 3n });
    const empties = Array.from({ length: 160 }, () => solana.token({ mint: solana.mint(), owner: address, units: 0n }));
    const [stuck = address] = empties.slice(70);
    solana.before = (method, params) => {
      const isStuck =
        method === 'sendTransaction' &&
        Buffer.from(String(params[0]), 'base64').includes(Buffer.from(addressBytes(stuck)));
      return isStuck ? { error: { code: -32002, message: 'Transaction simulation failed: custom 0x1' } } : undefined;
    };
    const answer = await kit.sweep(wallet);
    expect(answer).toMatchObject({
      ok: false,
      left: [{ what: 'rent', account: stuck, reason: 'failed', value: expect.stringContaining('custom 0x1') }],
    });
    expect((answer['statements'] as string[]).length).toBeGreaterThan(2);
    expect(empties.filter((account) => solana.accounts.has(account))).toEqual([stuck]);
    for (const mint of mints) expect(solana.units(destination, mint)).toBe(3n);
    expect(solana.accounts.has(address)).toBe(false);
    await expectAudited(kit.operators);
  }, 120_000);
});

type Members = Record<string, unknown>;

/** Through a host that changes its answers under this path. */
async function sweepVia(ending: string, change: (body: Members) => Members, tokens: number): Promise<unknown> {
  const { address: wallet, destination } = await kit.openWallet();
  solana.give(wallet, SOL);
  for (let index = 0; index < tokens; index++) solana.token({ mint: solana.mint(), owner: wallet, units: 1n });
  const lying: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (!new URL(String(input)).pathname.endsWith(ending) || !response.ok) return response;
    return new Response(JSON.stringify(change((await response.json()) as Members)), { status: response.status });
  };
  const client = createClient({
    url: stack.url,
    deployment: stack.deployment,
    trust: { pcrSets: [pcrSetOf(stack.pcrs)], unsafeTrustedRootDer: stack.nsmRootDer },
    fetch: lying,
  });
  return await sweep({
    client,
    deployment: stack.deployment,
    rpc: rpcTo(solana.url),
    others: [],
    destination,
    facts: await signingWallet(stack.url, wallet),
    priorityLamports: 0n,
    asOwner: async (use) => ({ result: await use(ownerFromSigner(kit.owner)), statement: '' }),
    confirm: async () => undefined,
    note: () => undefined,
  });
}

const flipped = (bytes: Uint8Array): Uint8Array =>
  bytes.map((byte, index) => (index === bytes.length - 1 ? byte ^ 1 : byte));
const inReceipt = (body: Members): Members => {
  const receipt = body['receipt'] as Members;
  return { ...body, receipt: { ...receipt, leaf: toBase64(flipped(fromBase64(String(receipt['leaf'])))) } };
};

describe('a host that lies', () => {
  it.each<[string, string, number, (body: Members) => Members, ErrorCode]>([
    ['another policy', '/policy', 0, (body) => ({ ...body, policyHash: '00'.repeat(32) }), 'evidence_mismatch'],
    ['a receipt of the policy', '/policy', 0, inReceipt, 'evidence_signature_invalid'],
    ['a receipt', '/v1/sign', 0, inReceipt, 'evidence_signature_invalid'],
    [
      'a signature',
      '/v1/sign',
      0,
      (body) => ({ ...body, signature: toBase58(flipped(fromBase58(String(body['signature']), 64))) }),
      'evidence_signature_invalid',
    ],
    [
      'the second receipt of two',
      '/v1/sign/batch',
      2,
      (body) => ({ signed: (body['signed'] as Members[]).map((one, index) => (index === 1 ? inReceipt(one) : one)) }),
      'evidence_signature_invalid',
    ],
  ])('about %s is found out, and nothing is sent', async (_, ending, tokens, change, code) => {
    await expectCode(sweepVia(ending, change, tokens), code);
    expect(solana.calls).not.toContain('sendTransaction');
  });
});

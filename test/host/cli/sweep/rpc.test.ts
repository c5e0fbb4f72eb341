/** What a Solana RPC endpoint may answer, and what comes of whatever else it answers. */
import { lookAt, recentBlockhash } from '@quantumvault/host/cli/sweep/found.ts';
import { rpcTo } from '@quantumvault/host/cli/sweep/rpc.ts';
import { sendAll } from '@quantumvault/host/cli/sweep/send.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import nacl from 'tweetnacl';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode } from '../../../support/codes.ts';
import { FakeSolana } from '../../../support/fake-solana.ts';
import { ataOf, mintBytes, TOKEN_2022, tokenBytes, WRAPPED } from '../../../support/solana-ledger.ts';
import { party } from '../../../support/wallet-kit.ts';

const [wallet, destination, stranger] = [party().address, party().address, party().address];

let solana: FakeSolana;
beforeEach(async () => {
  solana = await new FakeSolana().start();
});
afterEach(() => solana.stop());

const look = () => lookAt(rpcTo(solana.url), wallet, destination);

/** Changes the result of one method. */
function lie(method: string, change: (result: never) => unknown): void {
  solana.after = (asked, reply) =>
    asked === method && 'result' in reply ? { result: change(reply.result as never) } : reply;
}

interface Shown {
  value: { pubkey: string; account: Record<string, unknown> }[];
}
const account = (change: Record<string, unknown>) => (result: Shown) => ({
  ...result,
  value: result.value.map((one) => ({ ...one, account: { ...one.account, ...change } })),
});
const encoded = (bytes: Uint8Array): Record<string, unknown> => ({
  data: [Buffer.from(bytes).toString('base64'), 'base64'],
});

describe('what is there', () => {
  it('is read whole, with what keeps it from moving', async () => {
    const [plain, fees, memo] = [solana.mint(6), solana.mint(2, TOKEN_2022, [1]), solana.mint(0, TOKEN_2022, [])];
    solana.give(wallet, 7n);
    const first = solana.token({ mint: plain, owner: wallet, units: 2n ** 64n - 1n });
    solana.token({ mint: fees, owner: wallet, units: 1n, program: TOKEN_2022, extensions: [2, 7] });
    solana.token({
      mint: memo,
      owner: wallet,
      units: 1n,
      program: TOKEN_2022,
      extensions: [],
      closeAuthority: stranger,
    });
    solana.token({ mint: memo, owner: destination, units: 0n, program: TOKEN_2022, extensions: [8] });
    solana.token({ mint: WRAPPED, owner: wallet, units: 5n, isNative: true, isFrozen: true });
    // Lamports alone are no token account.
    solana.give(ataOf(destination, plain), 1_000_000n);
    const found = await look();
    expect(found).toMatchObject({ wallet, destination, lamports: 7n, destinationExists: false });
    expect(found.tokens.map(({ mint, receiver }) => [mint, receiver])).toEqual([
      [plain, 'missing'],
      [WRAPPED, 'missing'],
      [fees, 'missing'],
      [memo, 'extension'],
    ]);
    expect(found.tokens[0]).toMatchObject({ account: first, units: 2n ** 64n - 1n, decimals: 6, isClosable: true });
    expect(found.tokens[1]).toMatchObject({ isNative: true, isFrozen: true });
    expect(found.tokens[2]).toMatchObject({ extensions: [2, 7], mintExtensions: [1], decimals: 2 });
    expect(found.tokens[3]).toMatchObject({ isClosable: false });
  });

  it('is asked for in parts of a hundred', async () => {
    solana.give(wallet, 7n);
    for (let index = 0; index < 205; index++) solana.token({ mint: solana.mint(), owner: wallet, units: 1n });
    expect((await look()).tokens.length).toBe(205);
    expect(solana.calls.filter((method) => method === 'getMultipleAccounts').length).toBe(1 + 3 + 3);
  });

  it('has to be a wallet where everything is to go', async () => {
    const token = solana.token({ mint: solana.mint(), owner: stranger, units: 1n });
    await expectCode(lookAt(rpcTo(solana.url), wallet, token), 'usage_invalid');
  });
});

describe('an answer of another form', () => {
  beforeEach(() => {
    solana.give(wallet, 7n);
    solana.token({ mint: solana.mint(), owner: wallet, units: 5n });
  });

  const own = (change: Partial<Parameters<typeof tokenBytes>[0]>): Uint8Array =>
    tokenBytes({ mint: stranger, owner: wallet, units: 5n, ...change });
  const at = (index: number, value: number, bytes = own({})): Uint8Array => {
    const changed = Uint8Array.from(bytes);
    changed[index] = value;
    return changed;
  };

  it.each<[string, string, (result: never) => unknown]>([
    ['a balance that is text', 'getBalance', () => ({ value: '7' })],
    ['a negative balance', 'getBalance', () => ({ value: -1 })],
    ['a balance beyond what JSON can say', 'getBalance', () => ({ value: 2 ** 60 })],
    ['no object', 'getBalance', () => 7],
    ['accounts that are no list', 'getTokenAccountsByOwner', () => ({ value: {} })],
    ['an account of somebody else', 'getTokenAccountsByOwner', account(encoded(own({ owner: stranger })))],
    ['an account of another program', 'getTokenAccountsByOwner', account({ owner: stranger })],
    ['data in another encoding', 'getTokenAccountsByOwner', account({ data: ['', 'base58'] })],
    ['data that is no base64', 'getTokenAccountsByOwner', account({ data: ['?', 'base64'] })],
    ['data that ends too early', 'getTokenAccountsByOwner', account(encoded(own({}).subarray(0, 164)))],
    ['data that goes on', 'getTokenAccountsByOwner', account(encoded(Uint8Array.from([...own({}), 0])))],
    ['an account that is not initialised', 'getTokenAccountsByOwner', account(encoded(at(108, 0)))],
    ['an option of neither kind', 'getTokenAccountsByOwner', account(encoded(at(72, 2)))],
    [
      'one account twice',
      'getTokenAccountsByOwner',
      (result: Shown) => ({ ...result, value: [...result.value, ...result.value] }),
    ],
    [
      'more accounts than anybody has',
      'getTokenAccountsByOwner',
      () => ({ value: Array.from({ length: LIMITS.cliSweepAccounts + 1 }, () => 0) }),
    ],
    [
      'the wallet as its own token account',
      'getTokenAccountsByOwner',
      (result: Shown) => ({
        value: result.value.map((one) => ({ ...one, pubkey: wallet })),
      }),
    ],
    ['fewer accounts than were asked for', 'getMultipleAccounts', () => ({ value: [] })],
    [
      'a mint of another program',
      'getMultipleAccounts',
      (result: { value: (object | null)[] }) => ({
        value: result.value.map((one) => one && { ...one, owner: TOKEN_2022 }),
      }),
    ],
    [
      'a mint that is an account',
      'getMultipleAccounts',
      (result: { value: (object | null)[] }) => ({
        value: result.value.map((one) => one && { ...one, ...encoded(own({})) }),
      }),
    ],
  ])('%s', async (_, method, change) => {
    lie(method, change);
    await expectCode(look(), 'rpc_response_invalid');
  });

  it.each<[string, string]>([
    ['no JSON', 'x'],
    ['a key twice', '{"jsonrpc":"2.0","id":1,"id":1,"result":{"value":7}}'],
    ['another version', '{"jsonrpc":"1.0","id":1,"result":{"value":7}}'],
    ['the answer to another call', '{"jsonrpc":"2.0","id":0,"result":{"value":7}}'],
    ['an error without a code', '{"jsonrpc":"2.0","id":1,"error":{}}'],
    ['neither result nor error', '{"jsonrpc":"2.0","id":1}'],
    ['too much', ' '.repeat(LIMITS.cliRpcResponseBytes + 1)],
    ['too deep', '['.repeat(1_000)],
  ])('%s', async (_, body) => {
    solana.after = () => body;
    await expectCode(look(), 'rpc_response_invalid');
  });

  it('an extension twice, padding that is not empty, or another kind of account', async () => {
    const mint = solana.mint(6, TOKEN_2022, [3]);
    const good = tokenBytes({ mint, owner: wallet, units: 5n, extensions: [7] });
    solana.token({ mint, owner: wallet, units: 5n, program: TOKEN_2022, extensions: [7] });
    const show = (bytes: Uint8Array): void => {
      solana.after = (method, reply, params) => {
        if (method !== 'getTokenAccountsByOwner' || !JSON.stringify(params).includes(TOKEN_2022)) return reply;
        return { result: account(encoded(bytes))((reply as unknown as { result: Shown }).result) };
      };
    };
    show(good);
    expect((await look()).tokens.length).toBe(2);
    for (const bytes of [at(165, 1, good), tokenBytes({ mint, owner: wallet, units: 5n, extensions: [7, 7] })]) {
      show(bytes);
      await expectCode(look(), 'rpc_response_invalid');
    }
    const padded = mintBytes(6, [3]);
    padded[100] = 1;
    solana.after = (_, reply) => reply;
    solana.accounts.set(mint, { lamports: 1n, owner: TOKEN_2022, data: padded });
    await expectCode(look(), 'rpc_response_invalid');
  });
});

describe('an endpoint', () => {
  it.each(['ftp://rpc.example', 'http://rpc.example', 'nonsense'])('%s is not asked', async (url) => {
    const { facts } = await expectCode(() => rpcTo(url), 'usage_invalid');
    expect(facts.value).not.toContain('example');
  });

  it('that refuses says why, that is busy is asked again, and its API key stands nowhere', async () => {
    solana.before = () => ({ error: { code: -32010, message: 'not for you' } });
    const refused = await expectCode(look(), 'rpc_refused');
    expect(refused.facts).toEqual({ path: 'getBalance', value: '-32010 not for you' });
    solana.calm();
    let count = 0;
    solana.before = () => (++count < 3 ? { error: { code: -32005, message: 'behind' } } : undefined);
    await look();
    solana.calm();
    const { url } = solana;
    await solana.stop();
    const gone = await expectCode(recentBlockhash(rpcTo(url)), 'rpc_unavailable');
    expect(JSON.stringify([gone.facts, gone.message])).not.toContain('very-private');
    solana = await new FakeSolana().start();
  }, 60_000);

  it('that answers with a status, or leads elsewhere, is not followed', async () => {
    const answers = (status: number) => async () =>
      new Response('{}', { status, headers: { location: 'https://other.example' } });
    await expectCode(recentBlockhash(rpcTo('https://rpc.example', answers(403))), 'rpc_response_invalid');
    const seen: (string | undefined)[] = [];
    const spy: typeof fetch = async (_, init) => {
      seen.push(init?.redirect);
      return new Response('{}', { status: 403 });
    };
    await expectCode(recentBlockhash(rpcTo('https://rpc.example', spy)), 'rpc_response_invalid');
    expect(seen).toEqual(['error']);
  });

  it('gives a blockhash that is one', async () => {
    lie('getLatestBlockhash', () => ({ value: { blockhash: toBase58(new Uint8Array(32)), lastValidBlockHeight: 1 } }));
    await expectCode(recentBlockhash(rpcTo(solana.url)), 'rpc_response_invalid');
    lie('getLatestBlockhash', () => ({ value: { blockhash: 'short', lastValidBlockHeight: 1 } }));
    await expectCode(recentBlockhash(rpcTo(solana.url)), 'rpc_response_invalid');
  });

  it('that says too much or too little of what was sent is not believed', async () => {
    const signatureBase58 = toBase58(nacl.randomBytes(64));
    const sendable = { transaction: new Uint8Array(10), signatureBase58 };
    const sent = (statuses: unknown) => {
      solana.before = (method) => {
        if (method === 'sendTransaction') return { result: signatureBase58 };
        return method === 'getSignatureStatuses' ? { result: statuses } : undefined;
      };
      return sendAll(rpcTo(solana.url), [sendable], { blockhash: wallet, lastValidBlockHeight: 2_000 });
    };
    const status = { err: null, confirmationStatus: 'finalized' };
    expect(await sent({ value: [status] })).toEqual([{ kind: 'landed' }]);
    expect(await sent({ value: [{ ...status, err: { InstructionError: [0, 'Custom'] } }] })).toEqual([
      { kind: 'failed', why: '{"InstructionError":[0,"Custom"]}' },
    ]);
    for (const value of [[], [status, status], [{ confirmationStatus: 'finalized' }], ['x'], 7])
      await expectCode(sent({ value }), 'rpc_response_invalid');
    solana.height = 3_000;
    expect(await sent({ value: [null] })).toEqual([{ kind: 'expired' }]);
  });
});

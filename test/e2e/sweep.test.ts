/** `qv wallet sweep` over a whole appliance, and a Solana that does what it is sent. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type JsonAnswer, qvJson } from '../host/cli/call.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { FakeSolana } from '../support/fake-solana.ts';
import { ataOf, TOKEN_2022, TOKEN_RENT, WALLET_RENT, WRAPPED } from '../support/solana-ledger.ts';
import { type SweepKit, sweepKit } from '../support/sweep-kit.ts';
import { party } from '../support/wallet-kit.ts';
import { expectAudited, later } from './succession-kit.ts';

const SOL = 1_000_000_000n;
const FEE = 5_000n;
const QV = join(import.meta.dirname, '..', '..', 'host', 'src', 'cli', 'qv.ts');

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

type Listed = readonly Record<string, unknown>[];

describe('a sweep', () => {
  it('moves SOL, tokens, what is wrapped and the rent of token accounts, to the last lamport, and retires', async () => {
    const wallet = await kit.openWallet();
    const { address, destination } = wallet;
    const [first, second] = [solana.mint(6), solana.mint(0)];
    const safe = solana.mint(9, TOKEN_2022, [18, 19]);
    solana.give(address, 3n * SOL);
    solana.token({ mint: first, owner: address, units: 1_500_000n });
    solana.token({ mint: first, owner: address, units: 7n }, party().address);
    solana.token({ mint: second, owner: address, units: 42n });
    solana.token({ mint: second, owner: destination, units: 1n });
    solana.token({ mint: safe, owner: address, units: 9n, program: TOKEN_2022, extensions: [7] });
    solana.token({ mint: safe, owner: destination, units: 0n, program: TOKEN_2022, extensions: [7] });
    solana.token({ mint: WRAPPED, owner: address, units: SOL, isNative: true });
    const closed = solana.mint();
    const empty = solana.token({ mint: closed, owner: address, units: 0n });
    // Whoever made it can close a mint of which there is nothing.
    solana.accounts.delete(closed);

    const answer = await kit.sweep(wallet, '--retire');
    expect(answer).toMatchObject({ ok: true, wallet: address, left: [], panicCode: null });
    expect(answer['retiredAt']).toMatch(/^20/);
    expect(solana.accounts.has(address)).toBe(false);
    for (const account of [empty, ataOf(address, first), ataOf(address, second), ataOf(address, WRAPPED)])
      expect(solana.accounts.has(account)).toBe(false);
    expect(solana.units(destination, first)).toBe(1_500_007n);
    expect(solana.units(destination, second)).toBe(43n);
    expect(solana.units(destination, safe, TOKEN_2022)).toBe(9n);
    const moved = answer['moved'] as Listed;
    expect(moved.map(({ signature }) => signature).sort()).toEqual([...solana.landed].sort());
    // One token account for the first mint was made; everything else came back, less the fees.
    const rents = 6n * TOKEN_RENT - TOKEN_RENT;
    expect(solana.lamports(destination)).toBe(4n * SOL + rents - FEE * BigInt(moved.length));

    // What the owner read says where everything goes, with nothing shrunk to a hash.
    const statements = answer['statements'] as string[];
    const policies = statements.slice(0, -1);
    for (const mint of [first, second, safe])
      expect(policies.some((text) => text.includes(`Token ${mint}`))).toBe(true);
    for (const text of policies) {
      expect(text).not.toContain(', SHA-256');
      for (const line of text.split('\n').filter((line) => line.startsWith('Token ')))
        expect(line).toMatch(new RegExp(`, to ${destination}$`));
      expect(text).toContain('Programs: none');
    }
    expect(policies.at(-1)).toMatch(new RegExp(`^SOL: up to [0-9.]+ each, to ${destination}$`, 'm'));
    expect(statements.at(-1)).toContain('It never signs again');

    expect(await kit.facts(address)).toMatchObject({ retired: true });
    await expectProblem(await kit.kit.sign(wallet), 'wallet_retired');
    await expectAudited(kit.operators);
  }, 60_000);

  it('is asked for again with nothing to do, and has nobody sign', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, 2n * SOL);
    expect(await kit.sweep(wallet)).toMatchObject({
      ok: true,
      moved: [{ what: 'sol', amount: String(2n * SOL - FEE) }],
    });
    const before = await kit.facts(wallet.address);
    expect(before).toMatchObject({ epoch: 2, retired: false });
    expect(await kit.sweep(wallet)).toMatchObject({
      ok: true,
      moved: [],
      statements: [],
      panicCode: null,
      policyHash: null,
    });
    expect(await kit.facts(wallet.address)).toEqual(before);
    // Its own requester is out: the last policy knows one key, which is gone.
    await expectProblem(await kit.kit.sign(wallet, later()), 'request_signature_invalid');
  });

  it('is not held up by windows and rates that were used up before', async () => {
    const wallet = await kit.openWallet((document) => ({
      ...document,
      sol: { ...(document['sol'] as object), window: { seconds: 86_400, max: '1000' } },
      rate: { perMinute: 1, perDay: 1 },
    }));
    expect((await kit.kit.sign(wallet, { lamports: 1_000n })).status).toBe(200);
    await expectProblem(await kit.kit.sign(wallet, { lamports: 1n }), 'policy_denied');
    solana.give(wallet.address, SOL);
    expect(await kit.sweep(wallet)).toMatchObject({ ok: true, left: [] });
    expect(solana.lamports(wallet.destination)).toBe(SOL - FEE);
    await expectAudited(kit.operators);
  });

  it('takes a wallet that never had a policy, and pays the priority fee that was asked for', async () => {
    const wallet = { ...(await kit.walletWithoutPolicy()), destination: party().address };
    solana.give(wallet.address, SOL);
    const mint = solana.mint();
    solana.token({ mint, owner: wallet.address, units: 5n });
    const answer = await kit.sweep(wallet, '--priority-lamports', '20000');
    expect(answer).toMatchObject({ ok: true, left: [] });
    expect(solana.units(wallet.destination, mint)).toBe(5n);
    const total = solana.lamports(wallet.destination) - TOKEN_RENT + solana.lamports(ataOf(wallet.destination, mint));
    const paid = SOL + TOKEN_RENT - total;
    expect(paid).toBeGreaterThan(2n * FEE);
    expect(paid).toBeLessThanOrEqual(2n * (FEE + 20_000n) + TOKEN_RENT);
    expect((answer['statements'] as string[])[0]).toContain('Previous policy: none');
  });
});

describe('what is left behind', () => {
  it('is named with its reason, and keeps the wallet from being retired unless that is wanted', async () => {
    const wallet = await kit.openWallet();
    const { address, destination } = wallet;
    solana.give(address, SOL);
    const [frozen, foreign, chosen] = [solana.mint(), solana.mint(), solana.mint()];
    const fee = solana.mint(6, TOKEN_2022, [1]);
    const missing = solana.mint(6, TOKEN_2022, [18]);
    solana.token({ mint: frozen, owner: address, units: 1n, isFrozen: true });
    solana.token({ mint: foreign, owner: address, units: 2n });
    solana.token({ mint: foreign, owner: party().address, units: 0n }, ataOf(destination, foreign));
    solana.token({ mint: fee, owner: address, units: 3n, program: TOKEN_2022, extensions: [] });
    solana.token({ mint: missing, owner: address, units: 4n, program: TOKEN_2022, extensions: [] });
    const kept = solana.token({ mint: solana.mint(), owner: address, units: 0n, closeAuthority: party().address });
    solana.token({ mint: chosen, owner: address, units: 5n });

    const answer = await kit.sweep(wallet, '--retire');
    expect(answer).toMatchObject({ ok: false, exit: 1, retiredAt: null });
    const left = answer['left'] as Listed;
    expect(left.map(({ mint, reason, value }) => [mint, reason, value]).sort()).toEqual(
      [
        [frozen, 'account-frozen', undefined],
        [foreign, 'receiver-foreign', undefined],
        [fee, 'extension', 'mint 1'],
        [missing, 'receiver-missing', undefined],
        [left.find(({ account }) => account === kept)?.['mint'], 'close-authority', undefined],
      ].sort(),
    );
    expect(solana.units(destination, chosen)).toBe(5n);
    expect(solana.accounts.has(address)).toBe(false);
    expect(await kit.facts(address)).toMatchObject({ retired: false });

    const again = await kit.sweep(wallet, '--retire', '--abandon-rest');
    expect(again).toMatchObject({ ok: true, moved: [] });
    expect((again['left'] as Listed).length).toBe(5);
    expect(await kit.facts(address)).toMatchObject({ retired: true });
  }, 60_000);

  it('includes tokens that were not chosen, and what an endpoint beside the first one sees', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, SOL);
    const [chosen, other] = [solana.mint(), solana.mint()];
    for (const mint of [chosen, other]) solana.token({ mint, owner: wallet.address, units: 6n });
    const answer = await kit.sweep(wallet, '--mint', chosen);
    expect(answer).toMatchObject({
      ok: true,
      left: [{ what: 'token', mint: other, reason: 'not-chosen', amount: '6' }],
    });

    // One endpoint hides the token; the other does not.
    const honest = await new FakeSolana().start();
    honest.accounts = solana.accounts;
    solana.after = (method, reply) =>
      method === 'getTokenAccountsByOwner' ? { result: { context: { slot: 1 }, value: [] } } : reply;
    const hidden = await kit.sweep(wallet, '--retire');
    expect(hidden).toMatchObject({ ok: true, left: [], moved: [] });
    expect(await kit.facts(wallet.address)).toMatchObject({ retired: true });
    const second = await kit.openWallet();
    solana.token({ mint: other, owner: second.address, units: 8n });
    const seen = await kit.sweep(second, '--rpc', honest.url, '--retire');
    expect(seen).toMatchObject({
      ok: false,
      left: [{ mint: other, amount: '8', reason: 'sol-missing' }],
      retiredAt: null,
    });
    expect(await kit.facts(second.address)).toMatchObject({ retired: false });
    await honest.stop();
  }, 60_000);

  it('is what no fee can be paid for, or is less than a new account has to hold', async () => {
    const poor = await kit.openWallet();
    const mint = solana.mint();
    solana.token({ mint, owner: poor.address, units: 6n });
    solana.give(poor.address, FEE - 1n);
    expect(await kit.sweep(poor)).toMatchObject({
      ok: false,
      statements: [],
      left: [
        { what: 'sol', reason: 'below-fee' },
        { what: 'token', reason: 'sol-missing' },
      ],
    });
    // Enough for the fee, and not for the rent of the destination's token account: nothing goes, not even that.
    solana.give(poor.address, 1_000_000n);
    expect(await kit.sweep(poor)).toMatchObject({
      ok: false,
      statements: [],
      left: [
        { what: 'sol', reason: 'kept' },
        { what: 'token', reason: 'sol-missing' },
      ],
    });
    solana.give(poor.address, TOKEN_RENT);
    expect(await kit.sweep(poor)).toMatchObject({ ok: true, left: [] });
    const small = await kit.openWallet();
    solana.give(small.address, WALLET_RENT);
    expect(await kit.sweep(small)).toMatchObject({ ok: false, statements: [], left: [{ reason: 'below-rent' }] });
    solana.give(small.destination, WALLET_RENT);
    expect(await kit.sweep(small)).toMatchObject({ ok: true, left: [] });
    expect(solana.lamports(small.destination)).toBe(2n * WALLET_RENT - FEE);
  });

  it('is no less than the fee because somebody offers more for it: such a wallet is not retired', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, SOL / 10n);
    const generous = await kit.sweep(wallet, '--priority-lamports', '200000000', '--retire');
    expect(generous).toMatchObject({ ok: false, exit: 1, moved: [], left: [{ what: 'sol', reason: 'below-fee' }] });
    expect(await kit.facts(wallet.address)).toMatchObject({ retired: false });
    expect(await kit.sweep(wallet, '--retire')).toMatchObject({ ok: true, left: [] });
    expect(solana.lamports(wallet.destination)).toBe(SOL / 10n - FEE);
  });
});

describe('a wallet that cannot be swept', () => {
  it('is refused before anybody is asked: frozen, retired, of somebody else, or to nowhere', async () => {
    const frozen = await kit.openWallet();
    solana.give(frozen.address, SOL);
    const killed = await qvJson('kill', '--wallet', frozen.address, '--reason', 'test', '--admin', stack.adminSocket);
    expect(killed).toMatchObject({ ok: true });
    expect(await kit.sweep(frozen)).toMatchObject({
      exit: 1,
      error: { code: 'frozen', next: expect.stringContaining('qv resume') },
    });
    const retired = await kit.openWallet();
    expect(await kit.sweep(retired, '--retire')).toMatchObject({ ok: true });
    expect(await kit.sweep(retired)).toMatchObject({ exit: 1, error: { code: 'wallet_retired' } });
    const foreign = await kit.kit.openWallet();
    solana.give(foreign.address, SOL);
    expect(await kit.sweep(foreign)).toMatchObject({ exit: 1, error: { code: 'wallet_owner_mismatch' } });
    const token = solana.token({ mint: solana.mint(), owner: party().address, units: 1n });
    const own = await kit.openWallet();
    expect(await kit.sweep({ ...own, destination: token })).toMatchObject({
      exit: 2,
      error: { code: 'usage_invalid' },
    });
    expect(solana.lamports(frozen.address)).toBe(SOL);
    expect(solana.calls).not.toContain('sendTransaction');
  }, 60_000);

  it('is frozen in the middle: nothing more is signed, and after a resume the rest goes', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, SOL);
    const mint = solana.mint();
    solana.token({ mint, owner: wallet.address, units: 6n });
    const freeze = () => qvJson('kill', '--wallet', wallet.address, '--reason', 'test', '--admin', stack.adminSocket);
    let isFrozen = false;
    solana.after = async (method, reply) => {
      if (method === 'sendTransaction' && !isFrozen) {
        isFrozen = true;
        await freeze();
      }
      return reply;
    };
    expect(await kit.sweep(wallet)).toMatchObject({ exit: 1, error: { code: 'frozen' } });
    expect(solana.units(wallet.destination, mint)).toBe(6n);
    expect(solana.lamports(wallet.address)).toBeGreaterThan(SOL / 2n);
    const to = ['--wallet', wallet.address, '--admin', stack.adminSocket];
    const { statement, freezeId } = await qvJson('resume', 'statement', ...to);
    const signature = toBase64(kit.owner.sign(utf8(String(statement))));
    const signed = ['--freeze', String(freezeId), '--signed', `${kit.owner.address}:${signature}`];
    const resumed = await qvJson('resume', ...to, ...signed, '--url', stack.url, ...kit.operators.images);
    expect(resumed).toMatchObject({ ok: true });
    expect(await kit.sweep(wallet)).toMatchObject({ ok: true, left: [] });
    expect(solana.accounts.has(wallet.address)).toBe(false);
  }, 60_000);
});

describe('without an endpoint', () => {
  it('a plan is enough: the transactions are signed here and sent elsewhere', async () => {
    const wallet = await kit.openWallet();
    const { address, destination } = wallet;
    solana.give(address, SOL);
    const mint = solana.mint();
    solana.token({ mint, owner: address, units: 6n });
    const empty = solana.token({ mint: solana.mint(), owner: address, units: 0n });
    const out = kit.operators.file('plan.json');
    const looked = await qvJson(
      ...['wallet', 'look', '--rpc', solana.url, '--wallet', address, '--to', destination, '--out', out],
    );
    expect(looked).toMatchObject({ ok: true, format: 'qv/sweep-plan/v1' });
    expect(JSON.parse(readFileSync(out, 'utf8'))).toMatchObject({ wallet: address, lamports: String(SOL) });
    solana.calm();
    const signed = await qvJson(...kit.argumentsOf(wallet), '--plan', out, '--yes');
    expect(signed).toMatchObject({ ok: true, left: [] });
    expect(solana.calls).toEqual([]);
    const transactions = signed['transactions'] as { stage: string; transaction: string; signature: string }[];
    expect(transactions.map(({ stage }) => stage)).toEqual(['accounts', 'tokens', 'sol']);
    for (const { transaction, signature } of transactions) {
      const sent = await fetch(solana.url, {
        method: 'POST',
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'sendTransaction', params: [transaction, {}] }),
      });
      expect(await sent.json()).toMatchObject({ result: signature });
    }
    expect([solana.accounts.has(address), solana.accounts.has(empty)]).toEqual([false, false]);
    expect(solana.units(destination, mint)).toBe(6n);
    expect(solana.lamports(destination)).toBe(SOL + TOKEN_RENT - 3n * FEE);
    await expectAudited(kit.operators);

    const other = await kit.openWallet();
    expect(await qvJson(...kit.argumentsOf(other), '--plan', out, '--yes')).toMatchObject({
      error: { code: 'usage_invalid', value: expect.stringContaining('another wallet') },
    });
    expect(await qvJson(...kit.argumentsOf(wallet), '--plan', out, '--retire', '--yes')).toMatchObject({
      error: { code: 'usage_invalid' },
    });
  }, 60_000);

  it('without anybody to ask, nothing is moved: --yes is required', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, SOL);
    const answer = await qvJson(...kit.argumentsOf(wallet), '--rpc', solana.url);
    expect(answer).toMatchObject({
      exit: 2,
      error: { code: 'usage_invalid', value: expect.stringContaining('--yes') },
    });
    const other = ['--pcr0', 'ab'.repeat(48), ...kit.operators.images.slice(-2)];
    const argv = kit.argumentsOf(wallet).filter((word) => !kit.operators.images.includes(word));
    const unproved = await qvJson(...argv, ...other, '--rpc', solana.url, '--yes');
    expect(unproved).toMatchObject({ exit: 1, error: { code: 'attestation_pcrs_not_allowed' } });
    expect(solana.lamports(wallet.address)).toBe(SOL);
  });
});

describe('an owner whose key is elsewhere', () => {
  it('reads each statement and hands in its signature', async () => {
    const wallet = await kit.openWallet();
    solana.give(wallet.address, SOL);
    const argv = kit.argumentsOf(wallet).filter((word) => word !== '--owner-key' && word !== kit.ownerFile);
    const child = spawn(
      process.execPath,
      [QV, ...argv, '--owner', kit.owner.address, '--rpc', solana.url, '--retire', '--yes', '--json'],
      { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], NODE_NO_WARNINGS: '1' } },
    );
    const read: string[] = [];
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk;
      const [, statement] = /\n\n(qv\/.*)\n\nSignature \(base58 or base64\): $/s.exec(said) ?? [];
      if (statement === undefined) return;
      said = '';
      read.push(statement);
      child.stdin.write(`${toBase64(kit.owner.sign(utf8(statement)))}\n`);
    });
    const answer = JSON.parse(await text(child.stdout)) as JsonAnswer;
    expect(answer).toMatchObject({ ok: true, left: [], statements: read });
    expect(read.map((statement) => statement.split(':')[0])).toEqual(['qv/enable-policy/v1', 'qv/retire-wallet/v1']);
    expect(solana.lamports(wallet.destination)).toBe(SOL - FEE);
  }, 60_000);
});

/** The SDK with a whole appliance behind it, and a network in between that changes one thing of an answer. */
import {
  BatchDenied,
  type Client,
  connectionTo,
  createClient,
  type Owner,
  ownerFromSigner,
  PolicyDenied,
  panic,
  type Trust,
} from '@quantumvault/host/client/client.ts';
import { type Address, addressOf, hash, timeMs } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { TransactionMessage, VersionedTransaction } from '@solana/web3.js';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { firstPolicy, LIMIT_LAMPORTS, pcrSetOf, transfer } from '../stack/scenario.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { throwawayKey } from '../stack/throwaway.ts';
import { expectCode, expectProblem } from '../support/codes.ts';
import { ENVELOPES } from '../support/envelopes.ts';

type Members = Record<string, unknown>;
/** Changes an answer on its way; called with the path asked for. */
type Tamper = (answer: Members, path: string) => Members;

const owner = throwawayKey();
const requester = throwawayKey();
const stranger = throwawayKey();
const destination: Address = throwawayKey().signer.address;
const agreed = ownerFromSigner(owner.signer);
let stack: Stack;
let trust: Trust;
let client: Client;
let wallet: Address;

beforeAll(async () => {
  stack = await startStack({ logLevel: 'warn' });
  const { kmsKeyArn, nsmRootDer, pcrs } = stack;
  trust = { pcrSets: [pcrSetOf(pcrs)], kmsKeyArn, unsafeTrustedRootDer: nsmRootDer };
  client = connect();
  wallet = (await client.createWallet({ owner: agreed, requesters: [requester.signer.address] })).wallet;
  await client.enablePolicy({ owner: agreed, policy: policy() });
});
afterAll(() => stack.stop());

function connect(tamper?: Tamper, change: Partial<Trust> = {}): Client {
  const tampering: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const answer = (await response.json()) as Members;
    const { pathname } = new URL(String(input));
    // The bound on attestations per second shows in a test as fast as this: those answers are repeated as they are.
    const sent = response.status === 503 ? answer : (tamper?.(answer, pathname) ?? answer);
    return new Response(JSON.stringify(sent), { status: response.status });
  };
  return createClient({
    url: stack.url,
    deployment: stack.deployment,
    trust: { ...trust, ...change },
    attempts: 10,
    ...(tamper !== undefined && { fetch: tampering }),
  });
}

function policy(change: Members = {}): Members {
  const parties = { wallet, owner: owner.signer.address, requester: requester.signer.address, destination };
  return { ...firstPolicy(parties, Date.now()), ...change };
}

const request = (lamports = 5_000n) => ({
  wallet,
  transaction: transfer(wallet, destination, lamports).wire,
  requester: requester.signer,
});

/** Only on answers of this path: what else the SDK asks arrives as it was sent. */
const on =
  (path: string, change: (answer: Members) => Members): Tamper =>
  (answer, asked) =>
    asked.endsWith(path) ? change(answer) : answer;

function flipped(base64: unknown): string {
  const bytes = fromBase64(String(base64));
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
  return toBase64(bytes);
}

const inner = (answer: Members, key: string, member: string): Members => {
  const value = answer[key] as Members;
  return { ...answer, [key]: { ...value, [member]: flipped(value[member]) } };
};

describe('creating a wallet', () => {
  const create = (through: Client, change: { nonce?: Uint8Array } = {}) =>
    through.createWallet({ owner: agreed, requesters: [requester.signer.address], ...change });

  test('gives the address with certificate and attested boot; the same statement gives the same wallet', async () => {
    const nonce = crypto.getRandomValues(new Uint8Array(16));
    const createBefore = timeMs(Math.floor(Date.now() / 1000) * 1000 + 60_000);
    const options = { owner: agreed, requesters: [requester.signer.address], nonce, createBefore };
    const created = await client.createWallet(options);
    expect(created.certificate).toMatchObject({ owner: owner.signer.address, nonce, boot: created.boot.boot });
    expect(created.boot.report.proves).toBe('authenticity and recency');
    expect((await client.createWallet(options)).wallet).toBe(created.wallet);
  });

  test.each<[string, (answer: Members) => Members, ErrorCode]>([
    ['another wallet', (answer) => ({ ...answer, wallet: stranger.signer.address }), 'evidence_mismatch'],
    ['a changed certificate', (answer) => inner(answer, 'certificate', 'bytes'), 'evidence_signature_invalid'],
    ['another signature', (answer) => inner(answer, 'certificate', 'signature'), 'evidence_signature_invalid'],
    ['a changed receipt', (answer) => inner(answer, 'receipt', 'leaf'), 'evidence_signature_invalid'],
    ['another receipt signature', (answer) => inner(answer, 'receipt', 'signature'), 'evidence_signature_invalid'],
    ['no certificate', ({ certificate: _, ...answer }) => answer, 'response_malformed'],
    ['no address', (answer) => ({ ...answer, wallet: 'x' }), 'response_malformed'],
  ])('%s gives no address', async (_, change, code) => {
    await expectCode(create(connect(on('/v1/wallets', change))), code);
  });

  test('the certificate of another creation gives no address', async () => {
    let first: Members | undefined;
    const replaying = connect(
      on('/v1/wallets', (answer) => {
        first ??= answer;
        return first;
      }),
    );
    await create(replaying);
    expect((await expectCode(create(replaying), 'evidence_mismatch')).facts.path).toBe('certificate.nonce');
  });

  test('an image, root or KMS key that is not expected gives no address', async () => {
    const other = [{ name: 'other', pcrs: new Map([[0, new Uint8Array(48).fill(1)]]) }];
    await expectCode(create(connect(undefined, { pcrSets: other })), 'attestation_pcrs_not_allowed');
    const { unsafeTrustedRootDer: _, ...aws } = trust;
    const believer = createClient({ url: stack.url, deployment: stack.deployment, trust: aws, attempts: 10 });
    await expectCode(create(believer), 'attestation_root_untrusted');
    const kmsKeyArn = `${trust.kmsKeyArn}0`;
    const error = await expectCode(create(connect(undefined, { kmsKeyArn })), 'evidence_mismatch');
    expect(error.facts.path).toBe('certificate.kmsKeyArn');
    await expectCode(async () => connect(undefined, { pcrSets: [] }), 'attestation_expectations_invalid');
  });

  test('an attestation that is not fresh gives no address', async () => {
    let kept: Members | undefined;
    const replaying = connect(
      on('/v1/attestation', (answer) => {
        kept ??= answer;
        return kept;
      }),
    );
    await create(replaying);
    await expectCode(create(replaying), 'attestation_nonce_mismatch');
  });

  test('another boot, or a boot record that it did not sign', async () => {
    const other = connect(on('/v1/attestation', (answer) => ({ ...answer, boot: stranger.signer.address })));
    await expectCode(create(other), 'attestation_user_data_mismatch');
    const record = connect(on('/v1/attestation', (answer) => inner(answer, 'bootRecord', 'leaf')));
    await expectCode(create(record), 'evidence_signature_invalid');
  });

  test('an owner whose callback signs something else, or nothing', async () => {
    const wrong = { address: owner.signer.address, signStatement: () => new Uint8Array(64) };
    await expectCode(client.createWallet({ owner: wrong, requesters: [destination] }), 'statement_signature_invalid');
    const unwilling = ownerFromSigner(owner.signer, () => Promise.reject(new Error('no')));
    await expect(client.createWallet({ owner: unwilling, requesters: [destination] })).rejects.toThrow('no');
    await expectCode(create(client, { nonce: new Uint8Array(15) }), 'field_malformed');
  });
});

describe('a deadline', () => {
  test('is told to the host, and one that no answer can meet is exceeded', async () => {
    const told: (string | null)[] = [];
    const watching: typeof fetch = async (input, init) => {
      if (init?.method === 'POST') told.push(new Headers(init.headers).get('x-request-timeout-ms'));
      return await fetch(input, init);
    };
    const hasty = createClient({ url: stack.url, deployment: stack.deployment, trust, attempts: 1, fetch: watching });
    expect((await hasty.sign({ ...request(), timeoutMilliseconds: 9_000 })).signature).toHaveLength(64);
    await expectCode(hasty.sign({ ...request(), timeoutMilliseconds: 1 }), 'deadline_exceeded');
    await expectCode(hasty.sign({ ...request(), timeoutMilliseconds: 0 }), 'field_malformed');
    expect((await hasty.sign(request())).signature).toHaveLength(64);
    expect(told).toEqual(['9000', '1', '0', null]);
  });
});

describe('a batch', () => {
  const batch = (lamports: readonly bigint[], change: { id?: string } = {}) => ({
    wallet,
    transactions: lamports.map((each) => transfer(wallet, destination, each).wire),
    requester: requester.signer,
    ...change,
  });

  test('comes back signed, each with its verified receipt, and is told again by its id', async () => {
    const options = batch([1_001n, 1_002n, 1_003n], { id: 'batch-of-three' });
    const signed = await client.signBatch(options);
    expect(signed.map(({ lamportsOut }) => lamportsOut)).toEqual([1_001n, 1_002n, 1_003n]);
    for (const [index, { transaction, signature }] of signed.entries()) {
      const sent = VersionedTransaction.deserialize(transaction);
      expect(sent.signatures).toEqual([signature]);
      expect(sent.message.serialize()).toEqual(
        VersionedTransaction.deserialize(options.transactions[index] ?? new Uint8Array()).message.serialize(),
      );
    }
    expect(await client.signBatch(options)).toEqual(signed);
    // Each has a receipt of its own that verifies offline.
    for (const [index, { receipt }] of signed.entries()) {
      const response = await fetch(`${stack.url}/v1/receipts/batch-of-three?index=${index}`);
      expect(await response.text()).toContain(toBase64(receipt.leaf));
    }
    for (const query of ['?index=3', '?index=31']) {
      await expectProblem(await fetch(`${stack.url}/v1/receipts/batch-of-three${query}`), 'receipt_unknown');
    }
    for (const query of ['?index=32', '?index=-1', '?index=01', '?index=x']) {
      await expectProblem(await fetch(`${stack.url}/v1/receipts/batch-of-three${query}`), 'field_malformed');
    }
  });

  test('that is denied says which and why, with the receipt', async () => {
    const denied = client.signBatch(batch([1n, LIMIT_LAMPORTS + 1n, 2n]));
    const error = await expectCode(denied, 'policy_denied');
    expect(error).toBeInstanceOf(BatchDenied);
    expect(error).toMatchObject({ index: 1, leaf: { kind: 'denied', rule: 'sol.maxPerTransaction' } });
    expect((error as BatchDenied).verdicts.map(({ verdict, rule }) => [verdict, rule])).toEqual([
      ['allow', undefined],
      ['deny', 'sol.maxPerTransaction'],
      ['allow', undefined],
    ]);
    const verdicts = await client.dryRunBatch(batch([1n, LIMIT_LAMPORTS + 1n]));
    expect(verdicts.map(({ verdict }) => verdict)).toEqual(['allow', 'deny']);
  });

  test.each<[string, (answer: Members) => Members, ErrorCode]>([
    ['one fewer', ({ signed, ...rest }) => ({ ...rest, signed: (signed as Members[]).slice(1) }), 'response_malformed'],
    ['another order', ({ signed }) => ({ signed: (signed as Members[]).toReversed() }), 'evidence_signature_invalid'],
    [
      'the receipt of another',
      ({ signed }) => {
        const [first, second] = signed as [Members, Members];
        return { signed: [{ ...first, receipt: second['receipt'] }, second] };
      },
      'evidence_mismatch',
    ],
    ['none', () => ({}), 'response_malformed'],
  ])('with %s is not believed', async (_, change, code) => {
    await expectCode(connect(on('/v1/sign/batch', change)).signBatch(batch([11n, 12n])), code);
  });
});

describe('enabling a policy', () => {
  const fresh = async (): Promise<Members> => {
    const created = await client.createWallet({ owner: agreed, requesters: [requester.signer.address] });
    return policy({ wallet: created.wallet });
  };

  test.each(Object.entries(ENVELOPES))('takes what the owner’s wallet signs: %s', async (_, envelope) => {
    const wrapped: Owner = {
      address: agreed.address,
      signStatement: (text) => owner.signer.sign(envelope(text, agreed.address)),
    };
    const created = await client.createWallet({ owner: wrapped, requesters: [requester.signer.address] });
    const enabled = await client.enablePolicy({ owner: wrapped, policy: policy({ wallet: created.wallet }) });
    expect(enabled).toMatchObject({ epoch: 1 });
  });

  test('names the policy, and the next one names it', async () => {
    const first = await fresh();
    const enabled = await client.enablePolicy({ owner: agreed, policy: first });
    const { policyHash } = enabled;
    const second = { ...first, epoch: 2 };
    const next = await client.enablePolicy({ owner: agreed, policy: second, previousHash: policyHash });
    expect(next.enableReceipt).toMatchObject({ epoch: 2, previousHash: policyHash });
    await expectCode(
      client.enablePolicy({ owner: agreed, policy: { ...first, epoch: 3 } }),
      'policy_previous_mismatch',
    );
  });

  test.each<[string, (answer: Members) => Members, ErrorCode]>([
    ['a changed enable receipt', (answer) => inner(answer, 'enableReceipt', 'bytes'), 'evidence_signature_invalid'],
    ['a changed receipt', (answer) => inner(answer, 'receipt', 'leaf'), 'evidence_signature_invalid'],
    ['another hash', (answer) => ({ ...answer, policyHash: '00'.repeat(32) }), 'evidence_mismatch'],
    ['no receipt', ({ receipt: _, ...answer }) => answer, 'response_malformed'],
    ['no panic code', ({ panicCode: _, ...answer }) => answer, 'response_malformed'],
    ['a panic code that is none', (answer) => ({ ...answer, panicCode: '\u001b[2J' }), 'response_malformed'],
  ])('%s is refused', async (_, change, code) => {
    const tampered = connect(on('/policy', change));
    await expectCode(tampered.enablePolicy({ owner: agreed, policy: await fresh() }), code);
  });

  test('brings a panic code, which freezes that wallet in the enclave, and no other', async () => {
    const document = await fresh();
    const { panicCode } = await client.enablePolicy({ owner: agreed, policy: document });
    const other = await client.enablePolicy({ owner: agreed, policy: await fresh() });
    const frozen = String(document['wallet']) as Address;
    const requestOf = (of: Address) => ({ ...request(), wallet: of, transaction: transfer(of, destination, 1n).wire });
    expect((await client.sign(requestOf(frozen))).signature).toHaveLength(64);
    const report = await panic(connectionTo(stack.url), { panicCode, reason: 'a test' });
    expect(report).toMatchObject({
      scope: `wallet:${frozen}`,
      host: { held: true },
      enclaves: [{ held: true }],
      database: { held: true },
    });
    await expectCode(client.sign(requestOf(frozen)), 'frozen');
    expect((await client.sign(requestOf(other.policy.wallet))).signature).toHaveLength(64);
  });

  test('what the format or the owner refuses is not even asked', async () => {
    let asked = 0;
    const counting = connect((answer) => {
      asked++;
      return answer;
    });
    await expectCode(counting.enablePolicy({ owner: agreed, policy: policy({ surprise: 1 }) }), 'policy_invalid');
    const other = ownerFromSigner(stranger.signer);
    await expectCode(counting.enablePolicy({ owner: other, policy: policy() }), 'wallet_owner_mismatch');
    expect(asked).toBe(0);
  });
});

describe('signing', () => {
  test('gives a signature, a transaction to send, and a receipt of that very request', async () => {
    const options = request();
    const signed = await client.sign({ ...options, id: 'my-id' });
    expect(signed.leaf).toMatchObject({ requestId: 'my-id', wallet, actor: requester.signer.address });
    expect(signed.lamportsOut).toBe(5_000n);
    const again = await client.sign({ ...options, id: 'my-id' });
    expect(toHex(again.signature)).toBe(toHex(signed.signature));
  });

  test('version 0 as well', async () => {
    const legacy = transfer(wallet, destination, 7_000n).transaction;
    const message = new TransactionMessage({
      payerKey: legacy.feePayer as NonNullable<typeof legacy.feePayer>,
      recentBlockhash: legacy.recentBlockhash ?? '',
      instructions: legacy.instructions,
    }).compileToV0Message();
    const transaction = Uint8Array.from(new VersionedTransaction(message).serialize());
    const signed = await client.sign({ ...request(), transaction });
    const complete = VersionedTransaction.deserialize(signed.transaction);
    const valid = nacl.sign.detached.verify(
      complete.message.serialize(),
      complete.signatures[0] ?? new Uint8Array(64),
      legacy.feePayer?.toBytes() ?? new Uint8Array(32),
    );
    expect([complete.version, valid]).toEqual([0, true]);
  });

  test('a denial comes with the rule and a verified leaf', async () => {
    const error = await expectCode(client.sign(request(LIMIT_LAMPORTS + 1n)), 'policy_denied');
    expect(error).toBeInstanceOf(PolicyDenied);
    expect(error).toMatchObject({ facts: { path: 'sol.maxPerTransaction' }, leaf: { kind: 'denied', wallet } });
  });

  test.each<[string, (answer: Members) => Members, ErrorCode]>([
    ['another signature', (answer) => ({ ...answer, signature: '1'.repeat(64) }), 'evidence_signature_invalid'],
    ['a changed leaf', (answer) => inner(answer, 'receipt', 'leaf'), 'evidence_signature_invalid'],
    ['a changed receipt signature', (answer) => inner(answer, 'receipt', 'signature'), 'evidence_signature_invalid'],
    ['another sum', (answer) => ({ ...answer, lamportsOut: '1' }), 'evidence_mismatch'],
    [
      'tokens that do not leave',
      (answer) => ({ ...answer, tokens: { So11111111111111111111111111111111111111112: '1' } }),
      'evidence_mismatch',
    ],
    ['another fee', (answer) => ({ ...answer, feeLamports: '1' }), 'evidence_mismatch'],
    ['another hash', (answer) => ({ ...answer, messageHash: '00'.repeat(32) }), 'evidence_mismatch'],
    ['a sum that is none', (answer) => ({ ...answer, lamportsOut: '01' }), 'response_malformed'],
    ['no receipt', ({ receipt: _, ...answer }) => answer, 'response_malformed'],
  ])('%s is refused', async (_, change, code) => {
    await expectCode(connect(on('/v1/sign', change)).sign(request()), code);
  });

  test('the receipt of another request is refused, and so is a forged denial', async () => {
    let first: Members | undefined;
    const replaying = connect(
      on('/v1/sign', (answer) => {
        first ??= answer;
        return { ...answer, receipt: first['receipt'] };
      }),
    );
    await replaying.sign(request());
    expect((await expectCode(replaying.sign(request()), 'evidence_mismatch')).facts.path).toBe('leaf.requestId');
    const lying = connect(on('/v1/sign', (answer) => ({ ...answer, rule: 'sol.destinations' })));
    await expectCode(lying.sign(request(LIMIT_LAMPORTS + 1n)), 'evidence_mismatch');
  });

  test('a malformed transaction or id is refused before anything is sent', async () => {
    await expectCode(client.sign({ ...request(), transaction: new Uint8Array(3) }), 'transaction_truncated');
    await expectCode(client.sign({ ...request(), id: 'no spaces' }), 'request_id_malformed');
    const short = { address: requester.signer.address, sign: () => new Uint8Array(63) };
    await expectCode(client.sign({ ...request(), requester: short }), 'field_malformed');
  });

  test('a requester or wallet that is not the policy’s', async () => {
    await expectCode(client.sign({ ...request(), requester: stranger.signer }), 'request_signature_invalid');
    const other = addressOf(hash(new Uint8Array(32).fill(5)));
    await expectCode(client.sign({ ...request(), wallet: other }), 'wallet_unknown');
  });
});

describe('dry runs', () => {
  test('give every rule, and use up no id', async () => {
    const options = { ...request(LIMIT_LAMPORTS + 1n), id: 'dry' };
    const found = await client.dryRun(options);
    expect(found).toMatchObject({ verdict: 'deny', lamportsOut: LIMIT_LAMPORTS + 1n });
    expect(found.rules.filter(({ outcome }) => outcome === 'deny')).toEqual([
      { rule: 'sol.maxPerTransaction', outcome: 'deny', value: String(LIMIT_LAMPORTS + 1n) },
    ]);
    expect((await client.dryRun(request())).verdict).toBe('allow');
    expect((await client.sign({ ...request(), id: 'dry' })).id).toBe('dry');
  });

  test('an answer of another form is refused', async () => {
    const tampered = connect(on('/v1/sign', (answer) => ({ ...answer, verdict: 'maybe' })));
    await expectCode(tampered.dryRun(request()), 'response_malformed');
  });
});

/** What the metrics of a host say of a real enclave: its verdicts, its calls of KMS, the age of what it shows there. */
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { type Client, createClient, ownerFromSigner, PolicyDenied } from '@quantumvault/host/client/client.ts';
import type { Address } from '@quantumvault/shared/brands.ts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseExposition, type Sample, sampleValue } from '../host/metrics/exposition.ts';
import { KmsAdmin } from '../stack/kms/admin.ts';
import { firstPolicy, LIMIT_LAMPORTS, pcrSetOf, transfer } from '../stack/scenario.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { throwawayKey } from '../stack/throwaway.ts';
import { expectCode } from '../support/codes.ts';
import { until } from '../support/temporary.ts';

const owner = throwawayKey();
const requester = throwawayKey();
const destination = throwawayKey().signer.address;
const agreed = ownerFromSigner(owner.signer);
let stack: Stack;
let client: Client;
let wallet: Address;

beforeAll(async () => {
  stack = await startStack({ logLevel: 'warn' });
  client = clientWith(4);
  wallet = (await client.createWallet({ owner: agreed, requesters: [requester.signer.address] })).wallet;
  const parties = { wallet, owner: owner.signer.address, requester: requester.signer.address, destination };
  await client.enablePolicy({ owner: agreed, policy: { ...firstPolicy(parties, Date.now()) } });
});
afterAll(() => stack.stop());

function clientWith(attempts: number): Client {
  const { url, deployment, kmsKeyArn, nsmRootDer, pcrs } = stack;
  const trust = { pcrSets: [pcrSetOf(pcrs)], kmsKeyArn, unsafeTrustedRootDer: nsmRootDer };
  return createClient({ url, deployment, trust, attempts });
}

async function scrape(): Promise<readonly Sample[]> {
  return parseExposition((await adminCall(stack.adminSocket, 'metrics', {})).text);
}

/** The enclave's numbers come with its status, once a second. */
async function untilValue(name: string, holds: (value: number) => boolean): Promise<void> {
  await until(`${name} is as expected`, async () => holds(sampleValue(await scrape(), name) ?? Number.NaN));
}

const sign = (by: Client, lamports: bigint) =>
  by.sign({ wallet, transaction: transfer(wallet, destination, lamports).wire, requester: requester.signer });

it('calls of KMS are those that KMS has seen, and a signature is one verdict', async () => {
  const before = await scrape();
  await sign(client, 5_000n);
  const kms = new KmsAdmin(stack.kmsAdmin);
  const { Decrypt, GenerateDataKey } = await kms.counts();
  kms.close();
  const called = (Decrypt?.calls ?? 0) + (GenerateDataKey?.calls ?? 0);
  // A row key, an execution key, and a decryption for the policy and for the signature.
  expect(called).toBeGreaterThanOrEqual(4);
  await untilValue('qv_kms_calls_total', (value) => value === called);
  const after = await scrape();
  const allowed = { mode: 'sign', verdict: 'allow' };
  expect(sampleValue(after, 'qv_verdicts_total', allowed)).toBe(
    (sampleValue(before, 'qv_verdicts_total', allowed) ?? 0) + 1,
  );
  expect(sampleValue(after, 'qv_kms_failures_total')).toBe(0);
  expect(sampleValue(after, 'qv_kms_tunnel_connections_total', { outcome: 'opened' })).toBeGreaterThan(0);
  expect(sampleValue(after, 'qv_enclave_up')).toBe(1);
  expect(sampleValue(after, 'qv_enclave_wallets')).toBe(1);
  expect(sampleValue(after, 'qv_enclave_attestation_age_seconds')).toBeLessThan(300);
  expect(sampleValue(after, 'qv_enclave_time_age_seconds')).toBeLessThan(60);
  // One machine, two clocks: the status is at most some seconds old.
  expect(Math.abs(sampleValue(after, 'qv_enclave_clock_offset_seconds') ?? Number.NaN)).toBeLessThan(60);
});

it('a denial is counted by the rule that the enclave names', async () => {
  await expect(sign(client, LIMIT_LAMPORTS + 1n)).rejects.toBeInstanceOf(PolicyDenied);
  expect(sampleValue(await scrape(), 'qv_denials_total', { rule: 'sol.maxPerTransaction' })).toBe(1);
});

it('KMS that refuses is counted by the enclave and, with its code, by the host', async () => {
  const kms = new KmsAdmin(stack.kmsAdmin);
  await kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'refuse', error: 'AccessDeniedException' } });
  await expectCode(sign(clientWith(1), 5_000n), 'kms_refused');
  const refused = { message: 'sign', code: 'kms_refused' };
  expect(sampleValue(await scrape(), 'qv_enclave_requests_total', refused)).toBe(1);
  await untilValue('qv_kms_failures_total', (value) => value >= 1);
  await kms.clearFaults();
  kms.close();
});

it('another start of the enclave is another boot, and its counters begin anew', async () => {
  const bootsOf = (samples: readonly Sample[]) =>
    samples.filter(({ name }) => name === 'qv_enclave_info').map(({ labels }) => labels['boot']);
  const [first] = bootsOf(await scrape());
  await stack.restartEnclave();
  await until('the new boot serves', async () => {
    const samples = await scrape();
    return bootsOf(samples)[0] !== first && sampleValue(samples, 'qv_enclave_up') === 1;
  });
  expect(bootsOf(await scrape())).toHaveLength(1);
  expect(sampleValue(await scrape(), 'qv_kms_failures_total')).toBe(0);
  expect(sampleValue(await scrape(), 'qv_enclave_wallets')).toBe(0);
});

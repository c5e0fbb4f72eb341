/** Reads, alerts and the status page against a real enclave: a token of the backend's, and what it sees of a freeze. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { addApiToken } from '@quantumvault/host/cli/api-tokens.ts';
import { type Client, createClient, ownerFromSigner, PolicyDenied } from '@quantumvault/host/client/client.ts';
import type { Address } from '@quantumvault/shared/brands.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Receiver } from '../host/alerts/receiver.ts';
import { firstPolicy, LIMIT_LAMPORTS, pcrSetOf, transfer } from '../stack/scenario.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { throwawayKey } from '../stack/throwaway.ts';
import { expectProblem } from '../support/codes.ts';
import { freePort } from '../support/free-port.ts';
import { temporaryFolder, until } from '../support/temporary.ts';

const SECRET = `whsec_${toBase64(new Uint8Array(32).fill(7))}`;
const owner = throwawayKey();
const requester = throwawayKey();
const destination = throwawayKey().signer.address;
const receiver = new Receiver(SECRET);
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let stack: Stack;
let client: Client;
let wallet: Address;
let token: string;
let opsPort: number;

beforeAll(async () => {
  folder = await temporaryFolder();
  const apiTokensFile = join(folder.path, 'tokens.json');
  const secretsFile = join(folder.path, 'alerts.txt');
  token = await addApiToken(apiTokensFile, { name: 'bot', role: 'backend', wallets: [] });
  writeFileSync(secretsFile, `${SECRET}\n`, { mode: 0o600 });
  opsPort = await freePort();
  const hostConfig = {
    apiTokensFile,
    alerts: [{ url: await receiver.start(), secretsFile }],
    opsPage: { host: '127.0.0.1', port: opsPort },
  };
  stack = await startStack({ logLevel: 'warn', hostConfig });
  const { url, deployment, kmsKeyArn, nsmRootDer, pcrs } = stack;
  const trust = { pcrSets: [pcrSetOf(pcrs)], kmsKeyArn, unsafeTrustedRootDer: nsmRootDer };
  client = createClient({ url, deployment, trust, attempts: 4 });
  const agreed = ownerFromSigner(owner.signer);
  wallet = (await client.createWallet({ owner: agreed, requesters: [requester.signer.address] })).wallet;
  const parties = { wallet, owner: owner.signer.address, requester: requester.signer.address, destination };
  const first = firstPolicy(parties, Date.now());
  const sol = { ...first.sol, window: { seconds: 3600, max: '1000000' } };
  await client.enablePolicy({ owner: agreed, policy: { ...first, sol, rate: { perMinute: 10, perDay: 100 } } });
});
afterAll(async () => {
  await stack?.stop();
  await receiver.close();
  await folder?.remove();
});

const sign = (lamports: bigint) =>
  client.sign({ wallet, transaction: transfer(wallet, destination, lamports).wire, requester: requester.signer });

async function read(path: string): Promise<Record<string, unknown>> {
  const response = await fetch(`${stack.url}${path}`, { headers: { authorization: `Bearer ${token}` } });
  expect(response.status, await response.clone().text()).toBe(200);
  return (await response.json()) as Record<string, unknown>;
}

it('budgets shrink by what was signed, and by nothing that was denied', async () => {
  const of = async (rule: string) => {
    const { budgets } = await read(`/v1/wallets/${wallet}/budgets`);
    return (budgets as Record<string, unknown>[]).find((budget) => budget['rule'] === rule);
  };
  expect(await of('sol.window')).toMatchObject({ limit: '1000000', spent: '0', remaining: '1000000', freesAt: null });
  await sign(5_000n);
  await sign(7_000n);
  await expect(sign(LIMIT_LAMPORTS + 1n)).rejects.toBeInstanceOf(PolicyDenied);
  expect(await of('sol.window')).toMatchObject({ spent: '12000', remaining: '988000', freesAt: expect.any(String) });
  expect(await of('rate.perMinute')).toMatchObject({ limit: '10', spent: '2', remaining: '8' });
  await expectProblem(await fetch(`${stack.url}/v1/wallets/${wallet}/budgets`), 'api_token_invalid');
});

it('decisions are those of the enclave, and lead to their receipts', async () => {
  const { decisions, next } = await read(`/v1/decisions?wallet=${wallet}`);
  expect(next).toBeNull();
  const kinds = (decisions as { kind: string }[]).map(({ kind }) => kind);
  expect(kinds).toEqual(['denied', 'signed', 'signed', 'policy-enabled', 'wallet-created']);
  const [denied, signed] = decisions as Record<string, string>[];
  expect(denied).toMatchObject({ rule: 'sol.maxPerTransaction', requester: requester.signer.address });
  expect(signed).toMatchObject({ lamportsOut: '7000', stateVersion: expect.any(String) });
  expect((await fetch(`${stack.url}/v1/receipts/${signed?.['requestId']}`)).status).toBe(200);
});

it('a freeze is listed, alerted and on the status page, which knows the PCRs and the witnesses', async () => {
  const scope = `wallet:${wallet}`;
  await adminCall(stack.adminSocket, 'freeze', { scope, reason: 'drill' });
  expect(await read('/v1/freezes')).toMatchObject({ count: 1, freezes: [{ scope, reason: 'drill' }] });
  await until('the alert is there', () => receiver.of('freeze.latched').length > 0);
  expect(receiver.of('freeze.latched')).toMatchObject([{ data: { scope, reason: 'drill' } }]);
  const page = async () => (await fetch(`http://127.0.0.1:${opsPort}/`)).text();
  await until('what is published is cosigned', async () => (await page()).includes('has cosigned what is published'));
  const shown = await page();
  expect(shown).toContain(`<dd>${stack.pcrs['0']}</dd>`);
  for (const part of [scope, 'drill', 'sol.maxPerTransaction', '2 have to cosign']) expect(shown).toContain(part);
});

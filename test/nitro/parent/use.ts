/** What owner, requester, auditor and operator do with a deployment that is ready. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { address } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { creationJson, enablingJson, signingRequest } from '../../support/http-requests.ts';
import { creation, party, policyDocument, transfer, wireOf } from '../../support/wallet-kit.ts';
import { DEPLOYMENT, LIMIT_LAMPORTS, PARENT, type ReportName, type Reports } from '../layout.ts';

type Report = <Name extends ReportName>(name: Name, facts: Reports[Name]) => void;

interface Answer {
  readonly status: number;
  readonly reply: Readonly<Record<string, unknown>>;
}

async function call(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init);
  return { status: response.status, reply: (await response.json()) as Record<string, unknown> };
}

async function succeeded(url: string, method: string, body: unknown): Promise<Answer['reply']> {
  const headers = { 'content-type': 'application/json' };
  const { status, reply } = await call(url, { method, headers, body: JSON.stringify(body) });
  if (status >= 300) throw new Error(`${method} ${url}: ${status} ${JSON.stringify(reply)}`);
  return reply;
}

/** @throws Error while the enclave is not there */
export async function attestation(url: string): Promise<Reports['attestation']> {
  const nonce = toHex(crypto.getRandomValues(new Uint8Array(32)));
  const { status, reply } = await call(`${url}/v1/attestation?nonce=${nonce}`);
  if (status !== 200) throw new Error(`no attestation: ${status} ${JSON.stringify(reply)}`);
  const { document, boot } = reply;
  return { document: String(document), boot: String(boot), nonce };
}

export async function useEnclave(url: string, adminSocket: string, report: Report): Promise<void> {
  report('attestation', await attestation(url));
  const [owner, requester, destination] = [party(), party(), party()];
  const created = await succeeded(`${url}/v1/wallets`, 'POST', creationJson(creation(DEPLOYMENT, owner, [requester])));
  const wallet = address(String(created['wallet']));
  report('wallet', { address: wallet });
  const policy = policyDocument({
    wallet,
    owner: owner.address,
    requesters: [requester.address],
    destinations: [destination.address],
    maxLamports: String(LIMIT_LAMPORTS),
  });
  const enabling = enablingJson({ deployment: DEPLOYMENT, document: policy, signer: owner });
  await succeeded(`${url}/v1/wallets/${wallet}/policy`, 'PUT', enabling);

  const sign = async (id: string, lamports: bigint) => {
    const transaction = transfer(wallet, destination.address, lamports);
    const request = signingRequest({ deployment: DEPLOYMENT, wallet, transaction, signer: requester, id });
    const answer = await call(`${url}/v1/sign`, { method: 'POST', ...request });
    return { ...answer, transaction: toBase64(wireOf(transaction)) };
  };
  report('signed', await sign('within', LIMIT_LAMPORTS));
  report('denied', await sign('beyond', LIMIT_LAMPORTS + 1n));
  report('kill', await kill(adminSocket));
  report('frozen', await sign('after', 1n));
}

/** `qv kill`, as an operator types it. */
async function kill(adminSocket: string): Promise<Reports['kill']> {
  const qv = join(PARENT.repository, 'host/src/cli/qv.ts');
  const args = ['kill', '--all', '--reason', 'test', '--admin', adminSocket, '--json'];
  const child = spawn(process.execPath, [qv, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  const output = await text(child.stdout);
  return { exitCode: await exited, output };
}

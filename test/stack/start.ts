/**
 * `npm start`: leaves the whole appliance running on this machine with a wallet and a policy, and prints how to call
 * it. Ctrl-C stops everything and removes the files. `-- --port <n>` chooses the port.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ownerFromSigner } from '@quantumvault/host/client/client.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { SIGN_PURPOSE } from '@quantumvault/shared/protocol/sign-request.ts';
import { catchInterruption, type Interruption } from './interruption.ts';
import { type Narrator, narrator } from './narrator.ts';
import { clientOf, firstPolicy, LIMIT_LAMPORTS, measurements, type Parties, sol, transfer } from './scenario.ts';
import { type Stack, startStack } from './stack.ts';
import { type ThrowawayKey, throwawayKey, writePrivate } from './throwaway.ts';

const REPOSITORY = join(import.meta.dirname, '..', '..');
const RUN = 'node .toolchain/run.mjs node';

function parsePort(): number {
  try {
    const { port = '0' } = parseArgs({ options: { port: { type: 'string' } } }).values;
    if (!/^[0-9]{1,5}$/.test(port) || Number(port) > 0xffff) throw new Error(`no port: ${port}`);
    return Number(port);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nusage: npm start [-- --port <n>]\n`);
    process.exit(2);
  }
}

interface Prepared {
  readonly parties: Parties;
  readonly panicCode: string;
  readonly files: Readonly<Record<'client' | 'pcrs' | 'signScript', string>>;
}

/** A wallet with its first policy, and in the stack's folder everything that the printed commands use. */
async function prepare(stack: Stack): Promise<Prepared> {
  const [owner, requester, destination] = [throwawayKey(), throwawayKey(), throwawayKey()];
  const client = clientOf(stack);
  const { wallet } = await client.createWallet({
    owner: ownerFromSigner(owner.signer),
    requesters: [requester.signer.address],
  });
  const parties: Parties = {
    wallet,
    owner: owner.signer.address,
    requester: requester.signer.address,
    destination: destination.signer.address,
  };
  const policy = firstPolicy(parties, Date.now());
  const { panicCode } = await client.enablePolicy({ owner: ownerFromSigner(owner.signer), policy });
  return { parties, panicCode, files: writeFiles(stack, parties, owner, requester) };
}

function writeFiles(stack: Stack, parties: Parties, owner: ThrowawayKey, requester: ThrowawayKey): Prepared['files'] {
  const file = (name: string, text: string): string => {
    const path = join(stack.dir, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const pcrs = file('pcrs.json', `${JSON.stringify(measurements(stack.pcrs), undefined, 2)}\n`);
  writePrivate(join(stack.dir, 'owner.key'), owner.secretKey);
  const requesterKey = writePrivate(join(stack.dir, 'requester.key'), requester.secretKey);
  const requesterDer = writePrivate(join(stack.dir, 'requester.der'), requester.pkcs8);
  const { url, deployment, kmsKeyArn, nsmRootPem } = stack;
  const root = file('nsm-root.pem', nsmRootPem);
  const facts = { url, deployment, kmsKeyArn, ...parties, requesterKey, pcrs, root };
  const client = file('client.json', `${JSON.stringify(facts, undefined, 2)}\n`);
  const transaction = toBase64(transfer(parties.wallet, parties.destination, 1_000_000n).wire);
  const body = { purpose: SIGN_PURPOSE, audience: deployment, wallet: parties.wallet, transaction };
  const request = file('request.json', JSON.stringify(body));
  return { client, pcrs, signScript: file('sign.sh', signScript(url, request, requesterDer)) };
}

/** The same request without the SDK: Standard Webhooks' signature over `id.timestamp.body`, by openssl. */
const signScript = (url: string, request: string, key: string): string => `#!/bin/sh
set -eu
id="shell-$(date +%s)-$$"
timestamp="$(date +%s)"
content="$(mktemp)"
trap 'rm -f "$content"' EXIT
{ printf '%s.%s.' "$id" "$timestamp"; cat '${request}'; } > "$content"
signature="$(openssl pkeyutl -sign -rawin -inkey '${key}' -keyform DER -in "$content" | base64 | tr -d '\\n')"
curl -sS '${url}/v1/sign' -H 'content-type: application/json' \\
  -H "webhook-id: $id" -H "webhook-timestamp: $timestamp" -H "webhook-signature: v1a,$signature" \\
  --data-binary @'${request}'
echo
`;

function explain(stack: Stack, { parties, panicCode, files }: Prepared, tell: Narrator): void {
  const { url, adminSocket, dir } = stack;
  const nonce = '00112233445566778899aabbccddeeff';
  tell.step('Running. Ctrl-C stops everything. The commands below are for the root of the repository.');
  tell.facts([
    ['Address', url],
    ['Wallet', parties.wallet],
    ['Policy', `up to ${sol(LIMIT_LAMPORTS)} per transaction to ${parties.destination}`],
    ['Panic code', `${panicCode}: freezes the wallet without any key (npm run -s qv -- panic --url ${url})`],
    ['Files', `${dir}: test keys owner.key, requester.key and operators/*.pem, logs of every process`],
  ]);
  const script = relative(REPOSITORY, join(import.meta.dirname, 'example.ts'));
  tell.note('Sign a transfer with the client SDK (add an amount in lamports to see a refusal):');
  tell.command(`${RUN} ${script} ${files.client}`);
  tell.command(`${RUN} ${script} ${files.client} ${LIMIT_LAMPORTS + 1n}`);
  tell.note('The same by hand, with openssl and curl:');
  tell.command(`sh ${files.signScript}`);
  tell.note('Look at it:');
  tell.command(`curl -s ${url}/readyz`);
  tell.command(`curl -s '${url}/v1/attestation?nonce=${nonce}'`);
  tell.command(`npm run -s qv -- status --admin ${adminSocket}`);
  const trust = `--pcrs ${files.pcrs} --unsafe-trusted-root ${join(dir, 'nsm-root.pem')}`;
  tell.note('Verify its attestation, under the root of the simulated security module:');
  tell.command(`npm run -s qv -- verify attestation ${url} ${trust}`);
  const witnesses = stack.witnesses.map(({ key }) => `--witness '${key}'`).join(' ');
  tell.note('Audit its log: every decision, under the keys of its three witnesses:');
  tell.command(`npm run -s qv -- verify log ${url} ${trust} ${witnesses} --witness-threshold 2`);
  tell.note('Stop signing, and prove that it stopped:');
  tell.command(`npm run -s qv -- kill --all --reason trial --admin ${adminSocket} --url ${url} ${trust}`);
  const freezeId = `$(npm run -s qv -- resume statement --all --admin ${adminSocket} | sed -n 's/^Freeze: //p')`;
  const keys = [1, 2].map((index) => `--operator-key ${join(dir, 'operators', `${index}.pem`)}`).join(' ');
  tell.note('Sign again, with the keys of two of its three operators:');
  tell.command(
    `npm run -s qv -- resume --all --freeze "${freezeId}" ${keys} --admin ${adminSocket} --url ${url} ${trust}`,
  );
}

/** Until somebody stops it, or a part of it ends by itself. */
async function untilStopped(stack: Stack, { signal }: Interruption): Promise<void> {
  const parts = [...Object.values(stack.processes), ...stack.witnesses.map(({ process }) => process), stack.host];
  const ended = parts.map(async ({ name, exited }) => {
    const how = await exited;
    // Ctrl-C reaches the whole group, so a part may be gone before this process has heard of it.
    await sleep(250);
    if (!signal.aborted) throw new Error(`the ${name} process ended by itself (${how}); see ${stack.dir}`);
  });
  const stopped = signal.aborted ? Promise.resolve() : once(signal, 'abort');
  await Promise.race([stopped, ...ended]);
}

const port = parsePort();
const interruption = catchInterruption();
const tell = narrator(process.stdout, 3);
let stack: Stack | undefined;
try {
  const progress = (what: string): void => {
    interruption.signal.throwIfAborted();
    tell.progress(what);
  };
  tell.step('Starting the processes: security module, key service, enclave, witnesses, host');
  stack = await startStack({ onStep: progress, port });
  interruption.signal.throwIfAborted();
  tell.step('Creating a wallet and enabling its first policy');
  const prepared = await prepare(stack);
  explain(stack, prepared, tell);
  await untilStopped(stack, interruption);
} catch (error) {
  if (!interruption.signal.aborted) {
    process.stderr.write(`\nstart: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
} finally {
  await stack?.stop();
  // Being stopped is how this ends: no failure.
  if (interruption.signal.aborted) tell.note('Stopped.');
}

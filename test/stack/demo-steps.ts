/** The demo's steps. Each either holds or throws; what is returned is what `--json` prints. */

import { AUDIT_DEPS } from '@quantumvault/host/cli/audit-report.ts';
import { openLogs } from '@quantumvault/host/cli/log-source.ts';
import { type Client, ownerFromSigner, PolicyDenied, type Signed } from '@quantumvault/host/client/client.ts';
import { verifyEd25519 } from '@quantumvault/host/client/keys.ts';
import { addressBytes, type BootId } from '@quantumvault/shared/brands.ts';
import { equalBytes, toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { auditLog } from '@quantumvault/shared/evidence/audit/audit.ts';
import { parseReceiptFile } from '@quantumvault/shared/evidence/receipt-file.ts';
import { verifyReceiptFile } from '@quantumvault/shared/evidence/verify-receipt-file.ts';
import { parseVerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { Transaction } from '@solana/web3.js';
import nacl from 'tweetnacl';
import type { Narrator } from './narrator.ts';
import { clientOf, firstPolicy, LIMIT_LAMPORTS, type Parties, pcrSetOf, sol, transfer } from './scenario.ts';
import { type Stack, startStack } from './stack.ts';
import { type ThrowawayKey, throwawayKey } from './throwaway.ts';

export const STEPS = 10;
const TRANSFER_LAMPORTS = 12_500_000n;

interface Scene {
  readonly stack: Stack;
  readonly client: Client;
  readonly tell: Narrator;
  readonly owner: ThrowawayKey;
  readonly requester: ThrowawayKey;
  readonly destination: ThrowawayKey;
}

/** Starts the stack, runs the steps, and stops everything however they end. `signal` ends it between two steps. */
export async function demo(tell: Narrator, signal: AbortSignal) {
  const startedAt = performance.now();
  const interruptible = stopBetween(tell, signal);
  interruptible.step('Start the processes: security module, key service, enclave, three witnesses, host');
  const stack = await startStack({ onStep: interruptible.progress, logLevel: 'warn' });
  try {
    interruptible.ok(`host on ${stack.url}; enclave measured and serving`);
    const keys = { owner: throwawayKey(), requester: throwawayKey(), destination: throwawayKey() };
    const found = await runSteps({ stack, client: clientOf(stack), tell: interruptible, ...keys });
    interruptible.step('Stop everything');
    await stack.stop();
    tell.ok('all processes ended, all files removed');
    return { ...found, seconds: Math.round((performance.now() - startedAt) / 100) / 10 };
  } finally {
    await stack.stop();
  }
}

/** Every step and every wait is a place where an interruption takes effect. */
function stopBetween(tell: Narrator, signal: AbortSignal): Narrator {
  const checked = (write: (text: string) => void) => (text: string) => {
    signal.throwIfAborted();
    write(text);
  };
  return { ...tell, step: checked(tell.step), progress: checked(tell.progress) };
}

async function runSteps(scene: Scene) {
  const { stack, owner, requester, destination } = scene;
  const created = await createWallet(scene);
  const parties: Parties = {
    wallet: created.wallet,
    owner: owner.signer.address,
    requester: requester.signer.address,
    destination: destination.signer.address,
  };
  const policy = await enablePolicy(scene, parties);
  const signed = await signTransfer(scene, parties);
  const refused = await overLimit(scene, parties);
  const dryRun = await judgeOnly(scene, parties);
  const attestation = await proveEnclave(scene, created.boot);
  const receipt = await proveReceipt(scene, signed.signed);
  const log = await auditLogs(scene);
  return {
    deployment: stack.deployment,
    ...parties,
    boot: created.boot,
    kmsKeyArn: created.kmsKeyArn,
    policy,
    signed: { ...signed.json, receipt },
    refused,
    dryRun,
    attestation,
    log,
  };
}

async function createWallet({ client, tell, owner, requester }: Scene) {
  tell.step('Create a wallet for a fresh owner key');
  let statement = '';
  const created = await client.createWallet({
    owner: ownerFromSigner(owner.signer, (text) => {
      statement = text;
      tell.note('The owner’s wallet shows this, and the owner signs it:');
      tell.quote(text);
    }),
    requesters: [requester.signer.address],
  });
  const { wallet, boot, certificate } = created;
  tell.ok('certificate verified: signed by the boot key, for this owner, nonce and requester');
  tell.ok(
    `boot key verified: live attestation of image ${shortened(toHex(boot.pcrSet.pcrs.get(0) ?? new Uint8Array()))}`,
  );
  tell.facts([
    ['Wallet', wallet],
    ['Owner', certificate.owner],
    ['Boot', boot.boot],
    ['KMS key', certificate.kmsKeyArn],
  ]);
  return { wallet, boot: boot.boot, kmsKeyArn: certificate.kmsKeyArn, statement };
}

async function enablePolicy({ client, tell, owner }: Scene, parties: Parties) {
  tell.step('Enable a policy: the owner reads it as a statement and signs that');
  let statement = '';
  const enabled = await client.enablePolicy({
    owner: ownerFromSigner(owner.signer, (text) => {
      statement = text;
      tell.quote(text);
    }),
    policy: firstPolicy(parties, Date.now()),
  });
  const hash = toHex(enabled.policyHash);
  tell.ok(`enabled as epoch ${enabled.epoch}; enable receipt and its leaf verified`);
  tell.facts([['Panic code', `${enabled.panicCode}, shown once: freezes this wallet without any key`]]);
  return { hash, epoch: enabled.epoch, statement, panicCode: enabled.panicCode };
}

async function signTransfer({ client, tell, requester }: Scene, { wallet, destination }: Parties) {
  tell.step(`Sign a transfer of ${sol(TRANSFER_LAMPORTS)}, built with @solana/web3.js`);
  const { transaction, wire } = transfer(wallet, destination, TRANSFER_LAMPORTS);
  const startedAt = performance.now();
  const signed = await client.sign({ wallet, transaction: wire, requester: requester.signer });
  const milliseconds = Math.round(performance.now() - startedAt);
  const message = Uint8Array.from(transaction.serializeMessage());
  check(
    nacl.sign.detached.verify(message, signed.signature, addressBytes(wallet)),
    'tweetnacl does not verify the signature',
  );
  tell.ok('signature verified with tweetnacl');
  const complete = Transaction.from(signed.transaction);
  check(complete.verifySignatures(true), 'web3.js does not verify the signature');
  check(equalBytes(complete.serializeMessage(), message), 'the signed message is another one');
  tell.ok('signed transaction verified with @solana/web3.js, ready to send');
  tell.facts([
    ['Signature', signed.signatureBase58],
    ['Leaves wallet', `${sol(signed.lamportsOut)} and a fee of ${sol(signed.feeLamports)}`],
    ['Took', `${milliseconds} ms, verification of the answer included`],
  ]);
  return {
    signed,
    json: {
      id: signed.id,
      signature: signed.signatureBase58,
      transaction: toBase64(signed.transaction),
      messageHash: toHex(signed.messageHash),
      lamportsOut: String(signed.lamportsOut),
      feeLamports: String(signed.feeLamports),
      verifiedBy: ['tweetnacl', '@solana/web3.js'],
      milliseconds,
    },
  };
}

async function overLimit({ client, tell, requester }: Scene, { wallet, destination }: Parties) {
  const lamports = LIMIT_LAMPORTS + 1n;
  tell.step(`Refuse a transfer of ${sol(lamports)}: the limit is ${sol(LIMIT_LAMPORTS)}`);
  const { wire } = transfer(wallet, destination, lamports);
  const denied = await client.sign({ wallet, transaction: wire, requester: requester.signer }).then(
    () => fail('the transfer over the limit was signed'),
    (error: unknown) => {
      if (error instanceof PolicyDenied) return error;
      throw error;
    },
  );
  const { path: rule = '', value = '' } = denied.facts;
  tell.no(`${denied.code}: rule ${rule}, value ${value}`);
  tell.ok(`refused by the enclave, not only by the host: its signed leaf ${denied.leaf.sequence} says so`);
  return { code: denied.code, rule, value, sequence: Number(denied.leaf.sequence) };
}

async function judgeOnly({ client, tell, requester }: Scene, { wallet, requester: stranger }: Parties) {
  tell.step('Dry run: what would the policy say to a transfer to somebody else?');
  const { wire } = transfer(wallet, stranger, 1_000n);
  const { verdict, rules, lamportsOut } = await client.dryRun({
    wallet,
    transaction: wire,
    requester: requester.signer,
  });
  check(verdict === 'deny', 'the dry run allows an unlisted destination');
  for (const { rule, outcome, value } of rules) {
    const text = value === undefined ? rule : `${rule} (${value})`;
    if (outcome === 'allow') tell.ok(text);
    else tell.no(text);
  }
  tell.note(`verdict: ${verdict}. Nothing was signed or written.`);
  return { verdict, rules, lamportsOut: String(lamportsOut) };
}

async function proveEnclave({ client, tell }: Scene, boot: BootId) {
  tell.step('Verify the enclave’s attestation document over a fresh nonce');
  const attested = await client.attestation();
  check(attested.boot === boot, 'another boot answers than created the wallet');
  const { document, report, userData } = attested;
  for (const { title, found, status } of report.steps) {
    const text = `${title}${found === '' ? '' : `: ${found}`}`;
    if (status === 'pass') tell.ok(text);
  }
  tell.ok(`user_data binds the boot key, the configuration and version ${userData.version}`);
  const pcrs = Object.fromEntries(
    [...document.pcrs].filter(([index]) => index <= 4).map(([index, value]) => [`PCR${index}`, toHex(value)]),
  );
  tell.facts([...Object.entries(pcrs), ['Boot key', attested.boot], ['Configuration', toHex(userData.configHash)]]);
  tell.note('The root is the simulated module’s, trusted here by name; the product trusts AWS’s alone.');
  return {
    moduleId: document.moduleId,
    time: new Date(document.timestampMs).toISOString(),
    proves: report.proves,
    pcrs,
    configHash: toHex(userData.configHash),
    steps: report.steps.map(({ name, status }) => ({ name, status })),
    document: toBase64(attested.documentBytes),
  };
}

/** What an auditor expects of this deployment. */
function expectations({ pcrs, nsmRootDer, logOrigin, witnesses }: Stack) {
  return {
    pcrSets: [pcrSetOf(pcrs)],
    unsafeTrustedRootDer: nsmRootDer,
    logOrigin,
    witnesses: witnesses.map(({ key }) => parseVerifierKey(key)),
    witnessThreshold: 2,
  };
}

async function proveReceipt({ stack, tell }: Scene, { id, receipt, signature, transaction }: Signed) {
  tell.step('Verify the receipt of the signature offline, as a file of its own');
  const response = await fetch(`${stack.url}/v1/receipts/${id}`);
  const file = new Uint8Array(await response.arrayBuffer());
  const expected = {
    ...expectations(stack),
    message: Uint8Array.from(Transaction.from(transaction).serializeMessage()),
    signature,
  };
  const report = await verifyReceiptFile(file, expected, verifyEd25519);
  for (const { title, found, status } of report.steps) if (status === 'pass') tell.ok(`${title}: ${found}`);
  if (!report.ok) fail(`the receipt does not verify: ${report.failure.code}`);
  const { leaf, witnesses } = report.receipt;
  check(equalBytes(parseReceiptFile(file).receipt.leaf, receipt.leaf), 'the reply brought another leaf');
  tell.facts([
    ['Leaf', `${leaf.sequence}, ${leaf.kind}, at ${new Date(leaf.time).toISOString()}`],
    ['Requester', leaf.actor ?? ''],
    ['Request id', leaf.requestId ?? ''],
    ['Policy', toHex(leaf.policyHash ?? new Uint8Array())],
    ['Witnesses', String(witnesses.length)],
  ]);
  return {
    sequence: Number(leaf.sequence),
    kind: leaf.kind,
    witnesses: witnesses.length,
    leaf: toBase64(receipt.leaf),
    signature: toBase64(receipt.signature),
  };
}

async function auditLogs({ stack, tell }: Scene) {
  tell.step('Audit the whole log as an outsider: every decision, none missing');
  const report = await auditLog(await openLogs(stack.url), expectations(stack), AUDIT_DEPS);
  for (const { title, found, status } of report.steps) if (status === 'pass') tell.ok(`${title}: ${found}`);
  check(report.ok, `the log does not verify: ${report.findings[0]?.code}`);
  return { leaves: Number(report.leaves), kinds: report.kinds, boots: report.boots.length };
}

const shortened = (hex: string): string => `${hex.slice(0, 12)}…`;

function check(holds: boolean, otherwise: string): void {
  if (!holds) fail(otherwise);
}

function fail(why: string): never {
  throw new Error(why);
}

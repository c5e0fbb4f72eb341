/**
 * The first signature of a new deployment, from outside: proves the enclave, makes a wallet, has its owner sign a
 * policy, and has a transfer signed that no cluster will ever take, because its blockhash is made up. Everything is
 * verified as a trading backend would: see ../src/client.
 *
 *   node .toolchain/run.mjs node host/deploy/first-signature.ts --url <https://…> --deployment <name>
 *     --pcrs measurements.json --key <ARN of the KMS key> --owner owner.json --requester requester.json
 *     [--unsafe-trusted-root <pem>]
 *
 * The two key files are of `solana-keygen new`. Ends with 0 and one JSON object, else with 1.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Address, addressBytes } from '@quantumvault/shared/brands.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { readPcrSets, readRoot } from '../src/cli/input.ts';
import { createClient, ownerFromSigner, type Signer } from '../src/client/client.ts';
import { signerFromSecretKey } from '../src/client/node.ts';

const LAMPORTS = 1n;
const POLICY_MILLISECONDS = 3_600_000;

function required(name: string): string {
  const value = values[name as keyof typeof values];
  if (value === undefined) throw new QvError('usage_invalid', { path: `--${name}`, value: 'missing' });
  return value;
}

function signerOf(path: string): Signer {
  let secretKey: Uint8Array;
  try {
    secretKey = Uint8Array.from(JSON.parse(readFileSync(path, 'utf8')) as readonly number[]);
  } catch (error) {
    throw new QvError('input_unreadable', { path }, { cause: error });
  }
  try {
    return signerFromSecretKey(secretKey);
  } finally {
    secretKey.fill(0);
  }
}

/** May send `LAMPORTS` to its owner for an hour: what the test below needs, and nothing that anybody would miss. */
function policyOf(wallet: Address, owner: Address, requester: Address) {
  const time = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
  return {
    version: 1,
    wallet,
    owner,
    epoch: 1,
    validFrom: time(Date.now() - 60_000),
    validUntil: time(Date.now() + POLICY_MILLISECONDS),
    requesters: [requester],
    transaction: { versions: ['legacy'], lookupTables: {}, durableNonce: false, maxInstructions: 1 },
    fees: { maxLamports: '10000' },
    sol: { maxPerTransaction: String(LAMPORTS), destinations: [owner] },
    tokens: [],
    programs: [],
  };
}

/** A legacy transaction with one System transfer and an empty signature slot; its blockhash is drawn at random. */
function transferTransaction(from: Address, to: Address): Uint8Array {
  const data = Buffer.alloc(12);
  data.writeUInt32LE(2, 0); // SystemInstruction::Transfer
  data.writeBigUInt64LE(LAMPORTS, 4);
  const message = Buffer.concat([
    Buffer.from([1, 0, 1]), // signers, signers that are read-only, others that are read-only
    Buffer.from([3]), // accounts: payer, destination, the System program, whose address is 32 zeros
    addressBytes(from),
    addressBytes(to),
    Buffer.alloc(32),
    crypto.getRandomValues(Buffer.alloc(32)), // blockhash
    Buffer.from([1, 2, 2, 0, 1, data.length]), // one instruction: program 2, two accounts: 0 and 1
    data,
  ]);
  return Uint8Array.from(Buffer.concat([Buffer.from([1]), Buffer.alloc(64), message]));
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    url: { type: 'string' },
    deployment: { type: 'string' },
    pcrs: { type: 'string' },
    key: { type: 'string' },
    owner: { type: 'string' },
    requester: { type: 'string' },
    'unsafe-trusted-root': { type: 'string' },
  },
});

try {
  const [owner, requester] = [signerOf(required('owner')), signerOf(required('requester'))];
  const root = values['unsafe-trusted-root'];
  const client = createClient({
    url: required('url'),
    deployment: required('deployment'),
    trust: {
      pcrSets: readPcrSets(required('pcrs')),
      kmsKeyArn: required('key'),
      ...(root !== undefined && { unsafeTrustedRootDer: readRoot(root) }),
    },
  });
  const { boot } = await client.attestation();
  say(`attested: boot ${boot}`);
  const reader = ownerFromSigner(owner, (text) => say(`\nthe owner reads and signs:\n${text}`));
  const { wallet } = await client.createWallet({ owner: reader, requesters: [requester.address] });
  const { panicCode } = await client.enablePolicy({
    owner: reader,
    policy: policyOf(wallet, owner.address, requester.address),
  });
  const transaction = transferTransaction(wallet, owner.address);
  const { id, signatureBase58, lamportsOut, leaf } = await client.sign({ wallet, transaction, requester });
  const answer = { wallet, panicCode, requestId: id, signature: signatureBase58, lamportsOut: String(lamportsOut) };
  process.stdout.write(`${JSON.stringify({ boot, ...answer, leaf: String(leaf.sequence) })}\n`);
} catch (error) {
  const facts = error instanceof QvError ? error.facts : { value: String(error) };
  process.stderr.write(`${JSON.stringify({ code: codeOf(error), ...facts })}\n`);
  process.exitCode = 1;
}

/** qv import: brings a key that exists outside into an attested enclave. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { CreatedWallet, ImportTarget } from '../../client/client.ts';
import { attestedHost, IMAGE_OPTIONS } from '../attested-host.ts';
import type { Arguments, Command, Result } from '../command.ts';
import { KEY_DETAILS, KEY_OPTIONS, keyOptions } from '../import/key-options.ts';
import { OWNER_OPTIONS, requireOwner, withOwner } from '../import/owner.ts';
import { type ReadSeedOptions, readSeed } from '../import/read-key.ts';
import { sealForImport } from '../import/seal.ts';
import { DEPLOYMENT, walletOptions, warningLines } from '../succession/words.ts';
import { printable, table, tick } from '../terminal.ts';

export const importKey: Command = {
  name: 'import',
  summary: 'Seal a key that exists outside to an enclave that has proved itself, and make it a wallet.',
  details: [
    'For the machine of the owner. The enclave proves itself by a live attestation over a nonce of qv’s own',
    'before a key is read; the key is sealed to one that was born in that boot, for the statement that the',
    'owner signs, and the host carries bytes that only that boot opens.',
    ...KEY_DETAILS,
    'Whoever has a copy of the key still signs without any enclave: move what it holds to a wallet that was',
    'born inside, if that matters. When the answer was lost, call it again.',
  ],
  options: {
    url: { value: '<url>', help: 'the host’s HTTP address', required: true },
    deployment: DEPLOYMENT,
    ...KEY_OPTIONS,
    ...OWNER_OPTIONS,
    requester: {
      value: '<address>',
      help: `whom the owner means to let ask for signatures, up to ${LIMITS.requesters}; the policy decides`,
      required: true,
      multiple: true,
    },
    'kms-key': { value: '<arn>', help: 'the KMS key that the wallet has to be under' },
    ...IMAGE_OPTIONS,
  },
  readsKey: true,
  run: async (args, output) => {
    const requesters = requesterOptions(args);
    const wallet = address(args.text('wallet'), '--wallet');
    const key = keyOptions(args);
    requireOwner(args);
    const { client, warnings } = await attestedHost(args);
    const { result, statement } = await withOwner(args, output, (owner) =>
      client.importWallet({ owner, wallet, requesters, seal: (target) => readAndSeal(key, target) }),
    );
    return resultOf(result, statement, warnings);
  },
};

/** The key is here for as long as it takes to seal it: after the owner has signed, before anything is sent. */
async function readAndSeal(key: ReadSeedOptions, target: ImportTarget): Promise<Uint8Array> {
  const seed = await readSeed(key);
  try {
    return await sealForImport(seed, target);
  } finally {
    seed.wipe();
  }
}

/** @throws QvError base58_malformed, usage_invalid */
function requesterOptions(args: Arguments): readonly Address[] {
  const requesters = walletOptions(args, 'requester') ?? [];
  if (requesters.length > LIMITS.requesters)
    throw new QvError('usage_invalid', { value: `--requester: at most ${LIMITS.requesters}` });
  return requesters;
}

function resultOf(
  { boot, certificate, evidence }: CreatedWallet,
  statement: string,
  warnings: readonly string[],
): Result {
  const { wallet, owner, requesters, kmsKeyArn } = certificate;
  return {
    exit: 'ok',
    json: {
      wallet,
      owner,
      requesters,
      boot: boot.boot,
      image: boot.pcrSet.name,
      kmsKeyArn,
      imported: true,
      statement,
      warnings,
      certificate: { bytes: toBase64(evidence.certificate.bytes), signature: toBase64(evidence.certificate.signature) },
      receipt: { leaf: toBase64(evidence.receipt.leaf), signature: toBase64(evidence.receipt.signature) },
    },
    text: (style) => [
      ...warningLines(warnings, style),
      `${tick(style)} ${style('bold', 'Imported')}, into an enclave that has proved itself. Next: a policy.`,
      ...table(
        [
          ['Wallet', wallet],
          ['Owner', owner],
          ['Boot', `${boot.boot}, version ${printable(boot.userData.version)}`],
          ['Image', printable(boot.pcrSet.name)],
          ['KMS key', printable(kmsKeyArn)],
        ],
        style,
      ),
      'The owner signed:',
      ...statement.split('\n').map((line) => style('dim', `  ${printable(line)}`)),
      style('yellow', 'Whoever has a copy of the key signs without this enclave.'),
    ],
  };
}

/** qv wallet retire: its owner ends a wallet for good. */
import { address } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import type { RetiredWallet } from '../../client/client.ts';
import { attestedHost, IMAGE_OPTIONS } from '../attested-host.ts';
import type { Command, Result } from '../command.ts';
import { confirmByTyping } from '../confirm.ts';
import { OWNER_OPTIONS, requireOwner, withOwner } from '../import/owner.ts';
import { DEPLOYMENT, warningLines } from '../succession/words.ts';
import { printable, table, tick } from '../terminal.ts';

export const CONSEQUENCES = [
  'No enclave signs for this wallet again, whatever policy, resume or restore follows.',
  'What is left in it stays there for good: move it out before, under the policy that is enabled.',
  'Copies of the wallet’s ciphertext elsewhere, as in backups, cannot be destroyed by this.',
] as const;

export const walletRetire: Command = {
  name: 'wallet retire',
  summary: 'End a wallet for good, by its owner’s signature: it never signs again.',
  details: [
    'For the machine of the owner. The enclave that holds the wallet proves itself by a live attestation;',
    'the owner signs a statement that names wallet, policy and that boot; the answer is verified.',
    ...CONSEQUENCES,
    'A freeze does not hinder it. When the answer was lost, wallet_retired says that it was done.',
  ],
  options: {
    url: { value: '<url>', help: 'the host’s HTTP address', required: true },
    deployment: DEPLOYMENT,
    wallet: { value: '<address>', help: 'the wallet to end', required: true },
    ...OWNER_OPTIONS,
    yes: { help: 'do not ask whether that is what is wanted' },
    ...IMAGE_OPTIONS,
  },
  readsKey: true,
  run: async (args, output) => {
    const wallet = address(args.text('wallet'), '--wallet');
    requireOwner(args);
    const { client, warnings } = await attestedHost(args);
    if (!args.flag('yes')) {
      const what = `Retiring ${wallet} cannot be taken back:`;
      await confirmByTyping({ what, consequences: CONSEQUENCES, word: wallet }, output.stderr);
    }
    const { result, statement } = await withOwner(args, output, (owner) => client.retireWallet({ owner, wallet }));
    return resultOf(result, statement, warnings);
  },
};

function resultOf(
  { wallet, boot, ack, evidence }: RetiredWallet,
  statement: string,
  warnings: readonly string[],
): Result {
  const policyHash = ack.policyHash === undefined ? null : toHex(ack.policyHash);
  return {
    exit: 'ok',
    json: {
      wallet,
      owner: ack.owner,
      policyHash,
      retiredAt: new Date(ack.time).toISOString(),
      boot: boot.boot,
      image: boot.pcrSet.name,
      statement,
      consequences: CONSEQUENCES,
      warnings,
      ack: { bytes: toBase64(evidence.ack.bytes), signature: toBase64(evidence.ack.signature) },
      receipt: { leaf: toBase64(evidence.receipt.leaf), signature: toBase64(evidence.receipt.signature) },
    },
    text: (style) => [
      ...warningLines(warnings, style),
      `${tick(style)} ${style('bold', 'Retired')}, for good.`,
      ...table(
        [
          ['Wallet', wallet],
          ['Owner', ack.owner],
          ['Policy', policyHash ?? 'none'],
          ['Boot', `${boot.boot}, version ${printable(boot.userData.version)}`],
          ['Image', printable(boot.pcrSet.name)],
        ],
        style,
      ),
      'The owner signed:',
      ...statement.split('\n').map((line) => style('dim', `  ${printable(line)}`)),
      style('yellow', CONSEQUENCES[2]),
    ],
  };
}

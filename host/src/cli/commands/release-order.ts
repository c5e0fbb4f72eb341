/** qv release order: one operator orders a living boot to hand wallets over (design 8). */
import { QvError } from '@quantumvault/shared/errors.ts';
import { type ReleaseOrder, releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { Command } from '../command.ts';
import { writeOrderFile } from '../succession/files.ts';
import { NOT_AFTER, notAfter, untilText } from '../succession/not-after.ts';
import { OPERATOR_KEY, operatorKey } from '../succession/operator-key.ts';
import { attestedSuccessor, SUCCESSOR_OPTIONS } from '../succession/successor.ts';
import { bootOption, DEPLOYMENT, deploymentOption, walletOptions, warningLines } from '../succession/words.ts';
import { printable, table, tick } from '../terminal.ts';

export const releaseOrder: Command = {
  name: 'release order',
  summary: 'Sign an order: one enclave boot hands its wallets over to another, which is verified first.',
  details: [
    'For planned restarts and upgrades, while the old enclave still lives. The successor proves itself by',
    'a live attestation over a nonce of qv’s own; nothing is signed when that fails. One operator’s word is',
    'enough: a wallet that is released to nobody is out of use, and no more than that.',
    'Without --wallet the order is for all wallets. Next: qv release apply on the old host.',
  ],
  options: {
    from: { value: '<boot>', help: 'the boot that holds the wallets (qv status)', required: true },
    to: { value: '<boot>', help: 'the boot that is to hold them', required: true },
    wallet: { value: '<wallet>', help: `only this one; up to ${LIMITS.leaseWallets}`, multiple: true },
    deployment: DEPLOYMENT,
    'operator-key': OPERATOR_KEY,
    'not-after': NOT_AFTER,
    out: { value: '<file>', help: 'where the order is written', required: true },
    ...SUCCESSOR_OPTIONS,
    url: { ...SUCCESSOR_OPTIONS.url, required: true },
  },
  run: async (args) => {
    const [predecessor, successor] = [bootOption(args, 'from'), bootOption(args, 'to')];
    if (predecessor === successor) throw new QvError('usage_invalid', { value: '--from and --to are one boot' });
    const wallets = walletOptions(args);
    if ((wallets?.length ?? 0) > LIMITS.leaseWallets)
      throw new QvError('usage_invalid', { value: `--wallet: at most ${LIMITS.leaseWallets}, or none for all` });
    const deployment = deploymentOption(args);
    const order: ReleaseOrder = {
      deployment,
      predecessor,
      successor,
      ...(wallets && { wallets }),
      notAfter: notAfter(args),
    };
    const operator = operatorKey(args.text('operator-key'));
    const { attested, warnings } = await attestedSuccessor(args, successor);
    const bytes = encodeAs(releaseOrderCodec, order);
    const signature = operator.sign(bytes);
    const out = args.text('out');
    await writeOrderFile(out, { bytes, signatures: [signature] });
    return {
      exit: 'ok',
      json: {
        out,
        warnings,
        order: { ...order, notAfter: new Date(order.notAfter).toISOString() },
        operator: operator.address,
      },
      text: (style) => [
        ...warningLines(warnings, style),
        `${tick(style)} ${style('bold', 'Signed')}, for a successor that has proved itself.`,
        ...table(
          [
            ['From', predecessor],
            ['To', `${attested.boot}, version ${printable(attested.userData.version)}`],
            ['Wallets', wallets === undefined ? 'all that it holds' : String(wallets.length)],
            ['Deployment', deployment],
            ['Counts until', untilText(order.notAfter)],
            ['Operator', operator.address],
            ['Written', printable(out)],
          ],
          style,
        ),
      ],
    };
  },
};

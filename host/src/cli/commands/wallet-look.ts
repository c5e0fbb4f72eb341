/** qv wallet look: writes down what is in a wallet, for a sweep of a machine without an RPC endpoint. */
import { address } from '@quantumvault/shared/brands.ts';
import { writeAtomically } from '../atomic-file.ts';
import type { Command } from '../command.ts';
import { requireOther } from '../sweep/destination.ts';
import { lookAt, recentBlockhash } from '../sweep/found.ts';
import { planFileJson } from '../sweep/plan-file.ts';
import { NOT_LOOKED_FOR } from '../sweep/report.ts';
import { rpcTo } from '../sweep/rpc.ts';
import { table, tick } from '../terminal.ts';

export const walletLook: Command = {
  name: 'wallet look',
  summary: 'Write down what is in a wallet, for qv wallet sweep --plan on a machine without an RPC endpoint.',
  details: [
    'Needs neither host nor key. The file holds a blockhash, under which transactions count for about a minute:',
    'sign them and send them at once.',
    NOT_LOOKED_FOR,
  ],
  options: {
    rpc: { value: '<url>', help: 'a Solana RPC endpoint', required: true },
    wallet: { value: '<address>', help: 'the wallet to look at', required: true },
    to: { value: '<address>', help: 'the wallet that everything is to go to', required: true },
    out: { value: '<file>', help: 'where the plan is written', required: true },
  },
  run: async (args) => {
    const wallet = address(args.text('wallet'), '--wallet');
    const destination = requireOther(wallet, address(args.text('to'), '--to'));
    const rpc = rpcTo(args.text('rpc'));
    const found = await lookAt(rpc, wallet, destination);
    const plan = planFileJson(found, await recentBlockhash(rpc));
    const out = args.text('out');
    await writeAtomically(out, `${JSON.stringify(plan, undefined, 2)}\n`);
    return {
      exit: 'ok',
      json: { out, ...plan },
      text: (style) => [
        `${tick(style)} Written to ${out}.`,
        ...table(
          [
            ['Lamports', found.lamports.toString()],
            ['Token accounts', String(found.tokens.length)],
          ],
          style,
        ),
      ],
    };
  },
};

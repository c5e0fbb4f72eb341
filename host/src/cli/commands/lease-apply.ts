/** qv lease apply: the successor's enclave takes what operators leased to it. */
import { codeOf } from '@quantumvault/shared/errors.ts';
import { operatorSignedJson } from '../../admin/succession-json.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Command } from '../command.ts';
import { readLeaseFile } from '../succession/files.ts';
import { moveCall, movesExit, movesText, takeAll } from '../succession/moves.ts';
import { oneOperand } from '../text-input.ts';

export const leaseApply: Command = {
  name: 'lease apply',
  summary: 'Have the successor’s enclave take the wallets that operators leased to it.',
  details: [
    'Each wallet is taken from its row in that host’s database. Given again, what was taken stays taken.',
    'With --predecessor-admin the leases are shown to the old enclave first. Should it still live, it signs for',
    'those wallets no more; that it does not answer is what a lease is for, and no failure.',
    'At the end the log is published, which has to show what was taken.',
  ],
  operands: '<lease file>',
  options: {
    admin: ADMIN_OPTION,
    'predecessor-admin': { value: '<socket>', help: 'the old host’s admin socket, where it still runs' },
  },
  run: async (args) => {
    const entries = readLeaseFile(oneOperand(args, 'lease file'));
    const [socket, old] = [adminSocket(args), args.optional('predecessor-admin')?.replace(/^unix:/, '')];
    const leases = entries.map(({ signed, lease }) => ({ json: operatorSignedJson(signed), lease }));
    const shown: ({ readonly given: number } | { readonly code: string })[] = [];
    if (old !== undefined)
      for (const { json } of leases)
        shown.push(
          await moveCall(old, 'lease-show', { lease: json }).catch((error: unknown) => ({ code: codeOf(error) })),
        );
    const wallets = leases.flatMap(({ json, lease }) => lease.wallets.map(({ wallet }) => ({ wallet, lease: json })));
    const { moves, json } = await takeAll(socket, wallets, (parameters) => parameters);
    return {
      exit: movesExit(moves),
      json: { ...json, ...(old !== undefined && { shown }) },
      text: (style) => [
        ...shown.map((answer) =>
          'given' in answer
            ? style('yellow', `The old enclave lives: it gave up ${answer.given} wallets.`)
            : style('dim', `The old enclave was not shown this lease: ${answer.code}.`),
        ),
        ...movesText(moves, style),
      ],
    };
  },
};

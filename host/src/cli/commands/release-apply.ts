/** qv release apply: gives an order to the old host, and writes down what its enclave gave away. */
import { codeOf } from '@quantumvault/shared/errors.ts';
import { operatorSignedJson } from '../../admin/succession-json.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Command } from '../command.ts';
import { readOrderFile } from '../succession/files.ts';
import {
  eachOf,
  type Failure,
  failureOf,
  type Moves,
  moveCall,
  movesExit,
  movesText,
  publishLog,
} from '../succession/moves.ts';
import { ReleasesFile } from '../succession/releases-file.ts';
import { printable, table } from '../terminal.ts';
import { oneOperand } from '../text-input.ts';

export const releaseApply: Command = {
  name: 'release apply',
  summary: 'Have the old host’s enclave release its wallets as an order says, into a file.',
  details: [
    'From its release on the old enclave signs nothing for a wallet. Each release is on the disk before the',
    'next is asked for; given again, the command goes on where it ended, and the enclave answers as before.',
    'At the end the old boot’s log is published, which has to show the releases before that boot ends.',
    'Keep the old host and enclave running until qv release take is done: then no release can be lost.',
  ],
  operands: '<order file>',
  options: {
    admin: ADMIN_OPTION,
    out: { value: '<file>', help: 'releases, for qv release take; goes on with one of the same order', required: true },
  },
  run: async (args) => {
    const { signed, order } = readOrderFile(oneOperand(args, 'order file'));
    const socket = adminSocket(args);
    const out = args.text('out');
    const json = operatorSignedJson(signed);
    const file = await ReleasesFile.open(out, order);
    const before = file.size;
    const failures: Failure[] = [];
    let [elsewhere, retired] = [0, 0];
    try {
      await eachOf(order.wallets ?? everyRow(socket), async (wallet) => {
        if (file.has(wallet)) return;
        try {
          file.add(wallet, await moveCall(socket, 'release', { wallet, order: json }));
        } catch (error) {
          // Of all rows some are others' wallets; of those that were named none should be.
          if (order.wallets === undefined && codeOf(error) === 'wallet_unknown') elsewhere++;
          // It signs nothing, and has no use for a successor.
          else if (codeOf(error) === 'wallet_retired') retired++;
          else failures.push(failureOf(wallet, error));
        }
      });
    } finally {
      file.close();
    }
    const released = file.size - before;
    const moves: Moves = {
      counts: [
        ['released', released],
        ['released before', before],
        ['not held here', elsewhere],
        ['retired, which stay', retired],
      ],
      failures,
      unpublished: await publishLog(socket),
    };
    return {
      exit: movesExit(moves),
      json: { out, released, before, elsewhere, retired, published: moves.unpublished === undefined, failures },
      text: (style) => [...movesText(moves, style), ...table([['Written', printable(out)]], style)],
    };
  },
};

async function* everyRow(socket: string): AsyncGenerator<string> {
  for (let after: string | undefined; ; ) {
    const { wallets } = await moveCall(socket, 'wallets', after === undefined ? {} : { after });
    yield* wallets;
    after = wallets.at(-1);
    if (after === undefined) return;
  }
}

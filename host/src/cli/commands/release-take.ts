/** qv release take: the new host's enclave takes what was released to it. */
import { stateJson } from '../../admin/succession-json.ts';
import { signedBytesJson } from '../../wire-json.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Command } from '../command.ts';
import { movesExit, movesText, takeAll } from '../succession/moves.ts';
import { readReleases } from '../succession/releases-file.ts';
import { oneOperand } from '../text-input.ts';

export const releaseTake: Command = {
  name: 'release take',
  summary: 'Have the new host’s enclave take the wallets that were released to it.',
  details: [
    'Each wallet is taken from its row in the new host’s database, or from the state in the file where that is',
    'newer. Windows, rates, the policy and freezes come along. Given again, what was taken stays taken.',
    'At the end the log is published, which has to show what was taken.',
  ],
  operands: '<releases file>',
  options: { admin: ADMIN_OPTION },
  run: async (args) => {
    const source = oneOperand(args, 'releases file');
    const socket = adminSocket(args);
    const { moves, json } = await takeAll(socket, readReleases(source), ({ wallet, release, state }) => ({
      wallet,
      release: signedBytesJson(release),
      state: stateJson(state),
    }));
    return { exit: movesExit(moves), json, text: (style) => movesText(moves, style) };
  },
};

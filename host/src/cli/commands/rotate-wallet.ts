/** qv rotate wallet: one wallet under a fresh key. */

import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Command } from '../command.ts';
import { rotateCall } from '../rotate-call.ts';
import { printableTable, tick } from '../terminal.ts';
import { oneOperand } from '../text-input.ts';

export const rotateWallet: Command = {
  name: 'rotate wallet',
  summary: 'Put one wallet under a fresh execution key and salt; it goes on signing meanwhile.',
  details: [
    'The enclave moves the wallet’s seed, inside of it, from the old execution key to a new one, and writes a',
    'leaf. Its address, policy, windows and freezes stay. The old blobs count no more here; copies of them, in',
    'backups, still open for the measured image as long as their KMS key is there.',
  ],
  operands: '<wallet>',
  options: { admin: ADMIN_OPTION },
  run: async (args) => {
    const wallet = oneOperand(args, 'wallet');
    const { at } = await rotateCall(adminSocket(args), { wallet });
    return {
      exit: 'ok',
      json: { wallet, rotated: true, at },
      text: (style) => [
        `${tick(style)} The wallet has a fresh key and salt.`,
        ...printableTable(
          [
            ['Wallet', wallet],
            ['Made', at],
          ],
          style,
        ),
      ],
    };
  },
};

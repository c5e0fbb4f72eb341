/** qv successor show: who may follow a wallet's owner, and whether he has claimed it. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { JsonFields } from '@quantumvault/shared/json.ts';
import { exchange, readResponse } from '../../client/http.ts';
import { successorField } from '../../successor-json.ts';
import type { Command } from '../command.ts';
import { hostConnection, requireUrl } from '../host-connection.ts';
import { printable, table } from '../terminal.ts';

export const successorShow: Command = {
  name: 'successor show',
  summary: 'Show who may become a wallet’s owner, and whether his claim runs.',
  details: [
    'It is the host’s word, from the log that it serves; it exits with 6 while a claim runs. Whoever must not miss',
    'one audits the log, with witnesses: qv verify log lists the claims that run.',
  ],
  options: {
    url: { value: '<url>', help: 'the host’s HTTP address', required: true },
    wallet: { value: '<address>', help: 'the wallet', required: true },
  },
  run: async (args) => {
    const wallet = address(args.text('wallet'), '--wallet');
    const connection = hostConnection(requireUrl(args));
    const fields = await exchange(connection, { method: 'GET', path: `v1/wallets/${wallet}` });
    const { owner, ...found } = readResponse(() => factsOf(fields));
    const { successor, takeover } = found;
    return {
      exit: takeover === null ? 'ok' : 'warning',
      json: { wallet, owner, ...found },
      text: (style) => [
        ...(takeover === null ? [] : [style(['bold', 'red'], '! The successor has claimed this wallet.')]),
        ...table(
          [
            ['Wallet', wallet],
            ['Owner', owner],
            ['Successor', successor === null ? 'nobody' : successor.key],
            ...(successor === null ? [] : [['Delay', `${successor.delayDays} days`] as const]),
            ...(takeover === null
              ? []
              : ([
                  ['Claimed at', printable(takeover.claimedAt)],
                  ['Owner can cancel until', printable(takeover.dueAt)],
                ] as const)),
            ['Changes so far', String(found.change)],
          ],
          style,
        ),
      ],
    };
  },
};

/** @throws QvError as readers of fields do */
function factsOf(fields: JsonFields) {
  const owner: Address = address(fields.text('owner'), 'owner');
  if (fields.required('succession') === null) return { owner, change: 0, successor: null, takeover: null };
  const succession = new JsonFields(fields.required('succession'), 'succession');
  const change = succession.integer('change', 0xffff_ffff);
  const successor = succession.required('successor') === null ? null : successorField(succession, 'successor');
  if (succession.required('takeover') === null) return { owner, change, successor, takeover: null };
  const takeover = new JsonFields(succession.required('takeover'), 'succession.takeover');
  const [claimedAt, dueAt] = [takeover.text('claimedAt'), takeover.text('dueAt')];
  return { owner, change, successor, takeover: { claimedAt, dueAt } };
}

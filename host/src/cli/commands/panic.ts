/** qv panic: an owner's stop button, for one wallet. */
import { QvError } from '@quantumvault/shared/errors.ts';
import { connectionTo } from '../../client/http.ts';
import { type Held, type PanicAnswer, panic as sendPanic } from '../../client/panic.ts';
import type { Command, Result } from '../command.ts';
import { readSecret } from '../secret-input.ts';
import { cross, printable, type Style, table, tick } from '../terminal.ts';

export const panic: Command = {
  name: 'panic',
  summary: 'Freeze one wallet with the panic code that was shown when its policy was enabled.',
  details: [
    'Asks for the code without showing it, or reads it from standard input when - follows the options.',
    'The code freezes that wallet and can do nothing else; the wallet’s key is not needed.',
    'Exits 0 only if the host says that host, enclaves and database hold. Nothing of that is verified.',
  ],
  options: {
    url: { value: '<url>', help: 'the host’s HTTP address', required: true },
    reason: { value: '<text>', help: 'why, for the log: at most 188 printable ASCII characters' },
  },
  operands: '[-]',
  run: async (args, { stderr }) => {
    const url = args.text('url');
    if (!URL.canParse(url)) throw new QvError('usage_invalid', { value: '--url is no URL' });
    // Not quoted: it may be the code, which does not belong here.
    if (args.operands.length > 1 || (args.operands[0] ?? '-') !== '-')
      throw new QvError('usage_invalid', { value: 'only - may follow: never the code, which others could see there' });
    const panicCode = await readSecret('Panic code (not shown): ', args.operands.length === 1, stderr);
    const reason = args.optional('reason');
    const answer = await sendPanic(connectionTo(url), { panicCode, ...(reason !== undefined && { reason }) });
    return resultOf(answer);
  },
};

function resultOf(answer: PanicAnswer): Result {
  const { scope, host, enclaves, database } = answer;
  const allHold = host.held && database.held && enclaves.length > 0 && enclaves.every(({ held }) => held);
  return {
    exit: allHold ? 'ok' : 'failed',
    json: { ...(!allHold && { code: 'freeze_not_held' }), scope, allHold, host, enclaves, database },
    text: (style) => [
      allHold
        ? `${tick(style)} ${style('bold', 'Frozen.')}`
        : `${cross(style)} ${style(['bold', 'red'], 'NOT frozen everywhere.')}`,
      ...table(
        [
          ['Scope', printable(scope)],
          ['Host memory', heldText(host, style)],
          ...enclaves.map((enclave) => ['Enclave', heldText(enclave, style)] as const),
          ['Database', heldText(database, style)],
        ],
        style,
      ),
    ],
  };
}

function heldText(place: Held, style: Style): string {
  return place.held
    ? `${style('green', 'holds')} since ${printable(place.at)}`
    : `${style('red', 'does NOT hold')}: ${printable(place.code)}`;
}

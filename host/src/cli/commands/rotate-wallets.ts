/** qv rotate wallets: all wallets that the host's enclave holds, one after the other. */
import { setTimeout as sleep } from 'node:timers/promises';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Arguments, Command } from '../command.ts';
import { timeOption } from '../policy-input.ts';
import { countText, progressLine } from '../progress.ts';
import { rotateCall } from '../rotate-call.ts';
import { eachOf, everyRow, type Failure, failureOf, movesText } from '../succession/moves.ts';
import { printableTable } from '../terminal.ts';

const DAY_MILLISECONDS = 86_400_000;

export const rotateWallets: Command = {
  name: 'rotate wallets',
  summary: 'Put every wallet that this host’s enclave holds under a fresh execution key and salt.',
  details: [
    'As qv rotate wallet does for one: signing goes on, and what is interrupted is half-done nowhere. The',
    'answer says from which time on keys count as new; with that time as --before the same order goes on',
    'where it ended, and leaves alone what is done. Retired wallets, and those of other enclaves, stay.',
    'Keys made under a KMS key that is being replaced (kms.previous) are made under the new one by this:',
    'only when none is left, in no backup either that is still needed, may the old one be disabled.',
  ],
  options: {
    admin: ADMIN_OPTION,
    before: { value: '<time>', help: 'only keys made before it, 2026-11-22T12:00:00Z; now unless given' },
    'older-than': { value: '<days>', help: 'only keys made so many days ago or more' },
    'without-second': { help: 'only wallets that are not sealed for a second KMS key (kms.second)' },
    'per-second': { value: '<n>', help: `at most so many a second; ${LIMITS.cliRotationsPerSecond} unless given` },
  },
  run: async (args, { stderr }) => {
    const socket = adminSocket(args);
    const perSecond = wholeOption(args, 'per-second', LIMITS.cliRotationsPerSecond);
    const withoutSecond = args.flag('without-second');
    const before = await beforeOf(args);
    const failures: Failure[] = [];
    let [rotated, recent, elsewhere, retired] = [0, 0, 0, 0];
    const line = progressLine(stderr);
    try {
      await eachOf(paced(everyRow(socket), perSecond), async (wallet) => {
        try {
          if ((await rotateCall(socket, { wallet, before, withoutSecond })).rotated) rotated++;
          else recent++;
        } catch (error) {
          if (codeOf(error) === 'wallet_held_elsewhere') elsewhere++;
          else if (codeOf(error) === 'wallet_retired') retired++;
          else failures.push(failureOf(wallet, error));
        }
        line.update(
          `Rotating wallets: ${countText(rotated)} done, ${countText(recent + elsewhere + retired)} left as they are, ` +
            `${countText(failures.length)} failed`,
        );
      });
    } finally {
      line.clear();
    }
    const counts = [
      ['rotated', rotated],
      [withoutSecond ? 'new enough, or sealed for the second key' : 'new enough', recent],
      ['not held here', elsewhere],
      ['retired', retired],
    ] as const;
    return {
      exit: failures.length === 0 ? 'ok' : 'failed',
      json: { before, rotated, recent, elsewhere, retired, failures },
      text: (style) => [
        ...movesText({ counts, failures, unpublished: undefined }, style),
        ...printableTable([['To go on', `qv rotate wallets --before ${before}`]], style),
      ],
    };
  },
};

/** Keys made in this run are to be told from those of before it, in whole seconds. */
async function beforeOf(args: Arguments): Promise<string> {
  const before = args.optional('before');
  const days = args.optional('older-than');
  if (before !== undefined && days !== undefined)
    throw new QvError('usage_invalid', { value: '--before and --older-than say the same: give one' });
  if (before !== undefined) return formatTime(timeOption('before', before));
  const now = Date.now();
  if (days !== undefined)
    return formatTime(timeMs(Math.max(0, now - wholeOption(args, 'older-than', 0) * DAY_MILLISECONDS)));
  const next = Math.ceil(now / 1000) * 1000;
  await sleep(next - now);
  return formatTime(timeMs(next));
}

function wholeOption(args: Arguments, name: string, otherwise: number): number {
  const text = args.optional(name);
  if (text === undefined) return otherwise;
  if (!/^[1-9][0-9]{0,5}$/.test(text))
    throw new QvError('usage_invalid', { value: `--${name} must be a whole number from 1` });
  return Number(text);
}

/** KMS has quotas, and whoever signs needs them as well. */
async function* paced<T>(items: AsyncIterable<T>, perSecond: number): AsyncGenerator<T> {
  let next = performance.now();
  for await (const item of items) {
    const wait = next - performance.now();
    if (wait > 0) await sleep(wait);
    next = Math.max(next, performance.now()) + 1000 / perSecond;
    yield item;
  }
}

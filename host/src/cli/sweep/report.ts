/** What a sweep says: to programs, and to people. */
import { printable, type Style, table } from '../terminal.ts';
import type { Found } from './found.ts';
import { type Left, type Plan, REASONS } from './plan.ts';
import type { Moved } from './sweep.ts';

export const NOT_LOOKED_FOR =
  'Stake accounts, deposits inside programs, compressed NFTs and authorities of the wallet are not looked for.';

export const CONSEQUENCES = [
  'From the owner’s signature on nothing but this sweep is signed: bots that use the wallet stop.',
  NOT_LOOKED_FOR,
] as const;

/** Decimal, exactly: 1500000 with 6 decimals is 1.5. */
export function decimal(amount: bigint, decimals: number): string {
  const digits = amount.toString().padStart(decimals + 1, '0');
  const fraction = decimals === 0 ? '' : digits.slice(-decimals).replace(/0+$/, '');
  return `${digits.slice(0, digits.length - decimals)}${fraction === '' ? '' : `.${fraction}`}`;
}

/** Before anybody signs. */
export function planLines({ lamports, destination }: Found, { closings, tokens, left }: Plan): readonly string[] {
  const closed = closings.flatMap(({ holdings }) => holdings);
  return [
    `To ${destination}, as far as the endpoint says what is there:`,
    `${decimal(lamports, 9)} SOL, less fees`,
    ...tokens.flatMap(({ holdings }) =>
      holdings.map(({ units, decimals, mint }) => `${decimal(units, decimals)} of ${mint}`),
    ),
    ...(closed.length === 0
      ? []
      : [
          `${decimal(
            closed.reduce((sum, held) => sum + held.lamports, 0n),
            9,
          )} SOL in ${closed.length} token accounts to close`,
        ]),
    ...left.map((part) => `stays: ${leftText(part)}`),
  ];
}

export const movedJson = ({ what, signature, amount, mint }: Moved) => ({
  what,
  signature,
  amount: amount.toString(),
  ...(mint && { mint }),
});

export const leftJson = ({ what, amount, reason, mint, account, value }: Left) => ({
  what,
  amount: amount.toString(),
  reason,
  meaning: REASONS[reason],
  ...(mint && { mint }),
  ...(account && { account }),
  ...(value !== undefined && { value }),
});

function leftText({ what, amount, reason, mint, value }: Left): string {
  const much =
    what === 'token' ? `${amount} units of ${mint}` : `${decimal(amount, 9)} SOL${what === 'rent' ? ' of rent' : ''}`;
  return `${much}: ${REASONS[reason]}${value === undefined ? '' : ` (${printable(value)})`}`;
}

export function leftLines(left: readonly Left[], style: Style): readonly string[] {
  if (left.length === 0) return [];
  return [style('yellow', 'Left behind:'), ...left.map((part) => `  ${leftText(part)}`)];
}

export function movedLines(moved: readonly Moved[], style: Style): readonly string[] {
  if (moved.length === 0) return [];
  const text = ({ what, amount, mint }: Moved): string => {
    if (what === 'sol') return `${decimal(amount, 9)} SOL`;
    return what === 'token' ? `${amount} units of ${mint}` : `${amount} token accounts closed`;
  };
  return [
    'Moved:',
    ...table(
      moved.map((one) => [text(one), one.signature] as const),
      style,
    ),
  ];
}

export const statementLines = (statements: readonly string[], style: Style): readonly string[] =>
  statements.flatMap((statement) => [
    'The owner signed:',
    ...statement.split('\n').map((line) => style('dim', `  ${printable(line)}`)),
  ]);

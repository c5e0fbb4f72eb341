/** qv tx decode: what the policy engine sees in a transaction. */
import { ERRORS } from '@quantumvault/shared/errors.ts';
import type { Argument } from '@quantumvault/shared/solana/describe.ts';
import { inspectTransaction } from '@quantumvault/shared/solana/transaction.ts';
import type { Command } from '../command.ts';
import { printable, type Style, table } from '../terminal.ts';
import { base64Input, oneOperand } from '../text-input.ts';
import {
  type AccountJson,
  type InnerJson,
  type InstructionJson,
  type TransactionJson,
  transactionJson,
} from '../transaction-json.ts';

/** Shown of one value; --json has all of it. */
const SHOWN_CHARACTERS = 120;

export const txDecode: Command = {
  name: 'tx decode',
  summary: 'Show what the policy engine sees in a Solana transaction: legacy, version 0 or version 1.',
  details: [
    'The transaction is base64 in wire form, signed or not: given itself, in a file, or on standard input as -.',
    'Exits 0, or 2 with a code when it is malformed. What the runtime may take but no signer signs is shown with',
    'its doubts and exits 0: the judge denies it. No network is used, so what lookup tables hold is not shown.',
  ],
  operands: '<base64|file|->',
  options: {},
  run: async (args) => {
    const bytes = await base64Input(oneOperand(args, 'transaction'), 'transaction');
    const found = transactionJson(inspectTransaction(bytes));
    return { exit: 'ok', json: { bytes: bytes.length, ...found }, text: (style) => render(found, style) };
  },
};

function render(found: TransactionJson, style: Style): readonly string[] {
  const heading = (text: string): readonly string[] => ['', style('bold', text)];
  return [
    style('bold', `Transaction, version ${found.version}`),
    ...found.doubts.map(
      (doubt) => `${style(['bold', 'red'], `! ${doubt}`)}  ${ERRORS[doubt].meaning} No signer signs it.`,
    ),
    ...table(
      [
        ['Blockhash', found.recentBlockhash],
        ['Message', `SHA-256 ${found.messageHash}`],
        ['Fee', `${found.fee} lamports`],
        ...Object.entries(found.config ?? {})
          .filter(([, value]) => value !== null)
          .map(([key, value]): [string, string] => [key, String(value)]),
      ],
      style,
    ),
    ...heading('Signatures'),
    ...table(
      found.signatures.map(({ signer, signature, status }) => [
        signer,
        status === 'invalid' ? style('red', `invalid ${signature}`) : `${status} ${signature ?? ''}`.trim(),
      ]),
      style,
    ),
    ...heading('Accounts'),
    ...table(
      found.accounts.map((account) => [`#${account.index}`, accountText(account)]),
      style,
    ),
    ...heading('Instructions'),
    ...found.instructions.flatMap((instruction, index) => instructionLines(instruction, index, found.accounts, style)),
  ];
}

function accountText({ address, lookup, name, ...roles }: AccountJson): string {
  const where = address ?? `entry ${lookup?.index} of lookup table ${lookup?.table}`;
  const said = (['payer', 'signer', 'writable', 'program'] as const).filter((role) => roles[role]);
  return [where, name === null ? '' : `(${name})`, said.join(', ')].filter((part) => part !== '').join('  ');
}

function instructionLines(
  instruction: InstructionJson,
  index: number,
  accounts: readonly AccountJson[],
  style: Style,
): readonly string[] {
  const { program, programName, instruction: name, dataHex, accountIndexes, inner } = instruction;
  const title = `${programName ?? program} ${name ?? '(not understood)'}`;
  return [
    `  ${style('dim', `#${index}`)} ${style('bold', title)}`,
    ...table(
      [
        ...meaningRows(instruction),
        ...accountRows(accountIndexes, accounts),
        ...(name === null ? [['data', shown(dataHex)] as const] : []),
      ],
      style,
      '     ',
    ),
    ...(inner ?? []).flatMap((entry, at) => [
      `     ${style('dim', `#${index}.${at}`)} ${style('bold', entry.instruction ?? '(not understood)')}`,
      ...table([...meaningRows(entry), ...accountRows(entry.accountIndexes, accounts)], style, '        '),
    ]),
  ];
}

function meaningRows({
  arguments: values,
  trailingHex,
  truncatedAt,
}: InnerJson): readonly (readonly [string, string])[] {
  return [
    ...Object.entries(values).map(([key, value]) => [key, argumentText(value)] as const),
    ...(trailingHex === undefined ? [] : [['trailing', `${shown(trailingHex)} (not canonical)`] as const]),
    ...(truncatedAt === undefined ? [] : [['truncated', `the data ends inside ${truncatedAt}`] as const]),
  ];
}

function accountRows(indexes: readonly number[], accounts: readonly AccountJson[]) {
  return indexes.map((index) => {
    const account = accounts[index];
    return [`account #${index}`, account === undefined ? '' : accountText(account)] as const;
  });
}

const argumentText = (value: Argument): string => (value === null ? 'none' : shown(printable(String(value))));

function shown(text: string): string {
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}… (--json shows all)` : text;
}

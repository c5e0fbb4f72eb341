/** What the commands about successors share: whom they believe, and what they print. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Client, SuccessionChanged } from '../../client/client.ts';
import type { Owner } from '../../client/keys.ts';
import { successionJson } from '../../successor-json.ts';
import { attestedHost, IMAGE_OPTIONS } from '../attested-host.ts';
import type { Arguments, Command, OptionSpec, Output, Result } from '../command.ts';
import { requireOwner, type Signer, signerOptions, withOwner } from '../import/owner.ts';
import { DEPLOYMENT, warningLines } from '../succession/words.ts';
import { printable, table, tick } from '../terminal.ts';

/** As the enclave counts. */
const CHANGE_MAX = 0xffff_ffff;

export const CHANGE_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  url: { value: '<url>', help: 'the host’s HTTP address', required: true },
  deployment: DEPLOYMENT,
  wallet: { value: '<address>', help: 'the wallet that it is about', required: true },
  change: { value: '<n>', help: 'number of this change, where the host is wrong: one more than the last in the log' },
};

/** Which change of which wallet. */
export interface ChangeOf {
  readonly wallet: Address;
  /** Default: by what the host says. */
  readonly change?: number;
}

interface ChangeCommand {
  readonly name: string;
  readonly summary: string;
  readonly details: readonly string[];
  readonly options?: Readonly<Record<string, OptionSpec>>;
  /** Default: the owner. */
  readonly signer?: Signer;
  /** @throws QvError usage_invalid and others of options, before a host or a key is asked for */
  readonly read?: (args: Arguments) => void;
  readonly run: (client: Client, signer: Owner, of: ChangeOf, args: Arguments) => Promise<SuccessionChanged>;
  /** What was done, for people. */
  readonly done: string;
}

/** One statement signed on this machine, or elsewhere, for an enclave that has proved itself. */
export function changeCommand({
  name,
  summary,
  details,
  options,
  signer = 'owner',
  read,
  run,
  done,
}: ChangeCommand): Command {
  return {
    name,
    summary,
    details,
    options: { ...CHANGE_OPTIONS, ...options, ...signerOptions(signer), ...IMAGE_OPTIONS },
    readsKey: true,
    run: async (args: Arguments, output: Output): Promise<Result> => {
      const of = { wallet: address(args.text('wallet'), '--wallet'), ...numberOption(args) };
      read?.(args);
      requireOwner(args, signer);
      const { client, warnings } = await attestedHost(args);
      const { result } = await withOwner(args, output, (who) => run(client, who, of, args), signer);
      return resultOf(result, done, warnings);
    },
  };
}

/** @throws QvError usage_invalid */
function numberOption(args: Arguments): Pick<ChangeOf, 'change'> {
  const text = args.optional('change');
  if (text === undefined) return {};
  const change = Number(text);
  if (!/^[1-9][0-9]{0,9}$/.test(text) || change > CHANGE_MAX)
    throw new QvError('usage_invalid', { value: `--change is 1 to ${CHANGE_MAX}` });
  return { change };
}

function resultOf(
  { wallet, boot, ack, statement, evidence }: SuccessionChanged,
  done: string,
  warnings: readonly string[],
): Result {
  // Whose it is now.
  const owner = ack.kind === 'owner-changed' ? ack.succession.successor?.key : ack.succession.owner;
  const { change, successor, takeover } = successionJson(ack) ?? { change: 0, successor: null, takeover: null };
  return {
    exit: 'ok',
    json: {
      wallet,
      owner,
      change,
      successor,
      takeover,
      at: new Date(ack.time).toISOString(),
      boot: boot.boot,
      image: boot.pcrSet.name,
      statement,
      warnings,
      ack: { bytes: toBase64(evidence.ack.bytes), signature: toBase64(evidence.ack.signature) },
      receipt: { leaf: toBase64(evidence.receipt.leaf), signature: toBase64(evidence.receipt.signature) },
    },
    text: (style) => [
      ...warningLines(warnings, style),
      `${tick(style)} ${style('bold', done)}`,
      ...table(
        [
          ['Wallet', wallet],
          ['Owner', String(owner)],
          ['Successor', successor === null ? 'nobody' : successor.key],
          ...(successor === null ? [] : [['Delay', `${successor.delayDays} days`] as const]),
          ...(takeover === null ? [] : [['Owner can cancel until', takeover.dueAt] as const]),
          ['Boot', `${boot.boot}, version ${printable(boot.userData.version)}`],
          ['Image', printable(boot.pcrSet.name)],
        ],
        style,
      ),
      'This was signed:',
      ...statement.split('\n').map((line) => style('dim', `  ${printable(line)}`)),
    ],
  };
}

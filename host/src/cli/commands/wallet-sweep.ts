/** qv wallet sweep: its owner moves what is in a wallet to one address, and may retire it then. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Client } from '../../client/client.ts';
import { attestedHost, IMAGE_OPTIONS } from '../attested-host.ts';
import type { Arguments, Command, Output, Result } from '../command.ts';
import { confirmByTyping } from '../confirm.ts';
import { OWNER_OPTIONS, requireOwner, withOwner } from '../import/owner.ts';
import { DEPLOYMENT, deploymentOption, walletOptions, warningLines } from '../succession/words.ts';
import { requireOther } from '../sweep/destination.ts';
import type { Found } from '../sweep/found.ts';
import { type OfflineOptions, type SignedSweep, signSweep } from '../sweep/offline.ts';
import type { Left, Plan } from '../sweep/plan.ts';
import { readPlanFile, requireSame } from '../sweep/plan-file.ts';
import {
  CONSEQUENCES,
  leftJson,
  leftLines,
  movedJson,
  movedLines,
  planLines,
  statementLines,
} from '../sweep/report.ts';
import { rpcTo } from '../sweep/rpc.ts';
import { type Swept, sweep } from '../sweep/sweep.ts';
import { signingWallet, type WalletFacts } from '../sweep/wallet-facts.ts';
import { tick } from '../terminal.ts';
import { CONSEQUENCES as OF_RETIRING } from './wallet-retire.ts';

export const walletSweep: Command = {
  name: 'wallet sweep',
  summary:
    'Move what is in a wallet to one address, under a last policy that its owner signs; then retire it, if asked.',
  details: [
    'For the machine of the owner. The enclave proves itself by a live attestation; the owner signs a policy of',
    'half an hour that lets what was found go to one address, for a key that exists in this process alone; the',
    'enclave judges and signs as ever; receipts are verified before anything is sent. SOL and tokens of SPL',
    'Token go; of Token-2022 those without extensions that cost or forbid, where the destination has an account.',
    ...CONSEQUENCES,
    'When it was interrupted, call it again: it looks at the chain and goes on, with another policy.',
    'With --plan nothing is asked or sent: the signed transactions are printed, for somebody to send them.',
  ],
  options: {
    url: { value: '<url>', help: 'the host’s HTTP address', required: true },
    deployment: DEPLOYMENT,
    wallet: { value: '<address>', help: 'the wallet to empty', required: true },
    to: { value: '<address>', help: 'the wallet that everything goes to', required: true },
    rpc: {
      value: '<url>',
      help: 'a Solana RPC endpoint; the first one is used, further ones say in the end whether anything is left',
      multiple: true,
    },
    plan: { value: '<file>', help: 'what qv wallet look wrote, in place of --rpc' },
    mint: { value: '<address>', help: 'only these tokens, besides SOL; all of them unless given', multiple: true },
    'priority-lamports': { value: '<n>', help: 'what each transaction may pay on top of the fee; 0 unless given' },
    ...OWNER_OPTIONS,
    retire: { help: 'end the wallet for good once it is empty, by another statement of its owner' },
    'abandon-rest': { help: 'with --retire: also when something is left behind, which nobody gets out any more' },
    yes: { help: 'do not ask whether that is what is wanted' },
    ...IMAGE_OPTIONS,
  },
  readsKey: true,
  run: async (args, output) => {
    const wanted = wantedOf(args);
    requireOwner(args);
    const { client, warnings } = await attestedHost(args);
    const facts = await signingWallet(args.text('url'), wanted.wallet);
    const common = {
      ...{ client, facts, deployment: deploymentOption(args), priorityLamports: wanted.priorityLamports },
      ...(wanted.mints && { mints: wanted.mints }),
      asOwner: <T>(use: Parameters<typeof withOwner<T>>[2]) => withOwner(args, output, use),
      confirm: (found: Found, plan: Plan) => confirmed(args, output, found, plan),
    };
    const { plan } = wanted;
    if (plan !== undefined)
      return signedResult(await signSweep({ ...common, ...plan } satisfies OfflineOptions), warnings);
    const [rpc, ...others] = args.list('rpc').map((text) => rpcTo(text));
    if (rpc === undefined) throw wrong('--rpc or --plan, one of them');
    const { stderr } = output;
    const isWatched = 'isTTY' in stderr && stderr.isTTY === true;
    const note = (line: string): void => void (isWatched && stderr.write(`${line}\n`));
    const swept = await sweep({ ...common, rpc, others, destination: wanted.destination, note });
    const retired = args.flag('retire') ? await retire(args, output, client, facts, swept) : undefined;
    return sweptResult(facts, swept, retired, args.flag('retire'), warnings);
  },
};

const wrong = (value: string): QvError => new QvError('usage_invalid', { value });

/** Everything that can be wrong without asking anybody. @throws QvError usage_invalid, base58_malformed, … */
function wantedOf(args: Arguments) {
  const wallet = address(args.text('wallet'), '--wallet');
  const destination = requireOther(wallet, address(args.text('to'), '--to'));
  const file = args.optional('plan');
  if ((file === undefined) === (args.list('rpc').length === 0)) throw wrong('--rpc or --plan, one of them');
  for (const text of args.list('rpc')) rpcTo(text);
  if (file !== undefined && args.flag('retire')) throw wrong('--retire goes with --rpc: nobody knows what was sent');
  if (args.flag('abandon-rest') && !args.flag('retire')) throw wrong('--abandon-rest goes with --retire');
  const priority = args.optional('priority-lamports') ?? '0';
  if (!/^(?:0|[1-9][0-9]{0,8})$/.test(priority)) throw wrong('--priority-lamports is a number below a billion');
  const mints = walletOptions(args, 'mint');
  const plan = file === undefined ? undefined : readPlanFile(file);
  if (plan !== undefined) requireSame(plan.found, { wallet, destination });
  return { wallet, destination, mints, plan, priorityLamports: BigInt(priority) };
}

async function confirmed(args: Arguments, { stderr }: Output, found: Found, plan: Plan): Promise<void> {
  if (args.flag('yes')) return;
  const consequences = [...planLines(found, plan), ...CONSEQUENCES];
  await confirmByTyping({ what: `Sweeping ${found.wallet}:`, consequences, word: found.destination }, stderr);
}

/** What is no more than the least fee nobody can ever move. What a priority fee on top is too much for, another call can. */
const isLost = ({ reason, amount }: Left): boolean =>
  reason === 'below-fee' && amount <= BigInt(LIMITS.lamportsPerSignature);

interface Retired {
  readonly retiredAt: string;
  readonly statement: string;
}

async function retire(
  args: Arguments,
  output: Output,
  client: Client,
  { wallet }: WalletFacts,
  { left }: Swept,
): Promise<Retired | undefined> {
  if (!left.every(isLost) && !args.flag('abandon-rest')) return undefined;
  if (!args.flag('yes')) {
    const consequences = [...OF_RETIRING, ...leftLines(left, (_, text) => text)];
    await confirmByTyping(
      { what: `Retiring ${wallet} cannot be taken back:`, consequences, word: wallet },
      output.stderr,
    );
  }
  const { result, statement } = await withOwner(args, output, (owner) => client.retireWallet({ owner, wallet }));
  return { retiredAt: new Date(result.ack.time).toISOString(), statement };
}

function sweptResult(
  { wallet }: { readonly wallet: Address },
  { moved, left, statements, policyHash, panicCode }: Swept,
  retired: Retired | undefined,
  isRetiring: boolean,
  warnings: readonly string[],
): Result {
  const isDone = left.every((part) => isLost(part) || part.reason === 'not-chosen');
  const code = retired === undefined ? panicCode : undefined;
  return {
    exit: retired !== undefined || (isDone && !isRetiring) ? 'ok' : 'failed',
    json: {
      wallet,
      moved: moved.map(movedJson),
      left: left.map(leftJson),
      statements: [...statements, ...(retired === undefined ? [] : [retired.statement])],
      policyHash: policyHash === undefined ? null : toHex(policyHash),
      panicCode: code ?? null,
      retiredAt: retired?.retiredAt ?? null,
      warnings,
    },
    text: (style) => [
      ...warningLines(warnings, style),
      ...(isDone ? [`${tick(style)} ${style('bold', moved.length === 0 ? 'Nothing to move.' : 'Swept.')}`] : []),
      ...movedLines(moved, style),
      ...leftLines(left, style),
      ...statementLines([...statements, ...(retired === undefined ? [] : [retired.statement])], style),
      ...(retired === undefined ? [] : [`${tick(style)} ${style('bold', 'Retired')}, for good.`]),
      ...(isRetiring && retired === undefined ? [style('yellow', 'Not retired: something is left behind.')] : []),
      ...(code === undefined ? [] : [`Panic code of the last policy, in place of the one before: ${code}`]),
    ],
  };
}

function signedResult(
  { transactions, left, statements, policyHash, panicCode }: SignedSweep,
  warnings: readonly string[],
): Result {
  return {
    exit: 'ok',
    json: {
      transactions,
      left: left.map(leftJson),
      statements,
      policyHash: policyHash === undefined ? null : toHex(policyHash),
      panicCode: panicCode ?? null,
      warnings,
    },
    text: (style) => [
      ...warningLines(warnings, style),
      `${tick(style)} ${style('bold', `${transactions.length} signed`)}; nothing was sent. Send a stage when the one before is final.`,
      ...transactions.flatMap(({ stage, signature, transaction }) => [`${stage} ${signature}`, transaction]),
      ...leftLines(left, style),
      ...statementLines(statements, style),
      ...(panicCode === undefined ? [] : [`Panic code of the last policy, in place of the one before: ${panicCode}`]),
    ],
  };
}

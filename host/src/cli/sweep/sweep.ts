/**
 * Moves what is in a wallet to one address, under a last policy that its owner signs, by the ordinary way to a signature:
 * the enclave judges each transaction. Each round looks at the chain anew, so that a sweep that was interrupted anywhere
 * goes on when it is called again, and moves nothing twice.
 */
import type { Address, Hash } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Client, Signed } from '../../client/client.ts';
import type { Owner, Signer } from '../../client/keys.ts';
import { balanceOf, type Found, lookAt, recentBlockhash } from './found.ts';
import { denialOf, nextRound, type Occasion, type Round, solCalls } from './last-policy.ts';
import { type Left, leftBehind, leftOf, type Move, type Plan, planOf, type Reason, solToMove } from './plan.ts';
import { withRequester } from './requester.ts';
import type { Rpc } from './rpc.ts';
import { type Outcome, sendAll } from './send.ts';
import { type Call, transactionOf, wireOf } from './transactions.ts';
import type { WalletFacts } from './wallet-facts.ts';

export interface SweepOptions {
  readonly client: Client;
  readonly deployment: string;
  readonly rpc: Rpc;
  /** Asked in the end, too, whether anything is left. */
  readonly others: readonly Rpc[];
  readonly destination: Address;
  readonly facts: WalletFacts;
  readonly mints?: readonly Address[];
  readonly priorityLamports: bigint;
  /** Has the owner sign one statement, whose text comes back. */
  readonly asOwner: <T>(use: (owner: Owner) => Promise<T>) => Promise<{ result: T; statement: string }>;
  /** Asked once, before the owner is. Throwing means no. */
  readonly confirm: (found: Found, plan: Plan) => Promise<void>;
  readonly note: (line: string) => void;
}

export interface Moved {
  readonly what: 'sol' | 'token' | 'accounts';
  readonly signature: string;
  /** Lamports for SOL, base units for a token, how many for accounts that were closed. */
  readonly amount: bigint;
  readonly mint?: Address;
}

export interface Swept {
  readonly moved: readonly Moved[];
  readonly left: readonly Left[];
  readonly statements: readonly string[];
  /** Of the last policy; absent when none was needed. */
  readonly policyHash?: Hash;
  readonly panicCode?: string;
}

/** What one call of qv knows so far. */
interface Progress {
  readonly moved: Moved[];
  readonly statements: string[];
  readonly failed: Map<Address, { readonly reason: Reason; readonly value?: string }>;
  readonly alone: Set<Address>;
  epoch: number;
  policyHash: Hash | undefined;
  panicCode?: string;
  /** How often more SOL came in meanwhile. */
  grown: number;
  /** Why the SOL stays; nothing more is tried then. */
  solFailed?: { readonly reason: Reason; readonly value?: string };
}

/**
 * @throws QvError rpc_*, policy_denied, frozen, wallet_retired, statement_signature_invalid, attestation_*, evidence_* and
 * what host and enclave answer. What was moved by then is moved; another call goes on.
 */
export async function sweep(options: SweepOptions): Promise<Swept> {
  const { facts } = options;
  const progress: Progress = {
    ...{ moved: [], statements: [], failed: new Map(), alone: new Set(), grown: 0 },
    ...{ epoch: facts.epoch ?? 0, policyHash: facts.policyHash },
  };
  await withRequester(async (requester) => {
    for (let round = 0; round < LIMITS.cliSweepRounds && progress.solFailed === undefined; round++) {
      const found = await lookAt(options.rpc, facts.wallet, options.destination);
      const occasion = occasionOf(options, progress, requester.address);
      const plan = planFor(options, progress, found, occasion);
      const next = nextRound(found, plan, occasion);
      if (next === undefined) return;
      if (round === 0) await options.confirm(found, plan);
      await enable(options, progress, next);
      const alone = progress.alone.size;
      await move(options, progress, requester, next.closings);
      await move(options, progress, requester, next.tokens);
      // What is tried once more, or by another call, has to be paid for.
      const isTriedAgain = progress.alone.size > alone;
      if (next.solLamports > 0n && !isTriedAgain && progress.solFailed === undefined)
        await moveSol(options, progress, requester, found, next);
    }
  });
  const { moved, statements, policyHash, panicCode } = progress;
  return {
    moved,
    statements,
    left: await whatIsLeft(options, progress),
    ...(statements.length > 0 && policyHash && { policyHash }),
    ...(panicCode !== undefined && { panicCode }),
  };
}

type Known = Pick<Progress, 'epoch' | 'policyHash'>;

export function occasionOf(
  { deployment, facts, priorityLamports }: Pick<SweepOptions, 'deployment' | 'facts' | 'priorityLamports'>,
  progress: Known,
  requester: Address,
): Occasion {
  return {
    deployment,
    owner: facts.owner,
    requester,
    epoch: progress.epoch + 1,
    previousHash: progress.policyHash,
    priorityLamports,
    nowMs: Date.now(),
  };
}

/** Without what the judge would deny: the owner is asked for nothing that is of no use. */
export function planFor(
  { mints, priorityLamports }: Pick<SweepOptions, 'mints' | 'priorityLamports'>,
  { failed, alone }: Pick<Progress, 'failed' | 'alone'>,
  found: Found,
  occasion: Occasion,
): Plan {
  const plan = planOf(found, { ...(mints && { mints }), priorityLamports, failed, alone });
  const denied: Left[] = [];
  const allowed = (moves: readonly Move[]): readonly Move[] =>
    moves.filter((candidate) => {
      const rule = denialOf(found, candidate, occasion);
      if (rule !== undefined)
        denied.push(...candidate.holdings.map((held) => leftOf(held, { reason: 'denied', value: rule })));
      return rule === undefined;
    });
  const [closings, tokens] = [allowed(plan.closings), allowed(plan.tokens)];
  return { closings, tokens, left: [...plan.left, ...denied] };
}

async function enable({ client, asOwner, note }: SweepOptions, progress: Progress, { document }: Round): Promise<void> {
  const { policyHash: previousHash } = progress;
  note(`Asking the owner to sign policy ${document.epoch} …`);
  const { result, statement } = await asOwner((owner) =>
    client.enablePolicy({ owner, policy: document, ...(previousHash && { previousHash }) }),
  );
  progress.statements.push(statement);
  progress.epoch = result.epoch;
  progress.policyHash = result.policyHash;
  progress.panicCode = result.panicCode;
}

/** All of them side by side; those that expire are signed anew, each time as a new request over a new blockhash. */
async function move(
  options: SweepOptions,
  progress: Progress,
  requester: Signer,
  moves: readonly Move[],
): Promise<void> {
  let waiting = moves;
  for (let attempt = 0; attempt < LIMITS.cliSweepAttempts && waiting.length > 0; attempt++) {
    const { signed, outcomes } = await signAndSend(
      options,
      requester,
      waiting.map(({ calls }) => calls),
    );
    for (const [index, done] of waiting.entries())
      note(progress, done, outcomes[index], signed[index]?.signatureBase58);
    waiting = waiting.filter((_, index) => outcomes[index]?.kind === 'expired');
  }
  for (const { holdings } of waiting)
    for (const { account } of holdings) progress.failed.set(account, { reason: 'expired' });
  if (waiting.length > 0) progress.solFailed = { reason: 'kept' };
}

function note(progress: Progress, done: Move, outcome: Outcome | undefined, signature = ''): void {
  const [held] = done.holdings;
  if (outcome === undefined || outcome.kind === 'expired' || held === undefined) return;
  if (outcome.kind === 'landed') {
    const amount = done.what === 'token' ? held.units : BigInt(done.holdings.length);
    progress.moved.push({ what: done.what, signature, amount, ...(done.what === 'token' && { mint: held.mint }) });
  }
  // An endpoint that goes on to show what has gone would have the owner sign again and again.
  const value = outcome.kind === 'failed' ? outcome.why : 'said to be done, and still there';
  for (const { account } of done.holdings) {
    const again = outcome.kind === 'failed' && done.what === 'accounts' && done.holdings.length > 1;
    if (again) progress.alone.add(account);
    else progress.failed.set(account, { reason: 'failed', value });
  }
}

/** The rest, once everything else is through. */
async function moveSol(
  options: SweepOptions,
  progress: Progress,
  requester: Signer,
  found: Found,
  { solLamports }: Round,
): Promise<void> {
  const { rpc, priorityLamports } = options;
  for (let attempt = 0; attempt < LIMITS.cliSweepAttempts; attempt++) {
    const lamports = await balanceOf(rpc, found.wallet);
    const { amount, reason } = solToMove({ ...found, lamports }, priorityLamports);
    if (reason !== undefined) return;
    // More has come in than the owner signed for, and what would stay might be too little to stay. The next round asks
    // him again, but not as often as somebody likes to send some.
    if (amount > solLamports) {
      if (++progress.grown === LIMITS.cliSweepAttempts) progress.solFailed = { reason: 'next-call' };
      return;
    }
    const { signed, outcomes } = await signAndSend(options, requester, [solCalls(found, amount, priorityLamports)]);
    const [outcome] = outcomes;
    if (outcome?.kind === 'landed')
      return void progress.moved.push({ what: 'sol', signature: signed[0]?.signatureBase58 ?? '', amount });
    if (outcome?.kind === 'failed') {
      progress.solFailed = { reason: 'failed', value: outcome.why };
      return;
    }
  }
  progress.solFailed = { reason: 'expired' };
}

/** The client has verified signatures, receipts and the boot behind them before anything is sent. */
async function signAndSend(options: SweepOptions, requester: Signer, calls: readonly (readonly Call[])[]) {
  const { client, rpc, facts, note: tell } = options;
  const { wallet } = facts;
  const blockhash = await recentBlockhash(rpc);
  const transactions = calls.map((list) => wireOf(transactionOf(wallet, list, blockhash.blockhash)));
  const signed = await signAll(client, { wallet, requester, transactions });
  tell(
    `Sending ${signed.length} signed ${signed.length === 1 ? 'transaction' : 'transactions'}, waiting for finality …`,
  );
  return { signed, outcomes: await sendAll(rpc, signed, blockhash) };
}

export async function signAll(
  client: Client,
  { transactions, ...request }: Parameters<Client['signBatch']>[0],
): Promise<readonly Signed[]> {
  const [transaction, ...more] = transactions;
  if (transaction === undefined) throw new QvError('internal');
  return more.length === 0
    ? [await client.sign({ ...request, transaction })]
    : await client.signBatch({ ...request, transactions });
}

/** As every endpoint tells it; of one that two tell, what the first said. */
async function whatIsLeft(options: SweepOptions, progress: Progress): Promise<readonly Left[]> {
  const left = new Map<string, Left>();
  for (const rpc of [options.rpc, ...options.others]) {
    const found = await lookAt(rpc, options.facts.wallet, options.destination);
    for (const part of leftIn(options, progress, found)) {
      const key = part.account ?? 'sol';
      if (!left.has(key)) left.set(key, part);
    }
  }
  return [...left.values()];
}

function leftIn(options: SweepOptions, progress: Progress, found: Found): readonly Left[] {
  const { priorityLamports } = options;
  const plan = planFor(options, progress, found, occasionOf(options, progress, found.wallet));
  return leftBehind(found, plan.left, [...plan.closings, ...plan.tokens], priorityLamports, progress.solFailed);
}

/** A sweep of a machine without an RPC endpoint: by a file that says what is there, to transactions that others send. */
import type { Hash } from '@quantumvault/shared/brands.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import type { Signed } from '../../client/client.ts';
import type { Blockhash, Found } from './found.ts';
import { nextRound, solCalls } from './last-policy.ts';
import { type Left, leftBehind, type Move, solToMove } from './plan.ts';
import { withRequester } from './requester.ts';
import { occasionOf, planFor, type SweepOptions, signAll } from './sweep.ts';
import { type Call, feeLamportsOf, transactionOf, wireOf } from './transactions.ts';

export interface OfflineOptions
  extends Pick<SweepOptions, 'client' | 'deployment' | 'facts' | 'mints' | 'priorityLamports' | 'asOwner' | 'confirm'> {
  readonly found: Found;
  readonly blockhash: Blockhash;
}

export interface ToSend {
  /** Ones of a stage go side by side; a stage goes when the one before is final. */
  readonly stage: 'accounts' | 'tokens' | 'sol';
  readonly signature: string;
  /** Base64. */
  readonly transaction: string;
}

export interface SignedSweep {
  readonly transactions: readonly ToSend[];
  readonly left: readonly Left[];
  readonly statements: readonly string[];
  readonly policyHash?: Hash;
  readonly panicCode?: string;
}

const NOTHING_TRIED = { failed: new Map(), alone: new Set<never>() } as const;

/** As much as one statement of the owner covers. @throws QvError as `sweep` does, without rpc_* */
export async function signSweep(options: OfflineOptions): Promise<SignedSweep> {
  const { client, facts, found, blockhash, priorityLamports, asOwner, confirm } = options;
  return await withRequester(async (requester) => {
    const occasion = occasionOf(options, { epoch: facts.epoch ?? 0, policyHash: facts.policyHash }, requester.address);
    const plan = planFor(options, NOTHING_TRIED, found, occasion);
    const round = nextRound(found, plan, occasion);
    if (round === undefined)
      return {
        transactions: [],
        left: leftBehind(found, plan.left, [...plan.closings, ...plan.tokens], priorityLamports),
        statements: [],
      };
    const moves = [...round.closings, ...round.tokens];
    const lamports = lamportsAfter(found, moves, priorityLamports);
    const later = [...plan.closings, ...plan.tokens].filter((waiting) => !moves.includes(waiting));
    const sol = round.solLamports === 0n ? 0n : solToMove({ ...found, lamports }, priorityLamports).amount;
    const after = { ...found, lamports: sol === 0n ? lamports : 0n };
    await confirm(found, plan);
    const { result, statement } = await asOwner((owner) =>
      client.enablePolicy({
        owner,
        policy: round.document,
        ...(facts.policyHash && { previousHash: facts.policyHash }),
      }),
    );
    const sign = async (stage: ToSend['stage'], calls: readonly (readonly Call[])[]): Promise<readonly ToSend[]> => {
      if (calls.length === 0) return [];
      const transactions = calls.map((list) => wireOf(transactionOf(found.wallet, list, blockhash.blockhash)));
      const signed = await signAll(client, { wallet: found.wallet, requester, transactions });
      return signed.map((one) => toSend(stage, one));
    };
    return {
      transactions: [
        ...(await sign(
          'accounts',
          round.closings.map(({ calls }) => calls),
        )),
        ...(await sign(
          'tokens',
          round.tokens.map(({ calls }) => calls),
        )),
        ...(await sign('sol', sol === 0n ? [] : [solCalls(found, sol, priorityLamports)])),
      ],
      left: leftBehind(after, plan.left, later, priorityLamports),
      statements: [statement],
      policyHash: result.policyHash,
      panicCode: result.panicCode,
    };
  });
}

const toSend = (stage: ToSend['stage'], { signatureBase58, transaction }: Signed): ToSend => ({
  stage,
  signature: signatureBase58,
  transaction: toBase64(transaction),
});

/** If all of them succeed, which the last transaction’s amount depends on. A round is never more than can be paid. */
function lamportsAfter({ lamports }: Found, moves: readonly Move[], priorityLamports: bigint): bigint {
  const paid = new Set<string>();
  let after = lamports;
  for (const { holdings, rentLamports, returnedLamports } of moves) {
    after += returnedLamports - feeLamportsOf(priorityLamports);
    // Two accounts of one mint share the destination's, which is made once.
    const mint = holdings[0]?.mint ?? '';
    if (rentLamports > 0n && !paid.has(mint)) after -= rentLamports;
    if (rentLamports > 0n) paid.add(mint);
  }
  return after;
}

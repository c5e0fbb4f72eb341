/** Sends signed transactions, and waits until each is final, has failed, or can be in no block any more. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Blockhash } from './found.ts';
import type { Rpc } from './rpc.ts';

/** Of one transaction. `expired`: no block can hold it any more, or so the endpoint says. */
export type Outcome =
  | { readonly kind: 'landed' }
  | { readonly kind: 'failed'; readonly why: string }
  | { readonly kind: 'expired' };

export interface Sendable {
  /** With its signature. */
  readonly transaction: Uint8Array;
  readonly signatureBase58: string;
}

/** Of what an endpoint's simulation says: the transaction is in a block, or names a blockhash that it does not know. */
const IN_BLOCK = /already been processed/;
const NO_BLOCKHASH = /blockhash not found/i;
const WHY_CHARACTERS = 200;

/** @returns in order. @throws QvError rpc_unavailable, rpc_response_invalid */
export async function sendAll(
  rpc: Rpc,
  sendables: readonly Sendable[],
  { lastValidBlockHeight }: Blockhash,
): Promise<readonly Outcome[]> {
  const outcomes: (Outcome | undefined)[] = [];
  for (const sendable of sendables) outcomes.push(await send(rpc, sendable));
  const end = performance.now() + LIMITS.cliSweepWaitMilliseconds;
  for (let wait = LIMITS.cliSweepPollMilliseconds; outcomes.includes(undefined); wait *= 1.25) {
    await sleep(Math.min(wait, LIMITS.cliSweepPollMaxMilliseconds));
    // In this order: what is in no block although none can hold it is in none.
    const height = await rpc.call('getBlockHeight', [{ commitment: 'confirmed' }], (answer) =>
      answer.integer('result', Number.MAX_SAFE_INTEGER),
    );
    const statuses = await statusesOf(rpc, sendables);
    const isOver = height > lastValidBlockHeight || performance.now() > end;
    for (const [index, sendable] of sendables.entries()) {
      if (outcomes[index] !== undefined) continue;
      const status = statuses[index];
      outcomes[index] = status === 'absent' && isOver ? { kind: 'expired' } : finalOutcome(status);
      // Endpoints forget, and leaders drop: the same bytes count once.
      if (status === 'absent' && !isOver) await send(rpc, sendable);
    }
    if (performance.now() > end) return outcomes.map((outcome) => outcome ?? { kind: 'expired' });
  }
  return outcomes as Outcome[];
}

type Status = 'absent' | 'waiting' | 'landed' | { readonly failed: string };

const finalOutcome = (status: Status | undefined): Outcome | undefined => {
  if (status === 'landed') return { kind: 'landed' };
  return typeof status === 'object' ? { kind: 'failed', why: status.failed } : undefined;
};

/** @returns an outcome where the endpoint refuses it for good */
async function send(rpc: Rpc, { transaction, signatureBase58 }: Sendable): Promise<Outcome | undefined> {
  const options = { encoding: 'base64', preflightCommitment: 'confirmed' };
  try {
    await rpc.call('sendTransaction', [toBase64(transaction), options], (answer) => {
      const signature = answer.text('result');
      fromBase58(signature, 64, 'result');
      if (signature !== signatureBase58) throw answer.fault('result', 'the signature of another transaction');
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof QvError) || error.code !== 'rpc_refused') throw error;
    const why = error.facts.value ?? '';
    // Another endpoint behind the same name may know more: its block decides.
    return IN_BLOCK.test(why) || NO_BLOCKHASH.test(why) ? undefined : { kind: 'failed', why };
  }
}

async function statusesOf(rpc: Rpc, sendables: readonly Sendable[]): Promise<readonly Status[]> {
  const signatures = sendables.map(({ signatureBase58 }) => signatureBase58);
  return await rpc.call('getSignatureStatuses', [signatures, { searchTransactionHistory: true }], (answer) => {
    const listed = new JsonFields(answer.required('result'), 'result').list('value');
    if (listed.length !== signatures.length)
      throw new QvError('field_malformed', { path: 'result.value', value: `${listed.length} of ${signatures.length}` });
    return listed.map((value, index) => statusOf(value, `result.value[${index}]`));
  });
}

function statusOf(value: JsonValue, path: string): Status {
  if (value === null) return 'absent';
  const fields = new JsonFields(value, path);
  const error = fields.required('err');
  const confirmation = fields.required('confirmationStatus');
  // Of what is not final yet a fork may think otherwise.
  if (confirmation !== 'finalized') return 'waiting';
  return error === null ? 'landed' : { failed: JSON.stringify(error).slice(0, WHY_CHARACTERS) };
}

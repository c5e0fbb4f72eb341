/**
 * GET /v1/receipts/<request id>: the decision about one request as a file that verifies offline
 * (`shared/src/evidence/receipt-file.ts`). `?wallet=` and `?requester=` tell requests of one id apart, `?index=` the
 * transactions of a signed batch.
 */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { decodeLeaf, REQUEST_ID } from '@quantumvault/shared/evidence/leaf.ts';
import { type ReceiptFile, receiptFileJson } from '@quantumvault/shared/evidence/receipt-file.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { proveInclusion } from '@quantumvault/shared/tlog/proof.ts';
import { tileHashReader } from '@quantumvault/shared/tlog/tile-data.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { type BoundedReads, boundedReads } from '../evidence/bounded-reads.ts';
import { storedTiles } from '../evidence/log-tree.ts';
import type { LeafRecord, LogRecord } from '../store/store.ts';

export function receiptRoute(app: FastifyInstance, deps: AppDeps): void {
  // Not the ones of auditors: their reading keeps nobody from a receipt.
  const bounded = boundedReads();
  app.get<{ Params: { requestId: string } }>('/v1/receipts/:requestId', async (request) => {
    const { requestId } = request.params;
    if (!REQUEST_ID.test(requestId)) throw new QvError('request_id_malformed', { path: 'requestId' });
    const record = await bounded(() => decisionOf(deps, requestId, request.query));
    const log = await publishedLog(deps, record, bounded);
    return receiptFileJson(await bounded(() => receiptOf(deps, record, log)));
  });
}

/** @throws QvError receipt_unknown, receipt_ambiguous, field_malformed, base58_malformed, store_* */
async function decisionOf({ store }: AppDeps, requestId: string, query: unknown): Promise<LeafRecord> {
  const fields = new JsonFields({ ...(query as Record<string, JsonValue>) });
  const [wallet, requester] = [addressField(fields, 'wallet'), addressField(fields, 'requester')];
  const index = indexField(fields);
  fields.end();
  const [decision, other] = await store.findDecisions(requestId, wallet, requester);
  if (decision === undefined || !isAbout(decision, requestId)) throw new QvError('receipt_unknown');
  if (other !== undefined) throw new QvError('receipt_ambiguous');
  if (index === 0n) return decision;
  // The leaves of a batch stand one behind the other.
  const [further] = await store.getLeaves(decision.boot, decision.sequence + index, 1);
  if (further === undefined || !isOfSameBatch(further, decision, index)) throw new QvError('receipt_unknown');
  return further;
}

function isOfSameBatch({ sequence, leaf }: LeafRecord, first: LeafRecord, index: bigint): boolean {
  if (sequence !== first.sequence + index) return false;
  try {
    const [one, other] = [decodeLeaf(first.leaf), decodeLeaf(leaf)];
    const same = (key: 'kind' | 'wallet' | 'actor' | 'requestId' | 'repeats'): boolean => one[key] === other[key];
    // Each transaction of a batch is one version; another request of this id would be a repeat.
    const version = one.stateVersion !== undefined && other.stateVersion === one.stateVersion + index;
    return version && same('kind') && same('wallet') && same('actor') && same('requestId') && same('repeats');
  } catch {
    return false;
  }
}

/** One that was edited in the database is none; auditors find it missing. */
function isAbout({ leaf }: LeafRecord, requestId: string): boolean {
  try {
    return decodeLeaf(leaf).requestId === requestId;
  } catch {
    return false;
  }
}

/** @throws QvError field_malformed */
function indexField(fields: JsonFields): bigint {
  if (fields.optional('index') === undefined) return 0n;
  const text = fields.text('index');
  if (!/^(?:0|[1-9]|[12][0-9]|3[01])$/.test(text))
    throw fields.fault('index', `not 0 to ${LIMITS.batchTransactions - 1}`);
  return BigInt(text);
}

function addressField(fields: JsonFields, key: string): Address | undefined {
  return fields.optional(key) === undefined ? undefined : address(fields.text(key), key);
}

/** @throws QvError log_unpublished, store_* */
async function receiptOf(
  deps: AppDeps,
  { boot, sequence, leaf, signature }: LeafRecord,
  log: LogRecord,
): Promise<ReceiptFile> {
  const read = tileHashReader(log.size, storedTiles(deps.store, boot));
  const [record] = await deps.store.getLeaves(boot, 0n, 1);
  if (record === undefined || record.sequence !== 0n) throw new QvError('log_unpublished');
  return {
    receipt: { leaf, signature },
    index: sequence,
    proof: await proveInclusion(sequence, log.size, read),
    checkpoint: log.checkpoint,
    bootRecord: {
      receipt: { leaf: record.leaf, signature: record.signature },
      proof: await proveInclusion(0n, log.size, read),
    },
  };
}

/** @throws QvError log_unpublished, overloaded, store_* */
async function publishedLog(
  { store, publisher }: AppDeps,
  { boot, sequence }: LeafRecord,
  bounded: BoundedReads,
): Promise<LogRecord> {
  const find = async () =>
    (await bounded(() => store.getLogs())).find((log) => log.boot === boot && log.size > sequence);
  const published = await find();
  if (published !== undefined) return published;
  await publisher.publish().catch(() => undefined);
  const now = await find();
  if (now === undefined) throw new QvError('log_unpublished');
  return now;
}

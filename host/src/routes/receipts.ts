/**
 * GET /v1/receipts/<request id>: the decision about one request as a file that verifies offline
 * (`shared/src/evidence/receipt-file.ts`). `?wallet=` and `?requester=` tell requests of one id apart.
 */
import type { BootId } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { decodeLeaf, type Leaf, REQUEST_ID } from '@quantumvault/shared/evidence/leaf.ts';
import { type ReceiptFile, receiptFileJson } from '@quantumvault/shared/evidence/receipt-file.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { proveInclusion } from '@quantumvault/shared/tlog/proof.ts';
import { tileHashReader } from '@quantumvault/shared/tlog/tile-data.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { storedTiles } from '../evidence/log-tree.ts';
import type { LeafRecord, LogRecord } from '../store/store.ts';

interface Found {
  readonly record: LeafRecord;
  readonly leaf: Leaf;
}

export function receiptRoute(app: FastifyInstance, deps: AppDeps): void {
  app.get<{ Params: { requestId: string } }>('/v1/receipts/:requestId', async (request) => {
    const { requestId } = request.params;
    if (!REQUEST_ID.test(requestId)) throw new QvError('request_id_malformed', { path: 'requestId' });
    const { record } = await decisionOf(deps, requestId, request.query);
    return receiptFileJson(await receiptOf(deps, record));
  });
}

/** @throws QvError receipt_unknown, receipt_ambiguous, field_malformed */
async function decisionOf({ store }: AppDeps, requestId: string, query: unknown): Promise<Found> {
  const fields = new JsonFields({ ...(query as Record<string, JsonValue>) });
  const wallet = fields.optional('wallet');
  const requester = fields.optional('requester');
  fields.end();
  const records = await store.findLeaves(requestId);
  const found = records
    .flatMap((record) => readLeaf(record))
    .filter(({ leaf }) => wallet === undefined || leaf.wallet === wallet)
    .filter(({ leaf }) => requester === undefined || leaf.actor === requester);
  if (new Set(found.map(({ leaf }) => `${leaf.wallet} ${leaf.actor}`)).size > 1) throw new QvError('receipt_ambiguous');
  // The signature, the first time; else the last refusal.
  const decision = found.find(({ leaf }) => leaf.kind === 'signed') ?? found.at(-1);
  if (decision === undefined) throw new QvError('receipt_unknown');
  return decision;
}

/** One that was edited in the database is none; auditors find it missing. */
function readLeaf(record: LeafRecord): readonly Found[] {
  try {
    return [{ record, leaf: decodeLeaf(record.leaf) }];
  } catch {
    return [];
  }
}

/** @throws QvError log_unpublished, store_* */
async function receiptOf(deps: AppDeps, { boot, sequence, leaf, signature }: LeafRecord): Promise<ReceiptFile> {
  const log = await publishedLog(deps, boot, sequence);
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

async function publishedLog({ store, publisher }: AppDeps, boot: BootId, sequence: bigint): Promise<LogRecord> {
  const find = async () => (await store.getLogs()).find((log) => log.boot === boot && log.size > sequence);
  const published = await find();
  if (published !== undefined) return published;
  await publisher.publish().catch(() => undefined);
  const now = await find();
  if (now === undefined) throw new QvError('log_unpublished');
  return now;
}

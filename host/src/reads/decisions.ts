/**
 * GET /v1/decisions: what was decided, newest first, from the leaves that are stored. What proves a decision is its
 * receipt, or the log; this is for looking. A page ends where its limit is reached or where so many leaves were looked
 * at, so that with `kind` it may be short, or empty, and still have a `next`.
 */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type Amounts, decodeLeaf, LEAF_KINDS, type Leaf, type LeafKind } from '@quantumvault/shared/evidence/leaf.ts';
import type { JsonFields } from '@quantumvault/shared/json.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { boundedReads } from '../evidence/bounded-reads.ts';
import { instant } from '../freeze-record.ts';
import type { HistoryPosition, LeafRecord } from '../store/store.ts';
import { successionJson } from '../successor-json.ts';
import { readerOf, requireSight } from './access.ts';
import { addressField, limitField, queryFields, timeField } from './query.ts';

const CURSOR = /^(0|[1-9][0-9]{0,14})-([1-9][0-9]{0,14})$/;

export function decisionsRoute(app: FastifyInstance, { store }: AppDeps): void {
  const bounded = boundedReads();
  app.get('/v1/decisions', async (request) => {
    const fields = queryFields(request.query);
    const [wallet, actor] = [addressField(fields, 'wallet'), addressField(fields, 'requester')];
    const [from, to] = [timeField(fields, 'from'), timeField(fields, 'to')];
    const kind = kindField(fields);
    const before = cursorField(fields);
    const count = limitField(fields);
    fields.end();
    const reader = readerOf(request);
    if (wallet !== undefined) requireSight(reader, wallet);
    else if (reader.wallets !== undefined) throw new QvError('api_wallet_forbidden', { path: 'wallet' });
    const { leaves, next } = await bounded(() =>
      store.findHistory({
        count,
        ...(wallet && { wallet }),
        ...(actor && { actor }),
        ...(kind && { kind }),
        ...(from !== undefined && { from }),
        ...(to !== undefined && { to }),
        ...(before && { before }),
      }),
    );
    return {
      decisions: leaves.map(decisionJson),
      next: next === undefined ? null : `${next.at}-${next.number}`,
    };
  });
}

function kindField(fields: JsonFields): LeafKind | undefined {
  const value = fields.optional('kind');
  if (value === undefined) return undefined;
  const kind = LEAF_KINDS.find((candidate) => candidate === value);
  if (kind === undefined) throw fields.fault('kind', `one of ${LEAF_KINDS.join(', ')}`);
  return kind;
}

function cursorField(fields: JsonFields): HistoryPosition | undefined {
  if (fields.optional('cursor') === undefined) return undefined;
  const match = CURSOR.exec(fields.text('cursor'));
  if (match === null) throw fields.fault('cursor', 'not a next of this list');
  return { at: Number(match[1]) as HistoryPosition['at'], number: Number(match[2]) };
}

/** A leaf that somebody edited in the database keeps its place and says nothing: auditors find it in the log. */
function decisionJson({ boot, sequence, leaf }: LeafRecord) {
  const place = { boot, sequence: String(sequence) };
  const decoded = decoding(leaf);
  if (decoded?.boot !== boot || decoded.sequence !== sequence) return { ...place, fault: 'row_tampered' };
  return { ...place, ...factsOf(decoded) };
}

function decoding(leaf: Uint8Array): Leaf | undefined {
  try {
    return decodeLeaf(leaf);
  } catch {
    return undefined;
  }
}

function factsOf(leaf: Leaf) {
  const { time, kind, wallet, actor, requestId, rule, value, amounts, scope, reason, by } = leaf;
  const hex = (bytes: Uint8Array | undefined): string | undefined => bytes && toHex(bytes);
  // Members that are undefined are left out of the JSON.
  return {
    time: instant(time),
    kind,
    wallet,
    requester: actor,
    requestId,
    rule,
    value,
    ...(amounts && amountsJson(amounts)),
    scope,
    reason,
    by,
    freezeId: hex(leaf.freezeId),
    messageHash: hex(leaf.messageHash),
    policyHash: hex(leaf.policyHash),
    signatureHash: hex(leaf.signatureHash),
    stateVersion: leaf.stateVersion?.toString(),
    repeats: leaf.repeats?.toString(),
    predecessor: leaf.predecessor?.boot,
    successor: leaf.successor,
    succession: successionJson(leaf) ?? undefined,
    ownerBefore: leaf.succession?.owner,
  };
}

function amountsJson({ lamportsOut, feeLamports, tokens = [] }: Amounts) {
  return {
    lamportsOut: String(lamportsOut),
    feeLamports: String(feeLamports),
    tokens: tokens.map(({ mint, amount }) => ({ mint, amount: String(amount) })),
  };
}

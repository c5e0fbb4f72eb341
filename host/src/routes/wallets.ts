/** Creating wallets, and their public facts. */
import { type Address, address, type Hash, type Signature, type TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes, fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { requesterScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import { policyFromBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { CREATE_PURPOSE, renderCreationStatement } from '@quantumvault/shared/policy/statement.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { verifyEd25519 } from '../ed25519.ts';
import type { Freezes } from '../freeze.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';
import { factsOf } from '../request-facts.ts';
import { leafRecord } from '../store/store.ts';
import { verifiedRow } from '../wallet-rows.ts';
import { bodyBytes, receiptJson, signatureField, signedBytesJson, timeField } from '../wire-json.ts';

interface Creation {
  readonly deployment: string;
  readonly owner: Address;
  readonly nonce: Uint8Array;
  readonly requesters: readonly Address[];
  readonly createBefore: TimeMs;
  readonly signature: Signature;
}

export function walletRoutes(app: FastifyInstance, deps: AppDeps, limits: RateLimits): void {
  app.post('/v1/wallets', async (request, reply) => {
    const creation = parseCreation(bodyBytes(request.body));
    await limits.byAddress(request, reply, 'statements');
    const json = await createWallet(deps, creation);
    factsOf(request).wallet = (JSON.parse(json) as { wallet: string }).wallet;
    return reply.code(201).type('application/json').send(json);
  });

  app.get<{ Params: { wallet: string } }>('/v1/wallets/:wallet', async (request) => {
    const wallet = address(request.params.wallet, 'wallet');
    factsOf(request).wallet = wallet;
    return await walletFacts(deps, wallet);
  });
}

/** What anybody may know of a wallet, as JSON. @throws QvError wallet_unknown, row_tampered, not_initialised, store_*, enclave_* */
export async function walletFacts({ store, session, freezes }: AppDeps, wallet: Address) {
  const row = await verifiedRow(store, session, wallet);
  const policy = row.policy;
  const enabled = policy === undefined ? undefined : policyFromBytes(policy);
  return {
    wallet,
    owner: row.owner,
    stateVersion: String(row.stateVersion),
    policyHash: policy === undefined ? null : toHex(policyHash(policy)),
    epoch: enabled?.epoch ?? null,
    frozen: row.frozen || isStopped(freezes, wallet, enabled?.requesters ?? []),
    createdAt: formatTime(row.createdAt),
  };
}

/** By itself or with the fleet, or because nobody is left who could ask for its signature. */
function isStopped(freezes: Freezes, wallet: Address, requesters: readonly Address[]): boolean {
  if (freezes.stopping({ wallet }) !== undefined) return true;
  return (
    requesters.length > 0 && requesters.every((requester) => freezes.find(requesterScope(requester)) !== undefined)
  );
}

/** @throws QvError json_malformed, field_malformed, purpose_mismatch, base58_malformed, hex_malformed, … */
function parseCreation(body: Uint8Array): Creation {
  const fields = new JsonFields(parseStrictJson(body));
  if (fields.text('purpose') !== CREATE_PURPOSE) throw new QvError('purpose_mismatch', { path: 'purpose' });
  const creation = {
    deployment: fields.text('deployment'),
    owner: address(fields.text('owner'), 'owner'),
    nonce: fromHex(fields.text('nonce'), 'nonce'),
    requesters: fields.list('requesters').map((value, index) => {
      if (typeof value !== 'string') throw fields.fault(`requesters[${index}]`, 'not a string');
      return address(value, `requesters[${index}]`);
    }),
    createBefore: timeField(fields, 'createBefore'),
    signature: signatureField(fields, 'signature'),
  };
  fields.end();
  if (creation.nonce.length !== 16) throw fields.fault('nonce', 'not 16 bytes');
  if (creation.requesters.length > LIMITS.requesters) throw fields.fault('requesters', 'too many');
  return creation;
}

/** The reply as JSON text. The same statement gets the same reply, now and after years. */
async function createWallet(deps: AppDeps, creation: Creation): Promise<string> {
  const { deployment, owner, nonce, requesters, createBefore, signature } = creation;
  if (deployment !== deps.deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
  const statement = renderCreationStatement({ deployment, owner, nonce, requesters, createBeforeMs: createBefore });
  if (!isSignedByOwner(signature, statement, owner, verifyEd25519)) throw new QvError('statement_signature_invalid');
  const statementHash = sha256(utf8(statement));
  const known = await knownReply(deps, creation, statementHash);
  if (known !== undefined) return known;
  // Without the row key the wallet could not be stored: better no wallet than one nobody has a row of.
  deps.session.requireRowMac();
  deps.records.requireRoom();
  const created = await deps.enclave.request('walletCreate', creation, {
    onLate: (late) => {
      // Its wallet is not stored: the owner never saw it, and repeating the statement brings the same one.
      if (!(late instanceof Error)) deps.records.leaf(late.receipt);
    },
  });
  return await keep(deps, creation, statementHash, created);
}

/** @throws QvError nonce_reused, row_tampered */
async function knownReply(deps: AppDeps, { owner, nonce }: Creation, hash: Hash): Promise<string | undefined> {
  const known = await deps.store.getCreation(owner, nonce);
  if (known === undefined) return undefined;
  if (!equalBytes(known.statementHash, hash)) throw new QvError('nonce_reused', { path: 'nonce' });
  // Unsealed before anybody sees it: an edited reply would name somebody else's wallet.
  return deps.session.requireRowMac().openCreation(known).reply;
}

async function keep(
  deps: AppDeps,
  creation: Creation,
  statementHash: Hash,
  created: ReplyOf<'walletCreate'>,
): Promise<string> {
  const { wallet, blobs, stateVersion, certificate, receipt } = created;
  const { owner, nonce } = creation;
  const leaf = leafRecord(receipt);
  const json = JSON.stringify({
    wallet,
    certificate: signedBytesJson(certificate),
    receipt: receiptJson(receipt),
    boot: leaf.boot,
  });
  const rowMac = deps.session.requireRowMac();
  const row = rowMac.seal({
    wallet,
    owner,
    salt: blobs.salt,
    executionKey: blobs.executionKey,
    sealedSeed: blobs.sealedSeed,
    sealedState: blobs.sealedState,
    stateVersion,
    frozen: false,
    generation: 0,
    createdAt: deps.now(),
  });
  try {
    const outcome = await deps.store.insertWallet({
      row,
      creation: rowMac.sealCreation({ owner, nonce, statementHash, wallet, reply: json }),
      leaf,
    });
    if (outcome === 'inserted') return json;
  } catch (error) {
    if (codeOf(error) === 'store_unavailable' || codeOf(error) === 'overloaded') deps.records.leaf(receipt);
    throw error;
  }
  // The same statement arrived twice at once; the other one was first.
  const known = await knownReply(deps, creation, statementHash);
  if (known === undefined) throw new QvError('store_conflict');
  return known;
}

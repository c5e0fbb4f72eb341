/** Creating and importing wallets, and their public facts. */
import { type Address, address, type BootId } from '@quantumvault/shared/brands.ts';
import { fromBase64, fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { requesterScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { decodeLeaf, type Leaf } from '@quantumvault/shared/evidence/leaf.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import { policyFromBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import {
  CREATE_PURPOSE,
  IMPORT_PURPOSE,
  renderCreationStatement,
  renderImportStatement,
} from '@quantumvault/shared/policy/statement.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { verifyEd25519 } from '../ed25519.ts';
import type { Freezes } from '../freeze.ts';
import { knownReply, newWallet } from '../new-wallets.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';
import { factsOf } from '../request-facts.ts';
import type { LeafRecord } from '../store/store.ts';
import { successionJson, successorField } from '../successor-json.ts';
import { verifiedRow } from '../wallet-rows.ts';
import { bodyBytes, signatureField, timeField } from '../wire-json.ts';

export function walletRoutes(app: FastifyInstance, deps: AppDeps, limits: RateLimits): void {
  app.post('/v1/wallets', async (request, reply) => {
    const creation = parseCreation(bodyBytes(request.body));
    await limits.byAddress(request, reply, 'statements');
    const json = await createWallet(deps, creation);
    factsOf(request).wallet = (JSON.parse(json) as { wallet: string }).wallet;
    return reply.code(201).type('application/json').send(json);
  });

  app.post('/v1/wallets/import', async (request, reply) => {
    const wanted = parseImport(bodyBytes(request.body));
    factsOf(request).wallet = wanted.wallet;
    await limits.byAddress(request, reply, 'statements');
    return reply
      .code(201)
      .type('application/json')
      .send(await importWallet(deps, wanted));
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
  const succession = await store.findSuccession(wallet);
  return {
    wallet,
    owner: row.owner,
    stateVersion: String(row.stateVersion),
    policyHash: policy === undefined ? null : toHex(policyHash(policy)),
    epoch: enabled?.epoch ?? null,
    retired: row.retired,
    frozen: row.frozen || isStopped(freezes, wallet, enabled?.requesters ?? []),
    succession: succession === undefined ? null : successionJson(leafIn(succession)),
    createdAt: formatTime(row.createdAt),
  };
}

/** @throws QvError row_tampered */
function leafIn({ leaf }: LeafRecord): Leaf {
  try {
    return decodeLeaf(leaf);
  } catch (error) {
    // Somebody edited it: whoever asks did nothing wrong.
    throw new QvError('row_tampered', { path: 'leaf' }, { cause: error });
  }
}

/** By itself or with the fleet, or because nobody is left who could ask for its signature. */
function isStopped(freezes: Freezes, wallet: Address, requesters: readonly Address[]): boolean {
  if (freezes.stopping({ wallet }) !== undefined) return true;
  return (
    requesters.length > 0 && requesters.every((requester) => freezes.find(requesterScope(requester)) !== undefined)
  );
}

/** @throws QvError json_malformed, field_malformed, purpose_mismatch, base58_malformed, hex_malformed, … */
function parseCreation(body: Uint8Array): RequestOf<'walletCreate'> {
  const fields = new JsonFields(parseStrictJson(body));
  const creation = { ...statementFields(fields, CREATE_PURPOSE), createBefore: timeField(fields, 'createBefore') };
  fields.end();
  return creation;
}

/** @throws the same */
function parseImport(body: Uint8Array): RequestOf<'walletImport'> {
  const fields = new JsonFields(parseStrictJson(body));
  const wanted = {
    ...statementFields(fields, IMPORT_PURPOSE),
    wallet: address(fields.text('wallet'), 'wallet'),
    boot: address(fields.text('boot'), 'boot') as string as BootId,
    importKey: fromHex(fields.text('importKey'), 'importKey'),
    importBefore: timeField(fields, 'importBefore'),
    sealed: fromBase64(fields.text('sealed'), 'sealed'),
  };
  fields.end();
  if (wanted.importKey.length !== 32) throw fields.fault('importKey', 'not 32 bytes');
  const { sealedImportBytes } = LIMITS;
  if (wanted.sealed.length !== sealedImportBytes) throw fields.fault('sealed', `not ${sealedImportBytes} bytes`);
  return wanted;
}

/** What both statements say, and the owner's signature. */
function statementFields(fields: JsonFields, purpose: string) {
  if (fields.text('purpose') !== purpose) throw new QvError('purpose_mismatch', { path: 'purpose' });
  const common = {
    deployment: fields.text('deployment'),
    owner: address(fields.text('owner'), 'owner'),
    nonce: fromHex(fields.text('nonce'), 'nonce'),
    requesters: fields.list('requesters').map((value, index) => {
      if (typeof value !== 'string') throw fields.fault(`requesters[${index}]`, 'not a string');
      return address(value, `requesters[${index}]`);
    }),
    signature: signatureField(fields, 'signature'),
    ...(fields.optional('successor') !== undefined && { successor: successorField(fields, 'successor') }),
  };
  if (common.nonce.length !== 16) throw fields.fault('nonce', 'not 16 bytes');
  if (common.requesters.length > LIMITS.requesters) throw fields.fault('requesters', 'too many');
  return common;
}

/** The reply as JSON text. */
async function createWallet(deps: AppDeps, creation: RequestOf<'walletCreate'>): Promise<string> {
  const { deployment, owner, nonce, requesters, createBefore, signature, successor } = creation;
  if (deployment !== deps.deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
  const text = renderCreationStatement({
    ...{ deployment, owner, nonce, requesters, successor },
    createBeforeMs: createBefore,
  });
  if (!isSignedByOwner(signature, text, owner, verifyEd25519)) throw new QvError('statement_signature_invalid');
  const statement = { owner, nonce, hash: sha256(utf8(text)) };
  return (
    (await knownReply(deps, statement)) ??
    (await newWallet(deps, statement, {
      ask: (options) => deps.enclave.request('walletCreate', creation, options),
      ifTaken: 'store_conflict',
    }))
  );
}

async function importWallet(deps: AppDeps, request: RequestOf<'walletImport'>): Promise<string> {
  const { deployment, owner, nonce, wallet, importBefore, signature } = request;
  if (deployment !== deps.deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
  const text = renderImportStatement({ ...request, importBeforeMs: importBefore });
  if (!isSignedByOwner(signature, text, owner, verifyEd25519)) throw new QvError('statement_signature_invalid');
  const statement = { owner, nonce, hash: sha256(utf8(text)) };
  const isTaken = (await deps.store.getWallet(wallet)) !== undefined;
  // Looked up behind that: the row may be this statement's own, which has come twice at once.
  const known = await knownReply(deps, statement);
  if (known !== undefined) return known;
  if (isTaken) throw new QvError('wallet_exists', { path: 'wallet' });
  return await newWallet(deps, statement, {
    ask: (options) => deps.enclave.request('walletImport', request, options),
    ifTaken: 'wallet_exists',
  });
}

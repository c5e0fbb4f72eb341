/** Retiring a wallet, by its owner's statement. */
import { type Address, address, type BootId, type Hash } from '@quantumvault/shared/brands.ts';
import { equalBytes, fromHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import { policyHash } from '@quantumvault/shared/policy/policy.ts';
import { RETIRE_PURPOSE, renderRetireStatement } from '@quantumvault/shared/policy/statement.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { verifyEd25519 } from '../ed25519.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';
import { factsOf } from '../request-facts.ts';
import type { WalletRow } from '../store/store.ts';
import { blobsOf, verifiedRow } from '../wallet-rows.ts';
import { bodyBytes, receiptJson, signatureField, signedBytesJson, timeField } from '../wire-json.ts';

type Statement = Omit<RequestOf<'walletRetire'>, 'blobs'>;

export function retireRoutes(app: FastifyInstance, deps: AppDeps, limits: RateLimits): void {
  app.post<{ Params: { wallet: string } }>('/v1/wallets/:wallet/retire', async (request, response) => {
    await limits.byAddress(request, response, 'statements');
    const wallet = address(request.params.wallet, 'wallet');
    factsOf(request).wallet = wallet;
    const statement = parseStatement(bodyBytes(request.body), wallet);
    requireSigned(deps, statement);
    const row = await verifiedRow(deps.store, deps.session, wallet);
    if (row.owner !== statement.owner) throw new QvError('wallet_owner_mismatch', { path: 'owner' });
    const { ack, receipt } = await retire(deps, row, statement);
    return { wallet, ack: signedBytesJson(ack), receipt: receiptJson(receipt), boot: decodeLeaf(receipt.leaf).boot };
  });
}

/**
 * Also of a wallet whose row is marked: the enclave has the answer to this very statement, whoever lost it.
 * @throws QvError wallet_retired, policy_not_current, store_*, enclave_*, and what the enclave refuses with
 */
async function retire(deps: AppDeps, row: WalletRow, statement: Statement): Promise<ReplyOf<'walletRetire'>> {
  const { enclave, records, walletKeys, log } = deps;
  if (!row.retired) requirePolicy(row, statement.policyHash);
  records.requireRoom();
  try {
    return await walletKeys.ask(row, async (current) => {
      const reply = await enclave.request(
        'walletRetire',
        { ...statement, blobs: blobsOf(current) },
        {
          onLate: (late) => {
            if (late instanceof Error) return;
            records
              .retired({ row: current, ...late })
              .catch((error) => log.error({ code: codeOf(error) }, 'the end of a wallet is not stored yet'));
          },
        },
      );
      await records.retired({ row: current, ...reply });
      return reply;
    });
  } catch (error) {
    // By another statement, whose answer this host lost: the leaf comes with the others that it lacks.
    if (!row.retired && codeOf(error) === 'wallet_retired') {
      const { state } = await enclave.request('stateGet', { wallet: row.wallet });
      await records.retired({ row, state });
    }
    // Its boot is gone, and the answer with it: what the row says is all there is, and enough.
    if (row.retired && codeOf(error) === 'wallet_held_elsewhere')
      throw new QvError('wallet_retired', { path: 'wallet' }, { cause: error });
    throw error;
  }
}

/** @throws QvError policy_not_current */
function requirePolicy({ policy }: WalletRow, named: Hash | undefined): void {
  const current = policy === undefined ? undefined : policyHash(policy);
  const agrees = current && named ? equalBytes(current, named) : current === named;
  if (!agrees) throw new QvError('policy_not_current', { path: 'policyHash' });
}

/** @throws QvError deployment_mismatch, statement_signature_invalid */
function requireSigned({ deployment }: AppDeps, statement: Statement): void {
  if (statement.deployment !== deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
  const { policyHash: named, retireBefore: retireBeforeMs, owner, signature } = statement;
  const text = renderRetireStatement({ ...statement, policyHash: named, retireBeforeMs });
  if (!isSignedByOwner(signature, text, owner, verifyEd25519)) throw new QvError('statement_signature_invalid');
}

/** @throws QvError json_malformed, field_malformed, purpose_mismatch, wallet_mismatch, base58_malformed, hex_malformed, … */
function parseStatement(body: Uint8Array, wallet: Address): Statement {
  const fields = new JsonFields(parseStrictJson(body));
  if (fields.text('purpose') !== RETIRE_PURPOSE) throw new QvError('purpose_mismatch', { path: 'purpose' });
  const named = policyHashField(fields);
  const statement = {
    deployment: fields.text('deployment'),
    wallet: address(fields.text('wallet'), 'wallet'),
    owner: address(fields.text('owner'), 'owner'),
    ...(named && { policyHash: named }),
    boot: address(fields.text('boot'), 'boot') as string as BootId,
    nonce: fromHex(fields.text('nonce'), 'nonce'),
    retireBefore: timeField(fields, 'retireBefore'),
    signature: signatureField(fields, 'signature'),
  };
  fields.end();
  if (statement.nonce.length !== 16) throw fields.fault('nonce', 'not 16 bytes');
  if (statement.wallet !== wallet) throw new QvError('wallet_mismatch', { path: 'wallet' });
  return statement;
}

/** null for a wallet without a policy; never absent, so that nobody forgets it. */
function policyHashField(fields: JsonFields): Hash | undefined {
  const value = fields.required('policyHash');
  if (value === null) return undefined;
  if (typeof value !== 'string') throw fields.fault('policyHash', 'neither hex nor null');
  const bytes = fromHex(value, 'policyHash');
  if (bytes.length !== 32) throw fields.fault('policyHash', 'not 32 bytes');
  return bytes as Hash;
}

/**
 * Importing a key that exists outside: its owner seals the seed to this boot's import key, which the attestation
 * names, together with the SHA-256 of the statement that he signs. From there on it is a creation. Nothing in here can
 * undo that the key was outside: whoever kept a copy signs without this enclave, and certificate and leaf say so.
 *
 * The box is libsodium's (X25519, XSalsa20-Poly1305) and not HPKE's (RFC 9180): libsodium is what touches secrets here
 * anyway, and opens it from the message straight into guarded memory, with no further package in the enclave.
 */
import { equalBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import { renderImportStatement } from '@quantumvault/shared/policy/statement.ts';
import type { NewWallet } from '@quantumvault/shared/protocol/message-parts.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { Context } from './context.ts';
import type { Beginning, Creations } from './create.ts';
import { requireTimely } from './timely.ts';
import { verifyEd25519 } from './vault.ts';

/**
 * @throws QvError deployment_mismatch, import_refused (for another boot or import key, or a box that does not open, is
 * for another statement or holds another key), statement_expired, statement_signature_invalid, wallet_exists,
 * wallet_held_elsewhere, nonce_reused, wallets_full, overloaded, request_ids_full, time_untrusted, kms_*
 */
export async function importWallet(
  context: Context,
  creations: Creations,
  request: RequestOf<'walletImport'>,
): Promise<NewWallet> {
  const { attester, config, holdings, time, vault } = context;
  const { deployment, owner, wallet, nonce, requesters, boot, importKey, importBefore, signature, sealed } = request;
  const { successor } = request;
  if (deployment !== config.deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
  if (boot !== attester.boot) throw new QvError('import_refused', { path: 'boot' });
  if (!equalBytes(importKey, vault.importPublicKey)) throw new QvError('import_refused', { path: 'importKey' });
  const now = time.now();
  requireTimely(importBefore, now, 'importBefore');
  const statement = renderImportStatement({
    deployment,
    owner,
    wallet,
    nonce,
    requesters,
    boot,
    importKey,
    importBeforeMs: importBefore,
    successor,
  });
  if (!isSignedByOwner(signature, statement, owner, verifyEd25519)) throw new QvError('statement_signature_invalid');
  const statementHash = sha256(utf8(statement));
  const beginning: Beginning = {
    deployment,
    owner,
    nonce,
    requesters,
    statementHash,
    before: importBefore,
    beforeName: 'importBefore',
    kind: 'wallet-imported',
    successor,
    begin: () => vault.beginImport(sealed, statementHash, wallet),
    standing: () => holdings.unusedImport(wallet, owner, successor),
  };
  return creations.once(context, beginning, now);
}

/**
 * Importing a key that exists outside. The SDK sees no key: a callback seals it, for the statement that the owner
 * signed and to a key that was born in the attested boot, and only after that boot has proved itself live.
 */
import type { Address, Hash, TimeMs } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Successor } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { IMPORT_PURPOSE, renderImportStatement } from '@quantumvault/shared/policy/statement.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { exchange } from './http.ts';
import type { Owner } from './keys.ts';
import type { SigningContext } from './signing.ts';
import { type CreatedWallet, certifiedWallet, signStatement, soon } from './wallets.ts';
import { jsonBody, requireLength } from './wire.ts';

/** What a key is sealed for. */
export interface ImportTarget {
  /** SHA-256 of the statement. */
  readonly statementHash: Hash;
  /** X25519, 32 bytes, attested. */
  readonly importKey: Uint8Array;
}

export interface ImportWalletOptions {
  readonly owner: Owner;
  /** The address of the key. */
  readonly wallet: Address;
  /**
   * libsodium's `crypto_box_seal` to `importKey` of 64 bytes, `statementHash` and the 32-byte seed: 112 bytes. Whoever
   * implements it wipes what it used.
   */
  readonly seal: (target: ImportTarget) => Promise<Uint8Array> | Uint8Array;
  /** 1 to 16 request keys, which the certificate names. */
  readonly requesters: readonly Address[];
  /** 16 bytes, drawn at random unless given. */
  readonly nonce?: Uint8Array;
  /** The statement counts until then. Default: LIMITS.clientStatementSeconds from now; at most a day ahead. */
  readonly importBefore?: TimeMs;
  /** Who may follow the owner; the certificate says so. */
  readonly successor?: Successor;
  readonly signal?: AbortSignal;
}

/**
 * Returns only after the certificate has been verified. When the answer was lost the import may be repeated, also with
 * a new nonce: it gives the same wallet until it has a policy, or `wallet_exists` once the host has it.
 * @throws QvError attestation_* before the owner is asked for anything; statement_signature_invalid when the callback
 * signed something else; evidence_*; HostProblem; host_unreachable, response_malformed
 */
export async function importWallet(context: SigningContext, options: ImportWalletOptions): Promise<CreatedWallet> {
  const { deployment, connection } = context;
  const { owner, wallet, requesters, signal, successor } = options;
  const nonce = requireLength(options.nonce ?? crypto.getRandomValues(new Uint8Array(16)), 16, 'nonce');
  const importBefore = options.importBefore ?? soon(context);
  const attested = await context.boots.fresh(signal);
  const { importKey, bootKey: boot } = attested.userData;
  if (importKey === undefined)
    throw new QvError('attestation_user_data_mismatch', { path: 'userData.importKey', value: 'none' });
  const text = renderImportStatement({
    deployment,
    owner: owner.address,
    wallet,
    nonce,
    requesters,
    boot,
    importKey,
    importBeforeMs: importBefore,
    successor,
  });
  const signature = await signStatement(context, owner, text);
  const sealed = await options.seal({ statementHash: sha256(utf8(text)), importKey });
  const fields = await exchange(connection, {
    method: 'POST',
    path: 'v1/wallets/import',
    signal,
    body: jsonBody({
      purpose: IMPORT_PURPOSE,
      deployment,
      owner: owner.address,
      wallet,
      nonce: toHex(nonce),
      requesters,
      boot,
      importKey: toHex(importKey),
      importBefore: formatTime(importBefore),
      signature: toBase64(signature),
      sealed: toBase64(requireLength(sealed, LIMITS.sealedImportBytes, 'seal')),
      ...(successor && { successor }),
    }),
  });
  const named = successor && { successor };
  const about = { owner: owner.address, wallet, requesters, nonce, imported: true, ...named } as const;
  return await certifiedWallet(context, fields, attested, about, signal);
}

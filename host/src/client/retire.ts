/** Retiring a wallet: its owner ends it for good, and the boot that holds it says so. */
import type { Address, Hash, TimeMs } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt, RetireAck, SignedBytes } from '@quantumvault/shared/evidence/leaf.ts';
import { verifyRetireAck } from '@quantumvault/shared/evidence/verify.ts';
import { RETIRE_PURPOSE, renderRetireStatement } from '@quantumvault/shared/policy/statement.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import type { AttestedBoot } from './attestation.ts';
import { exchange, readResponse } from './http.ts';
import type { Owner } from './keys.ts';
import type { SigningContext } from './signing.ts';
import { signStatement, soon } from './wallets.ts';
import { hashField, jsonBody, receiptField, requireLength, signedBytesField } from './wire.ts';

export interface RetireWalletOptions {
  readonly owner: Owner;
  readonly wallet: Address;
  /**
   * Of the policy that is enabled, `null` for a wallet without one. Default: what the host says it is; the statement
   * shows it, and an enclave refuses another.
   */
  readonly policyHash?: Hash | null;
  /** 16 bytes, drawn at random unless given. */
  readonly nonce?: Uint8Array;
  /** The statement counts until then. Default: LIMITS.clientStatementSeconds from now; at most a day ahead. */
  readonly retireBefore?: TimeMs;
  readonly signal?: AbortSignal;
}

export interface RetiredWallet {
  readonly wallet: Address;
  /** The attested boot that held it. */
  readonly boot: AttestedBoot;
  readonly ack: RetireAck;
  /** To keep: what proves the above to somebody else. */
  readonly evidence: { readonly ack: SignedBytes; readonly receipt: Receipt };
}

/**
 * From here on no enclave signs for the wallet: what is left in it stays there. Copies of its ciphertext elsewhere
 * cannot be destroyed. A wallet that is retired already is refused with `wallet_retired`.
 * @throws QvError attestation_* before the owner is asked for anything; statement_signature_invalid when the callback
 * signed something else; evidence_*; HostProblem; host_unreachable, response_malformed
 */
export async function retireWallet(context: SigningContext, options: RetireWalletOptions): Promise<RetiredWallet> {
  const { deployment, connection, verifyEd25519 } = context;
  const { owner, wallet, signal } = options;
  const nonce = requireLength(options.nonce ?? crypto.getRandomValues(new Uint8Array(16)), 16, 'nonce');
  const retireBefore = options.retireBefore ?? soon(context);
  const attested = await context.boots.fresh(signal);
  const { boot } = attested;
  const policyHash =
    (options.policyHash === undefined ? await enabledPolicy(context, options) : options.policyHash) ?? undefined;
  const text = renderRetireStatement({
    deployment,
    wallet,
    owner: owner.address,
    policyHash,
    boot,
    nonce,
    retireBeforeMs: retireBefore,
  });
  const signature = await signStatement(context, owner, text);
  const fields = await exchange(connection, {
    method: 'POST',
    path: `v1/wallets/${wallet}/retire`,
    signal,
    body: jsonBody({
      purpose: RETIRE_PURPOSE,
      deployment,
      wallet,
      owner: owner.address,
      policyHash: policyHash === undefined ? null : toHex(policyHash),
      boot,
      nonce: toHex(nonce),
      retireBefore: formatTime(retireBefore),
      signature: toBase64(signature),
    }),
  });
  const claim = readResponse(() => ({
    wallet: fields.text('wallet'),
    ack: signedBytesField(fields, 'ack'),
    receipt: receiptField(fields, 'receipt'),
  }));
  if (claim.wallet !== wallet)
    throw new QvError('evidence_mismatch', { path: 'wallet', value: claim.wallet.slice(0, 64) });
  // The statement names one boot, and only that one can have honoured it.
  const expected = { deployment, boot, wallet, owner: owner.address, policyHash, nonce };
  const ack = verifyRetireAck(claim.ack, claim.receipt, expected, verifyEd25519);
  return { wallet, boot: attested, ack, evidence: { ack: claim.ack, receipt: claim.receipt } };
}

async function enabledPolicy(
  { connection }: SigningContext,
  { wallet, signal }: RetireWalletOptions,
): Promise<Hash | undefined> {
  const fields = await exchange(connection, { method: 'GET', path: `v1/wallets/${wallet}`, signal });
  return readResponse(() => (fields.required('policyHash') === null ? undefined : hashField(fields, 'policyHash')));
}

/** A wallet's row as it may be used: there, and found unedited. */
import type { Address } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import {
  type EnabledPolicy,
  type WalletBlobs,
  type WalletKeyBlobs,
  walletKeyBlobs,
} from '@quantumvault/shared/protocol/message-parts.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { EnclaveSession } from './enclave/session.ts';
import type { Store, WalletRow } from './store/store.ts';

/** @throws QvError wallet_unknown, row_tampered, not_initialised, store_*, enclave_* */
export async function verifiedRow(store: Store, session: EnclaveSession, wallet: Address): Promise<WalletRow> {
  const { rowKeys } = session;
  return await rowKeys.reading(async () => {
    const row = await store.getWallet(wallet);
    if (row === undefined) throw new QvError('wallet_unknown', { path: 'wallet' });
    return rowKeys.require().verify(row);
  });
}

export function blobsOf({ salt, executionKey, sealedSeed, second, sealedState }: WalletRow): WalletBlobs {
  return { salt, executionKey, sealedSeed, ...(second && { second }), sealedState };
}

/** Whether the same execution key, salt and seed blob are in both. */
export function sameKeys(one: WalletKeyBlobs, other: WalletKeyBlobs): boolean {
  return equalBytes(encodeAs(walletKeyBlobs, one), encodeAs(walletKeyBlobs, other));
}

/** Early, before the enclave is asked, which says the same. @throws QvError wallet_retired */
export function requireLive({ retired }: WalletRow): void {
  if (retired) throw new QvError('wallet_retired', { path: 'wallet' });
}

/** @throws QvError wallet_without_policy */
export function policyOf({ policy, policyMac }: WalletRow): EnabledPolicy {
  if (policy === undefined || policyMac === undefined) throw new QvError('wallet_without_policy', { path: 'wallet' });
  return { bytes: policy, mac: policyMac };
}

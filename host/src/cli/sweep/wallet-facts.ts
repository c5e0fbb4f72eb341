/** What the host says of a wallet. The enclave knows better, and refuses what does not fit. */
import { type Address, address, type Hash } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { exchange, readResponse } from '../../client/http.ts';
import { hashField } from '../../client/wire.ts';
import { hostConnection } from '../host-connection.ts';

export interface WalletFacts {
  readonly wallet: Address;
  readonly owner: Address;
  /** Of the policy that is enabled; undefined for a wallet without one. */
  readonly epoch: number | undefined;
  readonly policyHash: Hash | undefined;
}

const EPOCH_MAX = 0xffff_ffff;

/**
 * Of a wallet that signs.
 * @throws QvError wallet_retired, frozen, and what the host answers
 */
export async function signingWallet(url: string, wallet: Address): Promise<WalletFacts> {
  const fields = await exchange(hostConnection(url), { method: 'GET', path: `v1/wallets/${wallet}` });
  const { isRetired, isFrozen, ...facts } = readResponse(() => ({
    wallet,
    owner: address(fields.text('owner'), 'owner'),
    epoch: fields.required('epoch') === null ? undefined : fields.integer('epoch', EPOCH_MAX),
    policyHash: fields.required('policyHash') === null ? undefined : hashField(fields, 'policyHash'),
    isRetired: fields.optionalBoolean('retired') === true,
    isFrozen: fields.optionalBoolean('frozen') === true,
  }));
  if (isRetired) throw new QvError('wallet_retired', { path: 'wallet' });
  if (isFrozen) throw new QvError('frozen', { path: 'wallet' });
  return facts;
}

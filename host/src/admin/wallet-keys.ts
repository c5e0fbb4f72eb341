import { type Address, address } from '@quantumvault/shared/brands.ts';
import type { JsonFields } from '@quantumvault/shared/json.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import type { AdminCommands } from '../admin-protocol.ts';
import { timeField } from '../wire-json.ts';
import type { AdminDeps } from './deps.ts';

/**
 * Puts one wallet under a fresh execution key and salt, while it goes on signing. Durable when it is answered.
 * @throws QvError what the enclave refuses with; wallet_unknown, wallet_retired, row_tampered, store_*
 */
export async function rotateWallet(
  fields: JsonFields,
  { walletKeys }: AdminDeps,
): Promise<AdminCommands['wallet-rotate']['result']> {
  const wallet: Address = address(fields.text('wallet'), 'wallet');
  const before = fields.optional('before') === undefined ? undefined : timeField(fields, 'before');
  const withoutSecond = fields.optionalBoolean('withoutSecond');
  fields.end();
  const { rotated, at } = await walletKeys.rotate(wallet, { before, withoutSecond });
  return { rotated, at: formatTime(at) };
}

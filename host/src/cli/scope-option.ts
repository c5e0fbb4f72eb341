/** Which freeze a command is about: exactly one of three options. */
import { address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { FLEET, requesterScope, walletScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import type { Arguments, OptionSpec } from './command.ts';

export const SCOPE_OPTIONS = {
  all: { help: 'the scope: every wallet of the deployment' },
  wallet: { value: '<address>', help: 'the scope: one wallet, whoever asks' },
  requester: { value: '<key>', help: 'the scope: one requester, for every wallet' },
} as const satisfies Record<string, OptionSpec>;

/** @throws QvError usage_invalid, base58_malformed */
export function scopeOption(args: Arguments): string {
  const given = (['all', 'wallet', 'requester'] as const).filter((name) => args.flag(name));
  if (given.length !== 1)
    throw new QvError('usage_invalid', { value: 'name one scope: --all, --wallet <address> or --requester <key>' });
  if (args.flag('all')) return FLEET;
  const wallet = args.optional('wallet');
  if (wallet !== undefined) return walletScope(address(wallet, '--wallet'));
  return requesterScope(address(args.text('requester'), '--requester'));
}

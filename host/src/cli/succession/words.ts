/** Boots and wallets on the command line, and what every command here prints. */
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { type Address, address, type BootId, bootIdOf } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { FACT } from '@quantumvault/shared/evidence/leaf.ts';
import type { Arguments, OptionSpec } from '../command.ts';
import type { Style } from '../terminal.ts';

export const DEPLOYMENT: OptionSpec = { value: '<name>', help: 'the deployment’s name', required: true };

/** @throws QvError base58_malformed, usage_invalid */
export function bootOption(args: Arguments, name: string): BootId {
  return bootIdOf(fromBase58(args.text(name), 32, `--${name}`));
}

/** @throws QvError usage_invalid */
export function deploymentOption(args: Arguments): string {
  const name = args.text('deployment');
  if (name.length > 64 || !FACT.test(name)) throw new QvError('usage_invalid', { value: '--deployment is no name' });
  return name;
}

/** Each once; undefined when none is named. @throws QvError base58_malformed, usage_invalid */
export function walletOptions(args: Arguments, name = 'wallet'): readonly Address[] | undefined {
  const wallets = args.list(name).map((text) => address(text, `--${name}`));
  if (new Set(wallets).size !== wallets.length)
    throw new QvError('usage_invalid', { value: `--${name} names one wallet twice` });
  return wallets.length === 0 ? undefined : wallets;
}

export const warningLines = (warnings: readonly string[], style: Style): readonly string[] =>
  warnings.map((warning) => style(['bold', 'red'], `! ${warning}`));

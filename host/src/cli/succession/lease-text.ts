/** What a lease says, for those who are to sign it. */
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import type { OperatorSigned, SignedBy } from '@quantumvault/shared/evidence/succession.ts';
import { parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { parseNote } from '@quantumvault/shared/tlog/note.ts';
import { verifyEd25519 } from '../../client/keys.ts';
import { countText } from '../progress.ts';
import { printable, type Style, table } from '../terminal.ts';
import type { LeaseEntry } from './files.ts';
import { untilText } from './not-after.ts';

/** Each key once, and whether it signed these bytes. */
export function signersOf({ bytes, signatures }: OperatorSigned): readonly (SignedBy & { readonly holds: boolean })[] {
  const holds = ({ key, signature }: SignedBy): boolean => {
    try {
      return verifyEd25519(signature, bytes, addressBytes(key));
    } catch {
      return false;
    }
  };
  return [...new Map(signatures.map((signed) => [signed.key, { ...signed, holds: holds(signed) }])).values()];
}

export function leaseJson({ signed, lease }: LeaseEntry) {
  return {
    wallets: lease.wallets.map(({ wallet, version }) => ({ wallet, version: String(version) })),
    sumsProven: lease.sumsProven,
    freezes: lease.freezes.map(({ scope, freezeId }) => ({ scope, freezeId: toHex(freezeId) })),
    signatures: signersOf(signed).map(({ key, holds }) => ({ key, holds })),
  };
}

export function leaseLines(entries: readonly [LeaseEntry, ...LeaseEntry[]], style: Style): readonly string[] {
  const [{ lease }] = entries;
  const of = entries.length === 1 ? '' : ` in ${countText(entries.length)} leases`;
  const wallets = entries.reduce((sum, entry) => sum + entry.lease.wallets.length, 0);
  return [
    style('bold', 'This says that an enclave boot is gone for good, and that another one goes on with its wallets.'),
    ...table(
      [
        ['Gone', lease.predecessor],
        ['Goes on', lease.successor],
        ['Deployment', printable(lease.deployment)],
        ['Wallets', `${countText(wallets)}${of}`],
        ['Log held', checkpointText(lease.checkpoint)],
        ['Windows', lease.sumsProven ? 'keep their sums, if the enclave’s witnesses have cosigned' : 'count as full'],
        ['Counts until', untilText(lease.notAfter)],
      ],
      style,
    ),
    ...entries.flatMap((entry) => [
      ...entry.lease.wallets.map(
        ({ wallet, version }) => `  wallet ${wallet}  ${style('dim', `version ${version} or later`)}`,
      ),
      ...entry.lease.freezes.map(
        ({ scope, freezeId }) => `  ${style('yellow', 'frozen')} ${printable(scope)}  ${style('dim', toHex(freezeId))}`,
      ),
      ...signersOf(entry.signed).map(
        ({ key, holds }) => `  ${holds ? style('green', 'signed') : style('red', 'NOT signed')} by ${key}`,
      ),
    ]),
  ];
}

function checkpointText(checkpoint: Uint8Array): string {
  try {
    const { text, signatures } = parseNote(checkpoint);
    const { origin, size } = parseCheckpoint(text);
    const witnesses = signatures.map(({ name }) => name).filter((name) => name !== origin);
    const by = witnesses.length === 0 ? 'no witness' : `with lines of ${witnesses.join(', ')}`;
    return printable(`${size} leaves of ${origin}; ${by}`);
  } catch (error) {
    return `unreadable (${codeOf(error)})`;
  }
}

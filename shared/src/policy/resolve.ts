/**
 * Which accounts an instruction's indexes mean. Loaded keys follow the static ones: first the writables of all
 * lookups in order, then the readonlys of all lookups (solana-message `AccountKeys`). Their addresses come only from
 * snapshots in the signed policy: a table is append-only, so a pinned index cannot change its meaning.
 */
import type { Address } from '../brands.ts';
import type { Message } from '../solana/message.ts';
import type { LookupTable } from './policy.ts';
import type { Tally } from './tally.ts';

/** Undefined, with a denial, where a lookup cannot be resolved or loads a key that is already there. */
export function resolveAccounts(
  message: Message,
  tables: readonly LookupTable[],
  tally: Tally,
): readonly Address[] | undefined {
  const writable: Address[] = [];
  const readonly: Address[] = [];
  for (const lookup of message.lookups) {
    const snapshot = tables.find((pinned) => pinned.table === lookup.table);
    if (snapshot === undefined) {
      tally.deny('lookup-table-not-pinned', lookup.table);
      return undefined;
    }
    for (const [indexes, into] of [
      [lookup.writableIndexes, writable],
      [lookup.readonlyIndexes, readonly],
    ] as const)
      for (const index of indexes) {
        const address = snapshot.addresses[index];
        if (address === undefined) {
          tally.deny('lookup-index-beyond-snapshot', `${lookup.table} ${index}`);
          return undefined;
        }
        into.push(address);
      }
  }
  const accounts = [...message.accountKeys, ...writable, ...readonly];
  const repeated = accounts.find((address, index) => accounts.indexOf(address) !== index);
  if (repeated !== undefined) {
    // The runtime refuses it (AccountLoadedTwice).
    tally.deny('account-loaded-twice', repeated);
    return undefined;
  }
  return accounts;
}

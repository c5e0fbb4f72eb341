/** What the store holds under the row key, and the row key itself: what replacing it needs (rotation/row-key.ts). */
import type { CreationRecord, ReplyRecord, SignalRecord, WalletRow } from './store.ts';

/** Read together, as one transaction left them. */
export interface RowKeyBlobs {
  /** KMS ciphertext. Absent until `qv init row-key`. */
  readonly current?: Uint8Array;
  /** While the row key is being replaced: the one that every MAC is made with from now on. */
  readonly next?: Uint8Array;
  /** By which the newest of them followed the one before (row-key.ts). Stays when that is done. */
  readonly step?: Uint8Array;
}

/** In the order in which they are sealed anew. */
export const SEALED_TABLES = ['wallets', 'creations', 'signals', 'replies'] as const;
export type SealedTable = (typeof SEALED_TABLES)[number];

export type SealedRecord =
  | { readonly table: 'wallets'; readonly record: WalletRow }
  | { readonly table: 'creations'; readonly record: CreationRecord }
  | { readonly table: 'signals'; readonly record: SignalRecord }
  | { readonly table: 'replies'; readonly record: ReplyRecord };

/** Values of the columns that a table is ordered by. */
export type SealedPosition = readonly (string | Uint8Array)[];

export interface SealedQuery {
  readonly table: SealedTable;
  /** Of the key that records should be under: those that are, are left out. */
  readonly keyId: Uint8Array;
  /** Only what lies behind it. */
  readonly after?: SealedPosition;
  /** Records that are looked at. */
  readonly count: number;
}

export interface SealedPage {
  readonly records: readonly SealedRecord[];
  /** Left-out ones too. */
  readonly examined: number;
  /** Absent when there is nothing more. */
  readonly next?: SealedPosition;
}

/** The same record under another MAC. */
export interface Resealed {
  readonly from: SealedRecord;
  readonly to: SealedRecord;
}

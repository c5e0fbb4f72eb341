/** How the operations of the store are treated before anything is done. */
import type { Store } from './store.ts';

export type OperationName = Exclude<keyof Store, 'close'>;

/** Operations that write, and so share a COMMIT with others. */
export const WRITES: ReadonlySet<OperationName> = new Set<OperationName>([
  'insertWallet',
  'applySigned',
  'enablePolicy',
  'replaceWalletKeys',
  'retireWallet',
  'putLeaves',
  'putTiles',
  'publishLog',
  'putPolicy',
  'deleteExpiredReplies',
  'createMeta',
  'latchFreeze',
  'clearFreeze',
  'useTotpStep',
  'putPanicCode',
  'putSignal',
  'deleteExpiredSignals',
  'beginRowKey',
  'finishRowKey',
  'discardNextRowKey',
  'replaceMacs',
]);

/** What the stop button needs: there is room for it in a full queue, and it is done before what waits there. */
export const URGENT: ReadonlySet<OperationName> = new Set<OperationName>([
  'latchFreeze',
  'clearFreeze',
  'getFreezes',
  'useTotpStep',
  'findPanicCode',
]);

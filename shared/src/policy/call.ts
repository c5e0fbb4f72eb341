/** One instruction as the judge sees it: its program and accounts resolved to addresses. */
import type { Address } from '../brands.ts';

export interface Call {
  /** For people: `#2`, or `#2.0` for the first inner instruction of a Batch. */
  readonly label: string;
  readonly program: Address;
  readonly accounts: readonly Address[];
  readonly data: Uint8Array;
}

/**
 * Every operation of the HTTP interface, in the order of the document. A new route is described in the file of its
 * group, beside this one, and test/host/openapi/ says what is missing until it is.
 */
import { EVIDENCE } from './evidence.ts';
import { FREEZE } from './freeze.ts';
import type { Operation } from './operation.ts';
import { READS } from './reads.ts';
import { SERVICE } from './service.ts';
import { SIGNALS } from './signals.ts';
import { SIGNING } from './signing.ts';
import { SUCCESSOR } from './successor.ts';
import { WALLETS } from './wallets.ts';

export const OPERATIONS: readonly Operation[] = [
  ...SIGNING,
  ...WALLETS,
  ...SUCCESSOR,
  ...SIGNALS,
  ...FREEZE,
  ...READS,
  ...EVIDENCE,
  ...SERVICE,
];

/** What the installed package exports: the client, and of what it shares with the appliance the parts callers need. */
export { type PcrSet, parsePcrSets } from '@quantumvault/shared/attestation/pcrs.ts';
export {
  type Address,
  address,
  addressOf,
  type BootId,
  type Hash,
  type Signature,
  type TimeMs,
  timeMs,
} from '@quantumvault/shared/brands.ts';
export {
  ERRORS,
  type ErrorCode,
  type ErrorFacts,
  type ErrorRow,
  isErrorCode,
  QvError,
} from '@quantumvault/shared/errors.ts';
export type { Leaf, Receipt, VerifyEd25519 } from '@quantumvault/shared/evidence/leaf.ts';
export type { Policy } from '@quantumvault/shared/policy/policy.ts';
export * from './client.ts';

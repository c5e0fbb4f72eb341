/** Which codes come from which part of the work, so that operations name parts. The table itself is shared/src/errors.ts. */
import { ERRORS, type ErrorCode } from '@quantumvault/shared/errors.ts';

/** Before any route: the request itself, and a host that is stopping or broken. */
export const EVERY: readonly ErrorCode[] = ['http_malformed', 'headers_too_large', 'shutting_down', 'internal'];
/** What is counted, and refused when the host is late. */
export const COUNTED: readonly ErrorCode[] = ['overloaded', 'rate_limited'];
/** A parameter in the path that is longer than any may be. */
export const IN_PATH: readonly ErrorCode[] = ['route_unknown'];
export const WITH_BODY: readonly ErrorCode[] = ['body_too_large', 'media_type_unsupported'];
export const STRICT_JSON: readonly ErrorCode[] = ['json_malformed', 'field_malformed'];

/** Of whoever needs an API token, and has none, a wrong one, or one of another role. */
export const TOKEN: readonly ErrorCode[] = ['api_tokens_unconfigured', 'api_token_invalid', 'api_role_forbidden'];
/** Beside it: a wallet that the token may not see. */
export const TOKEN_OF_WALLET: readonly ErrorCode[] = ['api_wallet_forbidden'];

export const STORE: readonly ErrorCode[] = ['store_unavailable', 'overloaded'];
/** Any question put to the enclave. */
export const ENCLAVE: readonly ErrorCode[] = [
  'enclave_unavailable',
  'enclave_not_ready',
  'deadline_exceeded',
  'overloaded',
  'frozen',
  'time_untrusted',
];
/** A wallet's keys are made or unwrapped. */
export const KMS: readonly ErrorCode[] = ['kms_unavailable', 'kms_refused', 'kms_response_invalid', 'nsm_failed'];
/** The row key, without which no row is believed. */
export const ROW_KEY: readonly ErrorCode[] = [
  'not_initialised',
  'key_blob_invalid',
  'row_key_retired',
  ...ENCLAVE,
  ...KMS,
  ...STORE,
];
/** A wallet's row is read. */
export const ROW: readonly ErrorCode[] = ['base58_malformed', 'wallet_unknown', 'row_tampered', ...ROW_KEY];
/** The enclave opens what it holds of a wallet. */
export const HELD: readonly ErrorCode[] = [
  ...ENCLAVE,
  ...KMS,
  'key_blob_invalid',
  'wallet_keys_mismatch',
  'wallet_keys_replaced',
  'wallet_owner_mismatch',
  'wallet_held_elsewhere',
  'wallet_in_transit',
  'wallets_full',
  'state_invalid',
  'state_ahead',
  'state_too_old',
];
/** A decision is written down. */
export const RECORDED: readonly ErrorCode[] = ['store_conflict', 'row_tampered', ...STORE];
/** A policy document is read. */
export const POLICY: readonly ErrorCode[] = ['policy_invalid', 'policy_unsupported', 'policy_too_large'];

export const TRANSACTION: readonly ErrorCode[] = codesLike('transaction_');

function codesLike(prefix: string): ErrorCode[] {
  return (Object.keys(ERRORS) as ErrorCode[]).filter((code) => code.startsWith(prefix));
}

/** Each once, in the order of the table. */
export function inOrder(codes: Iterable<ErrorCode>): ErrorCode[] {
  const wanted = new Set(codes);
  return (Object.keys(ERRORS) as ErrorCode[]).filter((code) => wanted.has(code));
}

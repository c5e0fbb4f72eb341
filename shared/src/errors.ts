/**
 * Every error of the appliance: code, HTTP status, whether the same request may succeed later, and its meaning.
 * Codes and meanings never change. Callers see the code, the meaning and the public facts passed along (RFC 9457);
 * the cause stays in the local, redacted log.
 */
export interface ErrorRow {
  readonly status: number;
  readonly retryable: boolean;
  readonly meaning: string;
}

const row = (status: number, meaning: string): ErrorRow => ({ status, retryable: false, meaning });
const retry = (status: number, meaning: string): ErrorRow => ({ status, retryable: true, meaning });

export const ERRORS = {
  // Bytes that do not parse.
  frame_malformed: row(400, 'A frame is empty, or its length prefix is out of bounds.'),
  cbor_malformed: row(400, 'CBOR outside the strict profile, or beyond its depth or size.'),
  message_malformed: row(400, 'A message has an unknown kind or field, lacks one, or a field has the wrong type.'),
  json_malformed: row(400, 'The body is not strict JSON: syntax, duplicate keys or depth.'),
  field_malformed: row(400, 'A field is unknown, missing or of the wrong form; the path names it.'),
  base58_malformed: row(400, 'A value is not base58 of the required length.'),
  base64_malformed: row(400, 'A value is not canonical base64.'),
  hex_malformed: row(400, 'A value is not lower-case hex of the required length.'),
  body_too_large: row(413, 'The body is larger than the limit.'),
  media_type_unsupported: row(415, 'The body must be application/json.'),
  route_unknown: row(404, 'No such resource.'),
  address_malformed: row(400, 'An address is neither unix:/path nor vsock:CID:port.'),
  transport_unsupported: row(500, 'This build has no driver for that kind of address.'),

  // Signing requests.
  request_id_malformed: row(400, 'webhook-id must match [A-Za-z0-9_-]{1,64}.'),
  request_timestamp_malformed: row(400, 'webhook-timestamp must be whole seconds since 1970.'),
  request_signature_malformed: row(400, 'webhook-signature must hold one v1a signature of 64 bytes.'),
  request_stale: row(401, 'The timestamp is outside the freshness window.'),
  request_signature_invalid: row(401, 'No requester of the policy signed this request.'),
  purpose_mismatch: row(400, 'The signed purpose is not the one of this endpoint.'),
  audience_mismatch: row(403, 'The signed audience is another deployment.'),
  request_id_reused: row(422, 'This id was used with another body.'),
  request_in_flight: retry(409, 'A request with this id is being worked on.'),
  request_ids_full: retry(429, 'Too many requests are remembered; repeat later.'),
  policy_denied: row(403, 'The policy does not allow this; rule and value say why.'),

  // Wallets, policies and rows.
  wallet_unknown: row(404, 'No such wallet.'),
  wallet_without_policy: row(409, 'No policy has been enabled for this wallet.'),
  wallet_mismatch: row(422, 'The wallet named is not the wallet of the policy.'),
  wallet_owner_mismatch: row(403, 'The policy names another owner than the wallet has.'),
  wallet_held_elsewhere: row(421, 'Another enclave boot holds this wallet; it takes a release or a lease to move it.'),
  wallets_full: row(503, 'This enclave holds as many wallets as it may.'),
  row_tampered: row(409, 'The stored row fails its MAC.'),
  key_blob_invalid: row(409, 'The execution key blob is not of this wallet and owner.'),
  salt_or_seed_invalid: row(409, 'The sealed seed does not open under the keys of this wallet.'),
  policy_mac_invalid: row(409, 'The stored policy fails its MAC under the key of this wallet.'),
  policy_not_current: row(409, 'The policy is not the one last enabled.'),
  state_invalid: row(409, 'The sealed state does not open, or is not of this wallet.'),
  state_ahead: row(409, 'The sealed state is newer than the one its holder has.'),
  policy_epoch_not_increasing: row(409, 'The epoch must be larger than the enabled one.'),
  policy_previous_mismatch: row(409, 'The statement names another previous policy than the enabled one.'),
  statement_signature_invalid: row(401, 'The owner did not sign this statement.'),
  statement_expired: row(401, 'The statement’s time limit has passed, or lies too far ahead.'),
  statement_too_long: row(422, 'The statement would not fit the bytes every wallet can show.'),
  nonce_reused: row(422, 'This nonce was used by another creation statement.'),
  deployment_mismatch: row(403, 'The statement names another deployment.'),

  // The enclave and what it needs.
  enclave_unavailable: retry(503, 'The enclave does not answer.'),
  enclave_not_ready: retry(503, 'The enclave is not in a phase in which this is legal.'),
  frozen: row(423, 'A freeze holds; nothing is signed until it is resumed.'),
  time_untrusted: retry(503, 'Trusted time is too old or stepped back.'),
  kms_unavailable: retry(503, 'The key service does not answer.'),
  kms_refused: retry(502, 'The key service refused the call.'),
  kms_response_invalid: row(502, 'The key service’s answer fails a check.'),
  nsm_failed: retry(503, 'The Nitro Secure Module refused or did not answer.'),
  overloaded: retry(503, 'Too much is in flight.'),
  deadline_exceeded: retry(504, 'No answer within the time limit. Repeating with the same id is safe.'),
  internal: row(500, 'An unexpected fault; nothing was changed unless a repeat of the same id says so.'),

  // The host and its store.
  store_unavailable: retry(503, 'The database does not answer or is locked.'),
  store_conflict: retry(409, 'The row changed meanwhile.'),
  not_initialised: row(503, 'The deployment has no row key yet: run qv init row-key.'),
  already_initialised: row(409, 'This state exists already and is never replaced.'),
  config_invalid: row(500, 'The configuration has an unknown, missing or wrong value; the path names it.'),
  shutting_down: retry(503, 'The host is draining.'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** Public facts about one refusal. Never a secret, never detail of the machine. */
export interface ErrorFacts {
  /** The field or rule at fault, as a path: `sol.maxPerTransaction`. */
  readonly path?: string;
  /** The value that broke it, shortened. */
  readonly value?: string;
}

export class QvError extends Error {
  readonly code: ErrorCode;
  readonly facts: ErrorFacts;

  constructor(code: ErrorCode, facts: ErrorFacts = {}, options: { cause?: unknown } = {}) {
    super(facts.path === undefined ? code : `${code} (${facts.path})`, options);
    this.name = 'QvError';
    this.code = code;
    this.facts = facts;
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERRORS, value);
}

/** The code of any thrown value: an unexpected fault is `internal`. */
export function codeOf(error: unknown): ErrorCode {
  return error instanceof QvError ? error.code : 'internal';
}

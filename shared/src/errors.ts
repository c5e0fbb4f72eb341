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
  headers_too_large: row(431, 'More header fields, or larger ones, than a request of ours has.'),
  media_type_unsupported: row(415, 'The body must be application/json; that of a webhook may be text/plain, too.'),
  route_unknown: row(404, 'No such resource.'),
  address_malformed: row(400, 'An address is neither unix:/path nor vsock:CID:port.'),
  transport_unsupported: row(500, 'This build has no driver for that kind of address.'),
  native_missing: row(500, 'The C addon is not built, or not for this machine: npm run build:native.'),

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
  signal_missing: row(404, 'The signal that the request names is not known, or was not sent along.'),
  signal_signature_invalid: row(401, 'The signal is not signed by the key that the policy names for its source.'),
  signal_ambiguous: row(409, 'Two sources that the policy names have a signal of this id.'),
  signal_stale: row(401, 'The signal is older than the policy allows.'),
  policy_denied: row(403, 'The policy does not allow this; rule and value say why.'),

  // Webhooks: how a source's signals come in.
  webhook_source_unknown: row(404, 'The host’s configuration has no webhook source of this name.'),
  webhook_address_forbidden: row(403, 'This source’s webhooks do not come from this address.'),
  webhook_certificate_mismatch: row(403, 'No trusted proxy names the client certificate that this source has to show.'),
  webhook_signature_malformed: row(
    400,
    'webhook-signature must hold signatures v1,<base64> or v1a,<base64>, separated by spaces, and not too many.',
  ),
  webhook_signature_invalid: row(401, 'No secret or key of this source made a signature of the webhook.'),
  webhook_secret_invalid: row(401, 'The body does not hold a secret of this source in its place.'),
  signal_id_reused: row(422, 'This source has used the id for another body.'),
  signals_full: retry(429, 'So many signals of this source are unexpired that no more are kept.'),

  // Solana transactions that no strict signer signs (the runtime's sanitization, and design 7).
  transaction_too_large: row(400, 'The transaction is larger than its version allows.'),
  transaction_truncated: row(400, 'The transaction ends before its last field.'),
  transaction_trailing_bytes: row(400, 'Bytes follow the transaction.'),
  transaction_length_not_minimal: row(400, 'A compact-u16 length is not in its shortest form.'),
  transaction_length_overflow: row(400, 'A compact-u16 length does not fit 16 bits.'),
  transaction_version_unknown: row(400, 'The transaction is neither legacy nor version 0 or 1.'),
  transaction_envelope_mismatch: row(400, 'A version 1 message stands behind its signatures instead of before them.'),
  transaction_signature_count: row(400, 'There are not as many signatures as the header requires.'),
  transaction_header_invalid: row(400, 'The header’s counts contradict each other or the number of keys.'),
  transaction_keys_too_many: row(400, 'More accounts than one transaction may lock.'),
  transaction_key_duplicate: row(400, 'An account key appears twice.'),
  transaction_key_unused: row(400, 'No instruction uses one of the account keys.'),
  transaction_blockhash_zero: row(400, 'The recent blockhash is all zero.'),
  transaction_instructions_none: row(400, 'The transaction has no instructions.'),
  transaction_instructions_too_many: row(400, 'More top-level instructions than the runtime takes.'),
  transaction_program_index: row(
    400,
    'An instruction’s program is the fee payer, out of range, or from a lookup table.',
  ),
  transaction_account_index: row(400, 'An instruction names an account out of range.'),
  transaction_lookup_empty: row(400, 'A lookup loads nothing.'),
  transaction_lookup_table_repeated: row(400, 'A lookup table is listed twice.'),
  transaction_lookup_index_repeated: row(400, 'A lookup loads the same index twice.'),
  transaction_lookup_table_is_key: row(400, 'A lookup table is itself an account key.'),
  transaction_signer_mismatch: row(400, 'The wallet is not the fee payer and only signer of the transaction.'),
  transaction_config_mask: row(400, 'The version 1 config mask has an unknown bit or half a priority fee.'),
  transaction_config_heap: row(400, 'The version 1 heap size is not a multiple of 1024 in its range.'),

  // Policy documents.
  policy_invalid: row(422, 'The policy has an unknown, missing, repeated, vacuous or wrong value; the path names it.'),
  policy_unsupported: row(422, 'The policy asks for something this enclave does not enforce yet; the path names it.'),
  policy_too_large: row(422, 'The policy’s canonical bytes are more than the limit.'),

  // Wallets, policies and rows.
  wallet_unknown: row(404, 'No such wallet.'),
  wallet_retired: row(410, 'Its owner has retired this wallet: it signs nothing any more, for good.'),
  wallet_without_policy: row(409, 'No policy has been enabled for this wallet.'),
  wallet_mismatch: row(422, 'The wallet named is not the wallet of the policy.'),
  wallet_owner_mismatch: row(403, 'The policy names another owner than the wallet has.'),
  wallet_held_elsewhere: row(409, 'Another enclave boot holds this wallet; it takes a release or a lease to move it.'),
  wallet_in_transit: retry(
    503,
    'No enclave that this host reaches holds the wallet now: it is on its way, or waits for a release or a lease.',
  ),
  wallets_full: row(503, 'This enclave holds as many wallets as it may.'),
  boot_unknown: row(404, 'No enclave of this boot answers, here or at another host of the deployment.'),
  row_tampered: row(409, 'The stored row fails its MAC.'),
  key_blob_invalid: row(409, 'The execution key blob is not of this wallet and owner.'),
  wallet_keys_mismatch: row(409, 'Nothing of the row opens: its salt or execution key is of another wallet.'),
  wallet_keys_replaced: retry(409, 'The wallet was re-wrapped: other key blobs count than these.'),
  sealed_seed_invalid: row(409, 'The sealed seed does not open, or is not the seed of this wallet.'),
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
  wallet_exists: row(409, 'This key has been imported already, or is a wallet of this deployment.'),
  import_refused: row(
    403,
    'The sealed key is not for this enclave boot, statement and wallet; ask for a new attestation and seal it again.',
  ),
  successor_mismatch: row(403, 'This key is not the successor that the wallet’s owner has named.'),
  succession_changed: row(
    409,
    'The statement is not about the next change of the succession; the value is its number.',
  ),
  takeover_running: row(409, 'The successor has claimed this wallet already.'),
  takeover_not_running: row(409, 'No claim of a successor runs for this wallet.'),
  takeover_too_early: row(409, 'The delay of the successor’s claim has not passed; the value says when it will have.'),
  takeover_due: row(409, 'The delay of the successor’s claim has passed: nobody takes it back any more.'),
  deployment_mismatch: row(403, 'The statement names another deployment.'),
  migration_not_enabled: row(403, 'The measured configuration of this image does not allow migration.'),
  migration_refused: row(
    403,
    'The migration statement is for another boot or import key, or the sealed secret is not for this statement.',
  ),
  migration_parameters_unsupported: row(400, 'How v2 encrypted is described by a method or value that is not known.'),
  migration_under_way: row(409, 'A migration by another statement is under way; it has to end before.'),
  migration_not_begun: row(
    409,
    'No migration by this statement is under way in this boot: begin it, with the secret sealed to this boot.',
  ),
  migration_row_unknown: row(403, 'The statement that the operators signed does not list this row.'),
  migration_row_repeated: row(
    422,
    'Rows of the list share an id, a wallet or a ciphertext; the value says which lines.',
  ),
  migration_rows_faulty: row(422, 'Rows of the list are malformed or repeated: qv migrate plan names each of them.'),
  migration_row_refused: row(
    422,
    'The row does not open with this secret and these parameters, or holds the key of another wallet.',
  ),

  // The enclave and what it needs.
  enclave_unavailable: retry(503, 'The enclave does not answer.'),
  enclave_not_ready: retry(503, 'The enclave is not in a phase in which this is legal.'),
  freeze_unknown: row(409, 'No freeze of this scope and this id holds.'),
  operators_too_few: row(403, 'Fewer operators than required have signed, or not these bytes.'),
  succession_mismatch: row(403, 'A lease or release is not for this boot, wallet or state; the path names what.'),
  succession_expired: row(401, 'The time limit of a lease or release order has passed, or lies too far ahead.'),
  state_too_old: row(409, 'The sealed state is older than the predecessor’s log says it was.'),
  frozen: row(423, 'A freeze holds; nothing is signed until it is resumed.'),
  time_untrusted: retry(503, 'Trusted time is too old or stepped back.'),
  kms_unavailable: retry(503, 'The key service does not answer.'),
  kms_refused: retry(502, 'The key service refused the call.'),
  kms_response_invalid: row(502, 'The key service’s answer fails a check.'),
  randomness_untrusted: row(500, 'The kernel does not take its random numbers from the Nitro Secure Module.'),
  nsm_failed: retry(503, 'The Nitro Secure Module refused or did not answer.'),
  overloaded: retry(503, 'Too much is in flight.'),
  rate_limited: retry(429, 'Too many requests in this minute; the path names whose share is used up.'),
  deadline_exceeded: retry(504, 'No answer within the time limit. Repeating with the same id is safe.'),
  internal: row(500, 'An unexpected fault; nothing was changed unless a repeat of the same id says so.'),
  secret_exposed: row(500, 'Code was about to show a secret, or used one that was wiped: a fault of the program.'),

  // Where the host has the instance role's credentials from: EC2's instance metadata service, version 2.
  metadata_unavailable: retry(503, 'The instance metadata service does not answer, or is too busy to.'),
  metadata_refused: row(
    502,
    'The instance metadata service refuses: it is turned off, or cannot be reached from here.',
  ),
  metadata_invalid: row(502, 'An answer of the instance metadata service is not of its documented form.'),
  instance_role_missing: row(503, 'The instance has no role, or EC2 cannot assume it.'),

  // Attestation documents: bytes that are not one, chains that do not hold, documents that are not what was expected.
  attestation_too_large: row(413, 'The attestation document is larger than the limit.'),
  attestation_encoding_unknown: row(400, 'The input is neither raw COSE, nor base64, nor hex of a document.'),
  attestation_envelope_malformed: row(
    400,
    'Not the one form of COSE_Sign1 that Nitro writes; the path names the part.',
  ),
  attestation_algorithm_unsupported: row(400, 'The protected header is not exactly {1: -35}, ES384.'),
  attestation_payload_malformed: row(400, 'The payload is not an attestation document; the path names the field.'),
  attestation_nitrotpm_unsupported: row(400, 'This is a NitroTPM document (nitrotpm_pcrs), not one of an enclave.'),
  attestation_certificate_malformed: row(400, 'A certificate is not strict DER of X.509 version 3; the path names it.'),
  attestation_root_untrusted: row(403, 'The first certificate is not the trusted root.'),
  attestation_chain_order_invalid: row(403, 'A certificate does not name the one before it as its issuer.'),
  attestation_chain_extension_unknown: row(403, 'A certificate has a critical extension that is not understood.'),
  attestation_chain_ca_invalid: row(403, 'An issuer is not marked as a CA, or the leaf is.'),
  attestation_chain_path_too_long: row(403, 'More CA certificates follow than a path length allows.'),
  attestation_chain_key_usage_invalid: row(
    403,
    'A key may not be used for what it did: keyCertSign or digitalSignature.',
  ),
  attestation_chain_algorithm_unsupported: row(
    403,
    'A certificate is not of a P-384 key signed with ecdsa-with-SHA384.',
  ),
  attestation_chain_not_valid_then: row(403, 'A certificate was not valid at the time checked.'),
  attestation_chain_signature_invalid: row(403, 'A certificate is not signed by the one before it.'),
  attestation_signature_invalid: row(403, 'The document is not signed by the key of its certificate.'),
  attestation_stale: row(401, 'The document is older than allowed.'),
  attestation_in_future: row(401, 'The document’s time lies in the future.'),
  attestation_nonce_mismatch: row(401, 'The document does not carry the expected nonce.'),
  attestation_debug_enclave: row(
    403,
    'PCR0, 1 or 2 is zero or absent: an enclave in debug mode, whose memory is readable.',
  ),
  attestation_pcrs_not_allowed: row(403, 'The PCRs match no allowed set.'),
  attestation_instance_mismatch: row(403, 'PCR4 is not the measurement of the instance in module_id.'),
  attestation_user_data_mismatch: row(403, 'The document does not carry the expected user_data.'),
  attestation_public_key_missing: row(403, 'The document carries no public key.'),
  attestation_expectations_invalid: row(400, 'What to verify against is incomplete; the path names it.'),
  attestation_pcr_set_malformed: row(400, 'Expected PCRs are not in the JSON form that nitro-cli prints.'),

  // Enclave image files: what the format does not allow (400), and checks that do not hold (403).
  eif_truncated: row(400, 'The image ends before its header, or before what a section claims.'),
  eif_magic_invalid: row(400, 'The file does not begin with ".eif": it is no enclave image.'),
  eif_version_unsupported: row(400, 'The image’s version is not 2, 3 or 4.'),
  eif_flags_unknown: row(400, 'The header or a section header sets a flag that is not defined.'),
  eif_reserved_not_zero: row(400, 'A reserved field or an unused slot of the section table is not zero.'),
  eif_section_count_invalid: row(400, 'The image claims fewer than 2 or more than 32 sections.'),
  eif_section_offset_mismatch: row(
    400,
    'The section table has a section elsewhere than behind the one before: gap, overlap or order.',
  ),
  eif_section_size_mismatch: row(400, 'Section table and section header name different sizes.'),
  eif_section_type_unknown: row(400, 'A section is of no type that the format defines.'),
  eif_section_missing: row(400, 'The image lacks a section it must have; the path names the type.'),
  eif_section_repeated: row(400, 'A type of which there may be one section occurs again; the path names it.'),
  eif_section_order_invalid: row(400, 'A ramdisk stands before the kernel.'),
  eif_section_too_large: row(413, 'The signature or metadata section is larger than the limit.'),
  eif_trailing_bytes: row(400, 'Bytes follow the last section.'),
  eif_metadata_malformed: row(400, 'The metadata section is not one strict JSON object.'),
  eif_signature_malformed: row(
    400,
    'The signature section is not of the one form that is verified; the path says where.',
  ),
  eif_signature_entries_unsupported: row(400, 'The signature section does not have exactly one entry.'),
  eif_certificate_malformed: row(400, 'The signing certificate is not one PEM block of strict X.509.'),
  eif_crc_mismatch: row(403, 'The CRC-32 in the header is not the one of the image: it is damaged or was edited.'),
  eif_signature_algorithm_mismatch: row(403, 'Algorithm and key are not ES256, ES384 or ES512 with its own curve.'),
  eif_signature_register_mismatch: row(403, 'What was signed is not PCR0 of this image.'),
  eif_signature_invalid: row(403, 'The image’s signature is not by the key of its certificate.'),

  // What a boot key signed: receipts, certificates, acknowledgements (design 10).
  evidence_signature_invalid: row(403, 'The boot key did not sign this receipt, certificate or acknowledgement.'),
  evidence_mismatch: row(403, 'Evidence says something else than was asked for; the path names what.'),

  // The log: proofs (RFC 6962), tiles, notes and checkpoints (C2SP tlog-tiles, signed-note, tlog-checkpoint).
  log_proof_malformed: row(
    400,
    'A proof’s index, sizes and number of hashes do not fit each other; the path says what.',
  ),
  log_proof_invalid: row(403, 'A proof does not lead to the root it is for: leaf, order or history was changed.'),
  log_tile_path_malformed: row(400, 'Not the path of a tile or entry bundle in its one spelling.'),
  log_tile_malformed: row(400, 'A tile or entry bundle does not hold exactly as many hashes or entries as its width.'),
  log_note_malformed: row(400, 'Not a signed note, or a signature line is not of its one form.'),
  log_note_signature_invalid: row(403, 'A signature on the note is not by the known key that it names.'),
  log_note_signature_repeated: row(403, 'A known key signed the note twice; one key counts once.'),
  log_note_unsigned: row(403, 'A key that had to sign the note did not.'),
  log_key_malformed: row(400, 'Not a verifier key, of an unknown type, or its id is not the one of its name and key.'),
  log_key_repeated: row(400, 'Two verifier keys are one key, or have the same name and id; each key counts once.'),
  log_checkpoint_malformed: row(400, 'The note’s text is not a checkpoint in its one spelling.'),
  log_origin_mismatch: row(403, 'The checkpoint is one of another log.'),
  witnesses_too_few: row(403, 'Fewer witnesses than required have cosigned the checkpoint.'),
  witnesses_unavailable: retry(
    503,
    'Too few witnesses have cosigned in time; the signature is held back. Repeating with the same id is safe.',
  ),
  witness_request_malformed: row(400, 'An add-checkpoint request is not of its one form; the path says where.'),
  witness_log_unknown: row(404, 'The witness does not follow this log; add-log admits one.'),
  witness_log_refused: row(403, 'What was sent is not leaf 0 of a boot’s log; the path says why.'),
  witness_logs_full: row(503, 'The witness follows as many logs as it may.'),
  witness_size_mismatch: retry(409, 'The old size is not the one that the witness last cosigned; the value is that.'),
  witness_root_mismatch: row(409, 'The witness has cosigned another root of this size: the log has forked.'),
  witness_proof_invalid: row(422, 'The proof does not lead from the last cosigned checkpoint to this one.'),
  witness_unavailable: retry(503, 'The witness does not answer in time.'),
  witness_refused: row(502, 'The witness refused; the value says with which code or status.'),
  witness_response_invalid: row(502, 'The witness’s answer is not of its one form, or its key did not cosign.'),
  log_unknown: row(404, 'No such log, tile or policy has been published.'),
  log_unpublished: retry(503, 'The log has not been published that far yet.'),
  receipt_unknown: row(404, 'No decision about a request of this id is on record.'),
  receipt_ambiguous: row(409, 'Several wallets or requesters used this id: name both.'),
  receipt_malformed: row(400, 'Not a receipt file in its one form.'),

  // Findings of an audit: what a log says that no honest enclave and host would.
  log_boots_too_many: row(403, 'More boots are listed than an audit reads.'),
  log_boot_hidden: row(403, 'A boot that was seen before, or that another one continues, is not shown.'),
  log_truncated: row(403, 'The log has fewer leaves than its checkpoint says.'),
  log_root_mismatch: row(403, 'The leaves are not those of the checkpoint: they have another root.'),
  log_forked: row(403, 'The log does not contain a state that it was in before: two histories were shown.'),
  log_rewound: row(403, 'The log is shorter than it was before.'),
  log_entry_missing: row(403, 'A leaf was dropped: its number is passed over.'),
  log_entry_duplicated: row(403, 'A leaf stands in the log twice.'),
  log_entry_reordered: row(403, 'A leaf stands behind one with a higher number.'),
  log_entry_edited: row(403, 'A leaf is not the one whose hash the next leaf names.'),
  log_entry_foreign: row(403, 'A leaf of another boot stands in the log.'),
  log_entry_malformed: row(403, 'An entry of the log is not a leaf.'),
  log_entry_incomplete: row(403, 'A leaf lacks what its kind has to say.'),
  log_entry_unexpected: row(403, 'A leaf says what can be said once, or only in the first leaf.'),
  log_time_backwards: row(403, 'A leaf is older than the one before it.'),
  log_chain_cycle: row(403, 'Boots name each other, or themselves, as those they continue.'),
  log_root_repeated: row(403, 'More than one boot continues no other: a second history was begun.'),
  log_wallet_forked: row(403, 'Two boots claim one wallet, or one went on after the other took over.'),
  log_wallet_not_held: row(403, 'A boot decided about a wallet that it did not create and was not given.'),
  log_version_gap: row(
    403,
    'A wallet’s state version is not the next one: a change is not on record, or was taken back.',
  ),
  log_policy_unknown: row(403, 'The policy that a leaf names is not shown, so its limits cannot be checked.'),
  log_policy_mismatch: row(403, 'A policy is not the enabled one, or is one of another wallet, owner or epoch.'),
  log_policy_not_valid: row(403, 'A signature was made outside of the time for which its policy is valid.'),
  log_requester_unknown: row(403, 'A signature was made for a requester that the policy does not name.'),
  log_limit_exceeded: row(403, 'One transaction moved more than the policy allows.'),
  log_window_exceeded: row(403, 'The transactions of a window moved more than the policy allows.'),
  log_rate_exceeded: row(403, 'More signatures were made in a time than the policy allows.'),
  log_signed_frozen: row(403, 'A signature was made while a freeze of its scope held.'),
  log_succession_invalid: row(
    403,
    'A successor was named, claimed a wallet or was cancelled against what the log says.',
  ),
  log_signed_retired: row(403, 'A signature was made, or a policy enabled, for a wallet that was retired before.'),
  log_freeze_lost: row(403, 'A boot continues an older state of another one, and leaves out a freeze.'),
  log_resume_invalid: row(403, 'A freeze was resumed that does not hold, or another one than is named.'),
  log_repeat_false: row(
    403,
    'A signature passes as a repeat of one that was not made for this request, or not lately.',
  ),
  log_receipt_absent: row(403, 'The leaf of a receipt that somebody holds is not in the log.'),
  log_receipt_foreign: row(403, 'Somebody holds a receipt of a boot whose log is not shown.'),
  log_signature_unrecorded: row(403, 'A signature found on chain has no leaf.'),
  log_seen_malformed: row(
    400,
    'The file that an auditor keeps between audits is damaged or not one; the path says where.',
  ),

  // The host and its store.
  store_unavailable: retry(503, 'The database does not answer or is locked.'),
  store_conflict: retry(409, 'The row changed meanwhile.'),
  freeze_credentials_invalid: row(
    401,
    'Login, code or panic code is wrong, or the code was used before; another one has to be waited for.',
  ),
  freeze_scope_forbidden: row(403, 'Over HTTP one wallet or one requester can be frozen, never the whole fleet.'),
  api_token_invalid: row(401, 'This needs Authorization: Bearer and an API token that the host knows.'),
  api_role_forbidden: row(403, 'The API token’s role, which the value names, may not read this.'),
  api_wallet_forbidden: row(403, 'The API token does not see this wallet, or sees only some and none was named.'),
  api_tokens_unconfigured: row(503, 'This host has no file of API tokens, so that nobody can read this.'),
  source_slowed: retry(429, 'Too many failures came from this address: wait as long as retry-after says.'),
  operators_unconfigured: row(503, 'This host has no operators file, so that no login can freeze.'),
  not_initialised: row(503, 'The deployment has no row key yet: run qv init row-key.'),
  already_initialised: row(409, 'This state exists already and is never replaced.'),
  config_invalid: row(500, 'The configuration has an unknown, missing or wrong value; the path names it.'),
  shutting_down: retry(503, 'The host is draining.'),
  http_malformed: row(400, 'The HTTP request itself does not parse.'),
  host_unavailable: retry(503, 'The host process does not answer on its admin socket.'),
  admin_command_unknown: row(400, 'The admin socket knows no such command.'),

  // Clients: the SDK and qv.
  usage_invalid: row(400, 'The command line has an unknown, missing or wrong argument; the value names it.'),
  input_unreadable: row(400, 'A file named on the command line cannot be read; the path names it.'),
  output_unwritable: row(400, 'A file or folder named on the command line cannot be written; the path names it.'),
  host_unreachable: retry(503, 'The host does not answer HTTP requests.'),
  response_malformed: row(502, 'The host’s answer is not of the documented form.'),
  lease_conflict: row(409, 'This operator’s journal holds a lease of the same wallet to another successor.'),
  journal_malformed: row(400, 'The file is no journal of leases, or was damaged; the path names the line.'),
  backup_unknown: row(404, 'The folder has no backup, or none of that number.'),
  backup_damaged: row(409, 'The backup is not as it was written, or holds what no host writes; the path names it.'),
  restore_not_empty: row(409, 'A database is there already, or what SQLite keeps beside one: nothing is replaced.'),
  freeze_not_held: row(503, 'The freeze does not hold everywhere; what does hold is listed.'),

  // Sweeping a wallet: a Solana RPC endpoint, as its owner named it.
  rpc_unavailable: retry(503, 'The Solana RPC endpoint does not answer, or is behind; the path names the call.'),
  rpc_refused: row(502, 'The Solana RPC endpoint refuses the call; the value is what it says.'),
  rpc_response_invalid: row(502, 'An answer of the Solana RPC endpoint is not what was asked for; the path names it.'),

  // Keys that their owner imports, read on his own machine. No value ever has a byte of them.
  key_malformed: row(400, 'What was read is no key of a known form; the value says why.'),
  key_pair_mismatch: row(400, 'The second half of the key pair is not the public key of the first.'),
  key_wallet_mismatch: row(400, 'The key is one of another wallet than was named.'),
  key_file_unsafe: row(400, 'Others than its owner may read or write the file with the key.'),
  key_exposed: row(
    400,
    'A key, mnemonic or passphrase was put where others can read it, on the command line or in the environment.',
  ),
  mnemonic_malformed: row(400, 'Not 12, 15, 18, 21 or 24 words of BIP-39’s English list; the value says which.'),
  row_key_retired: row(503, 'The database holds a row key that, as this host knows, a later one has replaced.'),
  mnemonic_checksum_invalid: row(400, 'The mnemonic’s words do not fit each other: one is wrong, or their order.'),
  passphrase_malformed: row(400, 'A passphrase has to be printable ASCII: others would have to be normalised as text.'),
  derivation_path_malformed: row(400, 'Not a path of hardened steps, m/44’/501’/0’/0’, or the word none.'),
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

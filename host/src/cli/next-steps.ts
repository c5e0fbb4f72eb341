/** What somebody at a terminal can do about an error: for codes whose meaning alone does not say it. */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';

const DOCTOR = 'qv doctor --config <the host’s configuration>';

const NEXT_STEPS: Partial<Record<ErrorCode, string>> = {
  host_unavailable: `Is the host running, is --admin its socket, and may this user open it? ${DOCTOR} finds out.`,
  host_unreachable: `Is the address right, and is the host running? On its machine: ${DOCTOR}`,
  enclave_unavailable: `Is the enclave running? On the host’s machine: ${DOCTOR}`,
  enclave_not_ready: 'qv status says which phase the enclave is in; after a start it takes some seconds.',
  not_initialised: 'Once per deployment: qv init row-key.',
  already_initialised: 'It is there already: nothing needs to be done.',
  row_key_retired: 'Was an older backup put in place? Then see the runbook; else somebody put an old key back.',
  config_invalid: 'host/src/config.ts explains each field with its unit, default and hazard.',
  native_missing: 'npm run build:native builds it; that takes a C compiler.',
  input_unreadable: 'Check the path, and that this user may read the file.',
  key_file_unsafe: 'chmod 600, by the user who owns it; who could read it until then may have a copy of the key.',
  key_exposed: 'It is in the shell’s history now, and in lists of processes: take it for known, and use another one.',
  key_wallet_mismatch: 'Is it the right key? Of a mnemonic: the right --path, and is there a passphrase?',
  output_unwritable: 'Check the path, that this user may write there, and that the disk has room.',
  backup_unknown: 'Is it the folder that qv backup wrote to? Its backups are in the folder backups inside of it.',
  backup_damaged: 'Take another one with --number, or the copy on another machine, and look at the disk.',
  restore_not_empty: 'Stop the host, move the file away with those of its name that end in -wal and -shm, call again.',
  store_unavailable: `On the host’s machine: ${DOCTOR}`,
  kms_refused: 'The key policy has to name this image’s PCR0 and the instance’s role: qv init kms-policy --print.',
  kms_unavailable: `Has the role credentials, and can the host reach KMS? ${DOCTOR}`,
  time_untrusted: 'The enclave has no recent time of its security module; restart it if that stays.',
  overloaded: 'Try again in a second or two; qv metrics says what is refused.',
  source_slowed: 'Wait, as many seconds as retry-after says, and check login, code or panic code.',
  api_token_invalid: 'QV_API_TOKEN_FILE names a file with a token, which qv init api-token makes.',
  api_tokens_unconfigured: 'The host’s configuration names the file as apiTokensFile; qv init api-token makes it.',
  wallet_exists: 'GET /v1/wallets/<address> says whose it is; an import that went through need not be repeated.',
  import_refused: 'Call qv import again: the enclave that runs now proves itself, and the key is sealed to that one.',
  migration_refused:
    'Was the enclave restarted? Then qv migrate plan, sign and seal again, for the boot that runs now.',
  migration_rows_faulty: 'qv migrate plan lists them, and --write-good keeps the others.',
  frozen: 'qv resume statement prints what its owner, or operators, sign to end it; qv resume hands that over.',
  wallet_keys_replaced: 'The host brings its row up to date by itself: give the order again.',
  wallet_held_elsewhere: 'qv status of each host says which boot is there; a release or a lease moves the wallet.',
  wallet_in_transit: 'During a hand-over: qv release apply --take once more. After a crash: a lease (the runbook).',
  successor_mismatch: 'qv successor show says who is named; only his key claims the wallet.',
  succession_changed:
    'Call it again; if the host goes on to say another number, with --change and the value, which is the right one.',
  takeover_too_early: 'Call it again at the time that the value names, or later; until then the owner can cancel.',
  takeover_due: 'The successor can become the owner at any time: move what the wallet holds, or retire it, before.',
  wallet_retired: 'Nothing takes that back; the log has it as a leaf, which qv verify log checks.',
  rpc_unavailable: 'Is the address right? Try later, or another endpoint; a sweep goes on where it was.',
  rpc_response_invalid: 'Try another endpoint: nothing that this one says can be relied on.',
  freeze_not_held: 'Give the order again, with --config <the host’s configuration> where the host does not answer.',
  attestation_pcrs_not_allowed: 'Another image runs than --pcrs names; qv measure <image.eif> prints an image’s PCRs.',
  attestation_debug_enclave: 'Its memory is readable: start it without --debug-mode, and trust nothing that it held.',
  attestation_root_untrusted: 'A local stack’s root is believed with --unsafe-trusted-root <pem> alone.',
  attestation_stale: 'Is this machine’s clock right? A recorded document is verified as a file.',
  attestation_in_future: 'Is this machine’s clock right?',
};

export function nextStep(code: ErrorCode): string | undefined {
  return NEXT_STEPS[code];
}

/**
 * Deliberately broken copies of decoders. Each must be found by its target within the short test's budget: a fuzzer that
 * misses a missing bound is not worth its time. `find` stands exactly once in the file.
 */
export interface Mutant {
  readonly name: string;
  readonly target: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const mutant = (name: string, target: string, file: string, find: string, replace = ''): Mutant => ({
  name,
  target,
  file,
  find,
  replace,
});

export const MUTANTS: readonly Mutant[] = [
  mutant(
    'empty frames',
    'frames',
    'shared/src/frames.ts',
    'length === 0 || length > LIMITS.frameBytes)\n        throw',
    'length > LIMITS.frameBytes)\n        throw',
  ),
  mutant(
    'frames of any length',
    'frames',
    'shared/src/frames.ts',
    'length === 0 || length > LIMITS.frameBytes)\n        throw',
    'length === 0)\n        throw',
  ),
  mutant('what follows a frame is lost', 'frames', 'shared/src/frames.ts', 'rest.length === 0 ? [] : [rest]', '[]'),

  mutant(
    'CBOR of any depth',
    'cbor',
    'shared/src/cbor.ts',
    "if (depth > LIMITS.cborDepth) throw malformed('too deep');",
  ),
  mutant(
    'CBOR integers in longer forms',
    'cbor',
    'shared/src/cbor.ts',
    "if (argument < least) throw malformed('not the shortest form');",
  ),
  mutant(
    'CBOR keys twice',
    'cbor',
    'shared/src/cbor.ts',
    'compareBytes(previous, key) >= 0',
    'compareBytes(previous, key) > 0',
  ),
  mutant(
    'CBOR with trailing bytes',
    'cbor',
    'shared/src/cbor.ts',
    "if (end !== bytes.length) throw malformed('trailing bytes');",
  ),
  mutant(
    'CBOR text that is no UTF-8',
    'cbor',
    'shared/src/cbor.ts',
    'if (major === 3) requireUtf8(bytes.subarray(next, end));',
  ),
  mutant(
    'CBOR that leaves its mark on the input',
    'cbor',
    'shared/src/cbor.ts',
    'decoder.decode(Uint8Array.from(bytes))',
    'decoder.decode(bytes)',
  ),

  mutant(
    'unknown fields of messages',
    'requests',
    'shared/src/protocol/wire.ts',
    "typeof key !== 'number' || !keys.has(key)",
    'false',
  ),
  mutant(
    'requests with a fourth member',
    'requests',
    'shared/src/protocol/messages.ts',
    'body === undefined || map.size !== 3',
    'body === undefined',
  ),
  mutant(
    'replies with body and refusal',
    'replies',
    'shared/src/protocol/messages.ts',
    'map.size !== 2 || (body === undefined) === (refusal === undefined)',
    'body === undefined && refusal === undefined',
  ),
  mutant(
    'agent replies with body and failure',
    'agent-replies',
    'enclave/src/kms-agent/protocol.ts',
    "if (map.size !== 2) throw new QvError('message_malformed', { path: 'reply', value: 'neither body nor failure' });",
  ),
  mutant(
    'byte strings of any length',
    'structs',
    'shared/src/protocol/wire.ts',
    "throw malformed(path, 'not a byte string');\n    if (value.length < min || value.length > max)",
    "throw malformed(path, 'not a byte string');\n    if (false)",
  ),

  mutant(
    'CMS elements beyond the end',
    'cms',
    'enclave/src/cms.ts',
    'if (header + length > input.length) throw fault();',
  ),
  mutant('CMS with trailing bytes', 'cms', 'enclave/src/cms.ts', 'nothing(contentInfo.rest);'),
  mutant(
    'CMS content of broken blocks',
    'cms',
    'enclave/src/cms.ts',
    'ciphertext.length === 0 || ciphertext.length % 16 !== 0',
    'ciphertext.length === 0',
  ),
  mutant(
    'CMS keys of any length',
    'cms',
    'enclave/src/cms.ts',
    'identifier.content.length !== 32 || key.content.length !== 256',
    'identifier.content.length !== 32',
  ),
  mutant(
    'CMS faults that say where',
    'cms',
    'enclave/src/cms.ts',
    'function nothing(input: Uint8Array): void {\n  if (input.length !== 0) throw fault();',
    "function nothing(input: Uint8Array): void {\n  if (input.length !== 0) throw new QvError('kms_response_invalid', { path: 'CiphertextForRecipient', value: 'trailing' });",
  ),

  mutant(
    'attestation with trailing bytes',
    'attestation-document',
    'shared/src/attestation/cbor.ts',
    "if (bytes.length > 0) refuse(place, 'trailing bytes');",
  ),
  mutant(
    'attestation strings beyond the end',
    'attestation-document',
    'shared/src/attestation/cbor.ts',
    'length > maxLength || length > rest.length',
    'length > maxLength',
  ),
  mutant(
    'PCRs of any length',
    'attestation-document',
    'shared/src/attestation/document.ts',
    "if (value.value.length !== PCR_BYTES) throw new QvError(place.code, { path: place.path, value: 'length' });",
  ),
  mutant(
    'DER lengths in longer forms',
    'der',
    'shared/src/attestation/der.ts',
    "if (length < (header === 3 ? 0x80 : 0x100)) refuse(path, 'not the shortest length');",
  ),
  mutant(
    'DER elements beyond the end',
    'der',
    'shared/src/attestation/der.ts',
    "if (end > bytes.length) refuse(path, 'ends early');",
  ),

  mutant('images with trailing bytes', 'eif', 'shared/src/eif/layout.ts', 'offset !== source.size', 'false'),
  mutant(
    'the second ramdisk is measured as the first',
    'eif',
    'shared/src/eif/measurements.ts',
    'section === firstRamdisk ? bootstrap : application',
    'bootstrap',
  ),

  mutant(
    'JSON keys twice',
    'json',
    'shared/src/json.ts',
    "if (countKeys(value) !== written.colons) throw malformed('duplicate key');",
  ),
  mutant('JSON with escaped quotes misread', 'json', 'shared/src/json.ts', "if (character === '\\\\') at++;"),
  mutant(
    'JSON one level deeper',
    'json',
    'shared/src/json.ts',
    '++depth > LIMITS.jsonDepth',
    'depth++ > LIMITS.jsonDepth',
  ),

  mutant(
    'compact-u16 in longer forms',
    'transactions',
    'shared/src/solana/reader.ts',
    "if (byte === 0 && index > 0) throw new QvError('transaction_length_not_minimal');",
  ),
  mutant(
    'transactions with trailing bytes',
    'transactions',
    'shared/src/solana/transaction.ts',
    "if (reader.remaining > 0) throw new QvError('transaction_trailing_bytes', { value: String(reader.remaining) });",
  ),
  mutant(
    'account indexes one too far',
    'judge',
    'shared/src/solana/sanitize.ts',
    'if (index >= keyCount)',
    'if (index > keyCount)',
  ),
  mutant(
    'a judge that forgets the limit on SOL',
    'judge',
    'shared/src/policy/judge.ts',
    'lamportsOut <= policy.sol.maxPerTransaction',
    'true',
  ),

  mutant(
    'packed spends beyond the end',
    'packed-spends',
    'enclave/src/spends.ts',
    'if (at + length > bytes.length) throw invalid();',
  ),
  mutant(
    'packed spends of no mint',
    'packed-spends',
    'enclave/src/spends.ts',
    'if (mint === undefined) throw invalid();',
  ),

  mutant(
    'base58 with other zeros',
    'base58',
    'shared/src/base58.ts',
    "if (zeros !== ones) throw new QvError('base58_malformed', facts);",
  ),
  mutant(
    'base64 with unused bits',
    'encodings',
    'shared/src/bytes.ts',
    "if (toBase64(bytes) !== text) throw new QvError('base64_malformed', facts);",
  ),
  mutant(
    'checkpoints in other spellings',
    'notes',
    'shared/src/tlog/checkpoint.ts',
    "if (formatCheckpoint(checkpoint) !== text) throw new QvError('log_checkpoint_malformed', { path: 'text' });",
  ),
  mutant(
    'bundles beyond the end',
    'tiles',
    'shared/src/tlog/tile-data.ts',
    "if (end > rest.length) throw new QvError('log_tile_malformed', { path: 'length' });",
  ),
  mutant(
    'verifier keys in other spellings',
    'verifier-keys',
    'shared/src/tlog/verifier-key.ts',
    "if (formatVerifierKey(key) !== text) throw new QvError('log_key_malformed');",
  ),
  mutant(
    'panic codes with any check',
    'panic-codes',
    'host/src/remote-freeze/panic-code.ts',
    "if (checkOf(bytes) !== check) throw fault('the check symbol does not fit: a symbol is wrong, or two are swapped');",
  ),
  mutant(
    'alerts that keep their secret',
    'alerts',
    'host/src/webhooks/tradingview.ts',
    '.filter(([key]) => key !== secretField)',
  ),
];

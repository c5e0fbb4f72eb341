/**
 * Reads a Nitro attestation document: the COSE_Sign1 envelope (RFC 9052 section 4.2) and the payload of AWS
 * attestation_process.md section 2.2. Verifies nothing; verify.ts does. The enclave reads the time of its own documents
 * with this file, so it imports no more than the reader beside it.
 *
 * Subset, stricter than AWS's text wherever all known documents agree:
 *
 *   84                       array of 4; AWS's text shows tag 18, the NSM writes none
 *     44 a1 01 38 22         protected, exactly {1: -35} = ES384
 *     a0                     unprotected, empty: nothing in it would be signed
 *     59 xx xx ...           payload, at most 16,384 bytes
 *     58 60 ...              signature, r and s of 48 bytes each
 *
 * The payload map has a definite length until April 2025 (`a9`) and an indefinite one since August 2025 (`bf` .. `ff`);
 * everything inside is definite. AWS says that no field may be null; absent optional fields are null in every document.
 */
import { equalBytes } from '../bytes.ts';
import { QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import * as cbor from './cbor.ts';

export interface Envelope {
  readonly protectedHeader: Uint8Array;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

/** How an optional field stands in the document. AWS writes null; the specification says absent. */
export type Presence = 'absent' | 'null' | 'present';

export interface AttestationDocument extends Envelope {
  /** Printable ASCII; `i-<hex>-enc<hex>` for enclaves, which verify.ts demands. */
  readonly moduleId: string;
  readonly digest: 'SHA384';
  /** Milliseconds since 1970, from the hypervisor. */
  readonly timestampMs: number;
  /** 48 bytes each, by ascending index. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  /** DER of the certificate that signed the document. */
  readonly certificate: Uint8Array;
  /** DER of the certificates above it, root first. */
  readonly cabundle: readonly Uint8Array[];
  /** Undefined when absent or null; zero bytes are a value of their own. */
  readonly publicKey?: Uint8Array;
  readonly userData?: Uint8Array;
  readonly nonce?: Uint8Array;
  readonly presence: Readonly<Record<OptionalField, Presence>>;
  readonly payloadEncoding: 'definite' | 'indefinite';
}

/** {1: -35}: the algorithm is ES384 (RFC 9053 section 2.1). */
const PROTECTED_HEADER = Uint8Array.of(0xa1, 0x01, 0x38, 0x22);
const SIGNATURE_BYTES = 96;
/** SHA-384, the only digest AWS allows (3.2.2.2, digest). */
const PCR_BYTES = 48;

type OptionalField = 'public_key' | 'user_data' | 'nonce';
type MandatoryField = 'module_id' | 'digest' | 'timestamp' | 'pcrs' | 'certificate' | 'cabundle';
/** Nine are known; the rest of the room lets unknown ones be refused by name. */
const MAX_FIELDS = 16;
const FIELD_NAME_BYTES = 32;

const envelopeAt = (path: string): cbor.Place => ({ code: 'attestation_envelope_malformed', path });
const payloadAt = (path: string): cbor.Place => ({ code: 'attestation_payload_malformed', path });

/**
 * @param bytes the raw document; copied, so later changes to them have no effect
 * @throws QvError attestation_too_large, attestation_envelope_malformed, attestation_algorithm_unsupported,
 *   attestation_payload_malformed, attestation_nitrotpm_unsupported
 */
export function decodeAttestationDocument(bytes: Uint8Array): AttestationDocument {
  return decodePayload(decodeEnvelope(copyBounded(bytes)));
}

/** @throws QvError attestation_too_large */
export function copyBounded(bytes: Uint8Array): Uint8Array {
  // check document-size: design 5; real documents have 4.4 to 7.6 kB
  if (bytes.length > LIMITS.attestationDocumentBytes) throw new QvError('attestation_too_large');
  // Not slice(): on a Node Buffer that shares the memory.
  return new Uint8Array(bytes);
}

/** @throws QvError attestation_envelope_malformed, attestation_algorithm_unsupported */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const parts = cbor.readArrayHead(bytes, 4, envelopeAt('cose'));
  // check envelope-four: RFC 9052 section 4.2
  if (parts.value !== 4) throw new QvError('attestation_envelope_malformed', { path: 'cose' });
  const header = cbor.readBytes(parts.rest, LIMITS.attestationPayloadBytes, envelopeAt('protected'));
  // check envelope-algorithm: ES384 and no other parameter, in the one spelling
  if (!equalBytes(header.value, PROTECTED_HEADER))
    throw new QvError('attestation_algorithm_unsupported', { path: 'protected' });
  // At most no pairs at all: this header is not signed, so anything in it is somebody else's.
  const unprotected = cbor.readMapHead(header.rest, 0, envelopeAt('unprotected'));
  const payload = cbor.readBytes(unprotected.rest, LIMITS.attestationPayloadBytes, envelopeAt('payload'));
  // check envelope-payload: AWS 3.1, 1 to 16,384 bytes
  if (payload.value.length === 0) throw new QvError('attestation_envelope_malformed', { path: 'payload' });
  const signature = cbor.readBytes(payload.rest, SIGNATURE_BYTES, envelopeAt('signature'));
  // check envelope-signature: RFC 9053 section 2.1, two numbers of 48 bytes
  if (signature.value.length !== SIGNATURE_BYTES)
    throw new QvError('attestation_envelope_malformed', { path: 'signature' });
  cbor.requireEnd(signature.rest, envelopeAt('end'));
  return { protectedHeader: header.value, payload: payload.value, signature: signature.value };
}

/** Fields as they are found; a field is there when its reader has run. */
interface Draft {
  module_id?: string;
  digest?: string;
  timestamp?: number;
  pcrs?: ReadonlyMap<number, Uint8Array>;
  certificate?: Uint8Array;
  cabundle?: readonly Uint8Array[];
  public_key?: Uint8Array | null;
  user_data?: Uint8Array | null;
  nonce?: Uint8Array | null;
}

/** @throws QvError attestation_payload_malformed, attestation_nitrotpm_unsupported */
export function decodePayload(envelope: Envelope): AttestationDocument {
  const indefinite = cbor.skipIndefiniteMapStart(envelope.payload);
  const draft: Draft = {};
  let rest: Uint8Array;
  if (indefinite !== undefined) {
    rest = indefinite;
    // Ends by itself: every pair is a field not seen before, and there are nine.
    for (let end = cbor.skipBreak(rest); ; end = cbor.skipBreak(rest)) {
      if (end !== undefined) {
        rest = end;
        break;
      }
      rest = readField(rest, draft);
    }
  } else {
    const head = cbor.readMapHead(envelope.payload, MAX_FIELDS, payloadAt('payload'));
    rest = head.rest;
    for (let index = 0; index < head.value; index++) rest = readField(rest, draft);
  }
  cbor.requireEnd(rest, payloadAt('end'));
  return finish(envelope, draft, indefinite === undefined ? 'definite' : 'indefinite');
}

/** One pair of the payload map (AWS 3.2.2). Returns what remains. */
function readField(bytes: Uint8Array, draft: Draft): Uint8Array {
  const { value: name, rest } = cbor.readText(bytes, FIELD_NAME_BYTES, payloadAt('field'));
  // check payload-no-duplicate: of two equal keys, parsers disagree which counts
  if (Object.hasOwn(draft, name)) throw new QvError('attestation_payload_malformed', { path: name, value: 'twice' });
  const place = payloadAt(name);
  switch (name) {
    case 'module_id':
      return keep(draft, name, cbor.readText(rest, LIMITS.attestationModuleIdBytes, place));
    case 'digest':
      return keep(draft, name, cbor.readText(rest, FIELD_NAME_BYTES, place));
    case 'timestamp':
      return keep(draft, name, cbor.readUnsigned(rest, place));
    case 'pcrs':
      return keep(draft, name, readPcrs(rest));
    case 'certificate':
      return keep(draft, name, readCertificate(rest, place));
    case 'cabundle':
      return keep(draft, name, readCabundle(rest));
    case 'public_key':
      return keep(draft, name, readOptional(rest, LIMITS.attestationPublicKeyBytes, place));
    case 'user_data':
      return keep(draft, name, readOptional(rest, LIMITS.attestationUserDataBytes, place));
    case 'nonce':
      return keep(draft, name, readOptional(rest, LIMITS.attestationNonceBytes, place));
    case 'nitrotpm_pcrs':
      // check payload-nitrotpm: an EC2 instance's TPM, the same root; its registers mean other things than an enclave's
      throw new QvError('attestation_nitrotpm_unsupported', { path: name });
    default:
      // check payload-known-fields: AWS 3.2.2.1 names nine
      throw new QvError('attestation_payload_malformed', { path: 'field', value: 'unknown field' });
  }
}

function keep<Name extends keyof Draft>(draft: Draft, name: Name, read: cbor.Read<Draft[Name]>): Uint8Array {
  draft[name] = read.value;
  return read.rest;
}

/** AWS 3.2.2.2, pcrs: 1 to 32 pairs of an index below 32 and its digest. */
function readPcrs(bytes: Uint8Array): cbor.Read<ReadonlyMap<number, Uint8Array>> {
  const head = cbor.readMapHead(bytes, LIMITS.attestationPcrIndexes, payloadAt('pcrs'));
  // check pcrs-not-empty: a document that measures nothing proves nothing
  if (head.value === 0) throw new QvError('attestation_payload_malformed', { path: 'pcrs', value: 'empty' });
  const pcrs = new Map<number, Uint8Array>();
  let rest = head.rest;
  let previous = -1;
  for (let count = 0; count < head.value; count++) {
    const index = cbor.readUnsigned(rest, payloadAt('pcrs'));
    // check pcrs-index: index = 0..31
    if (index.value >= LIMITS.attestationPcrIndexes)
      throw new QvError('attestation_payload_malformed', { path: 'pcrs', value: 'index' });
    // check pcrs-ascending: one order, and no index twice
    if (index.value <= previous) throw new QvError('attestation_payload_malformed', { path: 'pcrs', value: 'order' });
    previous = index.value;
    const place = payloadAt(`pcrs.${index.value}`);
    const value = cbor.readBytes(index.rest, PCR_BYTES, place);
    // check pcrs-length: AWS allows 32, 48 and 64, but the digest must be SHA384
    if (value.value.length !== PCR_BYTES) throw new QvError(place.code, { path: place.path, value: 'length' });
    pcrs.set(index.value, value.value);
    rest = value.rest;
  }
  return { value: pcrs, rest };
}

/** AWS 2.2, cert: 1 to 1024 bytes. */
function readCertificate(bytes: Uint8Array, place: cbor.Place): cbor.Read<Uint8Array> {
  const read = cbor.readBytes(bytes, LIMITS.attestationCertificateBytes, place);
  // check certificate-not-empty: 1..1024
  if (read.value.length === 0) throw new QvError(place.code, { path: place.path, value: 'empty' });
  return read;
}

/** AWS 3.2.2.2, cabundle: at least one. Real ones have four; the limit keeps chains from becoming work. */
function readCabundle(bytes: Uint8Array): cbor.Read<readonly Uint8Array[]> {
  const head = cbor.readArrayHead(bytes, LIMITS.attestationCertificates, payloadAt('cabundle'));
  // check cabundle-not-empty: without a root there is nothing to compare with ours
  if (head.value === 0) throw new QvError('attestation_payload_malformed', { path: 'cabundle', value: 'empty' });
  const certificates: Uint8Array[] = [];
  let rest = head.rest;
  for (let index = 0; index < head.value; index++) {
    const read = readCertificate(rest, payloadAt(`cabundle.${index}`));
    certificates.push(read.value);
    rest = read.rest;
  }
  return { value: certificates, rest };
}

/** Null, or up to 1024 bytes (AWS 2.2, user_data; its section 3.2.2.2 says 512, real documents carry 1024). */
function readOptional(bytes: Uint8Array, maxLength: number, place: cbor.Place): cbor.Read<Uint8Array | null> {
  const rest = cbor.skipNull(bytes);
  return rest === undefined ? cbor.readBytes(bytes, maxLength, place) : { value: null, rest };
}

/** AWS 3.2.2.1 and 3.2.2.2: what must be there, is, and has a value that may be. */
function finish(
  envelope: Envelope,
  draft: Draft,
  payloadEncoding: AttestationDocument['payloadEncoding'],
): AttestationDocument {
  const moduleId = required(draft, 'module_id');
  const digest = required(draft, 'digest');
  const timestampMs = required(draft, 'timestamp');
  // check module-id-not-empty: AWS 3.2.2.2
  if (moduleId.length === 0) throw new QvError('attestation_payload_malformed', { path: 'module_id', value: 'empty' });
  // check timestamp-positive: AWS 3.2.2.2
  if (timestampMs === 0) throw new QvError('attestation_payload_malformed', { path: 'timestamp', value: 'zero' });
  // check digest-sha384: AWS 3.2.2.2
  if (digest !== 'SHA384') throw new QvError('attestation_payload_malformed', { path: 'digest' });
  const { public_key: publicKey, user_data: userData, nonce } = draft;
  return {
    ...envelope,
    moduleId,
    digest: 'SHA384',
    timestampMs,
    pcrs: required(draft, 'pcrs'),
    certificate: required(draft, 'certificate'),
    cabundle: required(draft, 'cabundle'),
    ...(publicKey ? { publicKey } : {}),
    ...(userData ? { userData } : {}),
    ...(nonce ? { nonce } : {}),
    presence: { public_key: presence(publicKey), user_data: presence(userData), nonce: presence(nonce) },
    payloadEncoding,
  };
}

function required<Name extends MandatoryField>(draft: Draft, name: Name): Exclude<Draft[Name], undefined> {
  const value = draft[name];
  // check payload-mandatory: AWS 3.2.2.1
  if (value === undefined) throw new QvError('attestation_payload_malformed', { path: name, value: 'missing' });
  return value as Exclude<Draft[Name], undefined>;
}

function presence(value: Uint8Array | null | undefined): Presence {
  if (value === undefined) return 'absent';
  return value === null ? 'null' : 'present';
}

/** `Recipient`: a verified attestation document, what a key policy may ask about it, and the key to answer to. */
import { createPublicKey } from 'node:crypto';
import { type AttestationDocument, decodeAttestationDocument } from '@quantumvault/shared/attestation/document.ts';
import { pcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import { assertAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { KmsError } from './errors.ts';
import type { Parameters } from './parameters.ts';

const DOCUMENT_BYTES = 262_144;

export interface Recipient {
  readonly moduleId: string;
  readonly spki: Uint8Array;
  /** Condition keys in lower case. */
  readonly facts: ReadonlyMap<string, readonly string[]>;
}

export interface RecipientTrust {
  readonly rootCertificateDer: Uint8Array;
  readonly now: number;
  /** See LocalKmsOptions. */
  readonly unsafeAcceptUnsignedDocuments?: boolean | undefined;
}

/** Undefined for a call without `Recipient`. Names of AWS's refusals of bad documents are not published: see below. */
export async function readRecipient(parameters: Parameters, trust: RecipientTrust): Promise<Recipient | undefined> {
  const structure = parameters.optionalStructure('Recipient');
  if (structure === undefined) return undefined;
  structure.text('KeyEncryptionAlgorithm');
  structure.choice('KeyEncryptionAlgorithm', ['RSAES_OAEP_SHA_256'], 'RSAES_OAEP_SHA_256');
  const document = await verified(structure.bytes('AttestationDocument', 1, DOCUMENT_BYTES), trust);
  return { moduleId: document.moduleId, spki: rsaKeyOf(document), facts: factsOf(document) };
}

async function verified(bytes: Uint8Array, trust: RecipientTrust): Promise<AttestationDocument> {
  try {
    if (trust.unsafeAcceptUnsignedDocuments === true) return unsafeUnsigned(bytes, trust.now);
    const { pcrs } = decodeAttestationDocument(bytes);
    // Which image may call is the key policy's business, so the document's own PCR0 stands as the expectation.
    const own = pcrSet('its own', new Map([[0, pcrs.get(0) ?? new Uint8Array()]]));
    return await assertAttestation(bytes, {
      mode: {
        kind: 'live',
        nowMs: trust.now,
        nonce: 'unsafe-not-checked',
        maxAgeSeconds: LIMITS.attestationMaxAgeSeconds,
      },
      pcrSets: [own],
      publicKeyRequired: true,
      // As AWS: a debug enclave's zeros are values like others, which a policy can name.
      allowDebug: true,
      unsafeTrustedRootDer: trust.rootCertificateDer,
    });
  } catch (error) {
    // AWS's own name and wording for this are not documented; a validation failure is what its SDKs would not retry.
    throw new KmsError('ValidationException', `The attestation document is not valid: ${codeOf(error)}`, {
      cause: error,
    });
  }
}

/**
 * What an emulated security module says about its guest: a document in AWS's form whose signature is 96 zero bytes. Its
 * age counts; where it comes from is unknown. A signed document is none of these: it has to be verified instead.
 */
function unsafeUnsigned(bytes: Uint8Array, nowMs: number): AttestationDocument {
  const document = decodeAttestationDocument(bytes);
  if (document.signature.some((byte) => byte !== 0)) throw new QvError('attestation_signature_invalid');
  const ageMs = Math.abs(nowMs - document.timestampMs);
  if (ageMs > LIMITS.attestationMaxAgeSeconds * 1000) throw new QvError('attestation_stale');
  return document;
}

/** KMS answers to RSA keys of 2048 bits only. */
function rsaKeyOf(document: AttestationDocument): Uint8Array {
  const spki = document.publicKey ?? new Uint8Array();
  const refused = (cause?: unknown): KmsError =>
    new KmsError('ValidationException', 'The public key in the attestation document is not RSA-2048', { cause });
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    const canonical = key.export({ format: 'der', type: 'spki' });
    const isRsa2048 = key.asymmetricKeyType === 'rsa' && key.asymmetricKeyDetails?.modulusLength === 2048;
    // Trailing bytes or another spelling would give another recipient identifier than the enclave computes.
    if (!isRsa2048 || !canonical.equals(spki)) throw refused();
    return spki;
  } catch (error) {
    throw error instanceof KmsError ? error : refused(error);
  }
}

function factsOf(document: AttestationDocument): ReadonlyMap<string, readonly string[]> {
  const facts = new Map<string, readonly string[]>();
  for (const [index, value] of document.pcrs) {
    facts.set(`kms:recipientattestation:pcr${index}`, [toHex(value)]);
  }
  const image = document.pcrs.get(0);
  if (image !== undefined) facts.set('kms:recipientattestation:imagesha384', [toHex(image)]);
  return facts;
}

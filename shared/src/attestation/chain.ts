/**
 * The certificate chain of a document, root first and leaf last (AWS attestation_process.md 3.2.3, RFC 5280 section
 * 6.1). Each function is one named check over the whole chain; verify.ts calls them all. Names are compared as bytes;
 * revocation is not checked, as AWS directs (3.2.4).
 */
import { equalBytes, toHex } from '../bytes.ts';
import type { Certificate } from './certificate.ts';
import { fail, pass, type Verdict } from './checklist.ts';
import { rawSignature, verifyEs384 } from './es384.ts';
import { fingerprintOf, type TrustedRoot } from './root.ts';

/** Certificates from the root to the one that signed the document: at least two. */
export interface Chain {
  readonly root: Certificate;
  /** CA certificates below the root, in order. */
  readonly intermediates: readonly Certificate[];
  readonly leaf: Certificate;
}

const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';
/** Bits as RFC 5280 section 4.2.1.3 numbers them. */
const DIGITAL_SIGNATURE = 1 << 0;
const KEY_CERT_SIGN = 1 << 5;
/** SEQUENCE { OID 1.2.840.10045.4.3.3 }: ecdsa-with-SHA384, no parameters (RFC 5758 section 3.2). */
const ECDSA_WITH_SHA384 = '300a06082a8648ce3d040303';
/** SEQUENCE { SEQUENCE { id-ecPublicKey, secp384r1 }, BIT STRING 04 || x || y } (RFC 5480): then 96 bytes. */
const P384_KEY = '3076301006072a8648ce3d020106052b8104002203620004';
const P384_KEY_BYTES = 120;

const issuersOf = (chain: Chain): readonly Certificate[] => [chain.root, ...chain.intermediates];
const allOf = (chain: Chain): readonly Certificate[] => [...issuersOf(chain), chain.leaf];

export async function checkRoot({ root }: Chain, trusted: TrustedRoot): Promise<Verdict> {
  const fingerprint = await fingerprintOf(root.der);
  // check root-fingerprint: cabundle[0] is whatever the sender put there until it hashes to the pin
  if (fingerprint !== trusted.fingerprint) return fail('attestation_root_untrusted', `SHA-256 ${fingerprint}`);
  return pass(trusted.isAws ? 'AWS Nitro Enclaves root G1' : `UNSAFE: another root than AWS's, SHA-256 ${fingerprint}`);
}

/** RFC 5280 section 6.1.3 (a)(4). */
export function checkOrder(chain: Chain): Verdict {
  const code = 'attestation_chain_order_invalid';
  // check chain-root-self-issued: the order is root first (AWS 3.2.3)
  if (!equalBytes(chain.root.subject, chain.root.issuer)) return fail(code, `${chain.root.path} is not self-issued`);
  let issuer = chain.root;
  for (const certificate of [...chain.intermediates, chain.leaf]) {
    // check chain-issuer: each names the one before it
    if (!equalBytes(certificate.issuer, issuer.subject)) return fail(code, `${certificate.path} has another issuer`);
    // check chain-no-second-root: a root repeated, or a key rolled over, is no part of this PKI
    if (equalBytes(certificate.issuer, certificate.subject)) return fail(code, `${certificate.path} is self-issued`);
    issuer = certificate;
  }
  return pass(allOf(chain).map(commonName).join(' > '));
}

/** RFC 5280 section 4.2: a critical extension that is not processed means refusal. */
export function checkExtensions(chain: Chain): Verdict {
  for (const { path, criticalExtensions } of allOf(chain)) {
    const unknown = criticalExtensions.find((oid) => oid !== BASIC_CONSTRAINTS && oid !== KEY_USAGE);
    // check chain-critical-extension: name constraints and the like would bind us
    if (unknown !== undefined) return fail('attestation_chain_extension_unknown', `${path} has ${unknown}`);
  }
  return pass('basicConstraints and keyUsage only');
}

/** AWS 3.2.3.2, RFC 5280 sections 4.2.1.9 and 6.1.4 (k). */
export function checkCa(chain: Chain): Verdict {
  const code = 'attestation_chain_ca_invalid';
  for (const { path, basicConstraints } of issuersOf(chain)) {
    // check chain-issuer-is-ca: else any enclave's leaf could issue certificates
    if (basicConstraints?.ca !== true) return fail(code, `${path} is no CA`);
    // check chain-ca-critical: AWS 3.2.3.2, critical in all CA certificates
    if (!basicConstraints.critical) return fail(code, `${path} does not mark basicConstraints as critical`);
  }
  // check chain-leaf-no-ca: a CA key signs certificates, never documents
  if (chain.leaf.basicConstraints?.ca === true) return fail(code, 'the leaf is a CA');
  return pass(`${issuersOf(chain).length} CA certificates and a leaf`);
}

/** AWS 3.2.3.3, RFC 5280 section 6.1.4 (l, m). Self-issued certificates are not exempt: none is allowed. */
export function checkPathLength(chain: Chain): Verdict {
  const code = 'attestation_chain_path_too_long';
  for (const [index, { path, basicConstraints }] of issuersOf(chain).entries()) {
    const below = chain.intermediates.length - index;
    const allowed = basicConstraints?.pathLength ?? Number.POSITIVE_INFINITY;
    // check chain-path-length: CA certificates below this one, the leaf not counted
    if (!(below <= allowed)) return fail(code, `${path} allows ${allowed} CA certificates below it, not ${below}`);
  }
  // check chain-leaf-path-length: undefined for the target certificate (AWS 3.2.3.3)
  if (chain.leaf.basicConstraints?.pathLength !== undefined) return fail(code, 'the leaf has a path length');
  return pass(
    issuersOf(chain)
      .map((certificate) => certificate.basicConstraints?.pathLength ?? 'any')
      .join(' > '),
  );
}

/** AWS 3.2.3.3, RFC 5280 section 4.2.1.3. */
export function checkKeyUsage(chain: Chain): Verdict {
  const code = 'attestation_chain_key_usage_invalid';
  for (const { path, keyUsage = 0 } of issuersOf(chain)) {
    // check chain-key-cert-sign: absent does not mean everything here
    if ((keyUsage & KEY_CERT_SIGN) === 0) return fail(code, `${path} lacks keyCertSign`);
  }
  const { keyUsage: leafUsage = 0 } = chain.leaf;
  // check chain-digital-signature: the leaf signs documents
  if ((leafUsage & DIGITAL_SIGNATURE) === 0) return fail(code, 'the leaf lacks digitalSignature');
  // check chain-leaf-no-cert-sign: asserted in CA certificates only (AWS 3.2.3.3)
  if ((leafUsage & KEY_CERT_SIGN) !== 0) return fail(code, 'the leaf has keyCertSign');
  return pass('keyCertSign for CAs, digitalSignature for the leaf');
}

export function checkAlgorithms(chain: Chain): Verdict {
  const code = 'attestation_chain_algorithm_unsupported';
  for (const { path, subjectPublicKeyInfo, signatureAlgorithm, signedAlgorithm } of allOf(chain)) {
    const key = toHex(subjectPublicKeyInfo);
    // check chain-p384: an uncompressed point of a named curve, no parameters of the sender's
    if (subjectPublicKeyInfo.length !== P384_KEY_BYTES || !key.startsWith(P384_KEY))
      return fail(code, `${path} has no P-384 key`);
    // check chain-sha384: the algorithm that is verified
    if (toHex(signatureAlgorithm) !== ECDSA_WITH_SHA384) return fail(code, `${path} is not signed with SHA-384`);
    // check chain-signed-algorithm: RFC 5280 section 4.1.1.2, the same inside the signed part
    if (!equalBytes(signedAlgorithm, signatureAlgorithm)) return fail(code, `${path} names two algorithms`);
  }
  return pass('P-384 and ecdsa-with-SHA384');
}

/** AWS 3.2.3.1, RFC 5280 section 4.1.2.5: both ends are included, the root too. */
export function checkValidity(chain: Chain, timeMs: number): Verdict {
  for (const { path, notBeforeMs, notAfterMs } of allOf(chain)) {
    const period = `${path} is valid from ${isoTime(notBeforeMs)} to ${isoTime(notAfterMs)}`;
    // check chain-not-before: not yet valid
    if (timeMs < notBeforeMs) return fail('attestation_chain_not_valid_then', period);
    // check chain-not-after: expired
    if (timeMs > notAfterMs) return fail('attestation_chain_not_valid_then', period);
  }
  const { notBeforeMs, notAfterMs } = chain.leaf;
  return pass(`at ${isoTime(timeMs)}; the leaf from ${isoTime(notBeforeMs)} to ${isoTime(notAfterMs)}`);
}

/** RFC 5280 section 6.1.3 (a)(1), from the root down. The root's own signature proves nothing: its bytes are pinned. */
export async function checkSignatures(chain: Chain): Promise<Verdict> {
  let issuer = chain.root;
  for (const certificate of [...chain.intermediates, chain.leaf]) {
    const signature = rawSignature(certificate.signature, certificate.path);
    const valid =
      signature !== undefined && (await verifyEs384(issuer.subjectPublicKeyInfo, signature, certificate.tbs));
    // check chain-signature: by the key of the certificate before it
    if (!valid) return fail('attestation_chain_signature_invalid', `${certificate.path} is not signed by its issuer`);
    issuer = certificate;
  }
  return pass(`${chain.intermediates.length + 1} signatures`);
}

export function isoTime(timeMs: number): string {
  return Number.isFinite(timeMs) && Math.abs(timeMs) <= 8.64e15 ? new Date(timeMs).toISOString() : `${timeMs} ms`;
}

/** For people only. The text comes from the certificate: nothing but printable ASCII passes. */
function commonName({ subjectText }: Certificate): string {
  const name = /CN=([^,+]*)/.exec(subjectText)?.[1] ?? subjectText;
  return name.replace(/[^\x20-\x7e]/g, '?').slice(0, 64);
}

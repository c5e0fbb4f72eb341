/**
 * Verifies Nitro attestation documents: one verifier for auditors, the command line, the page and the local KMS.
 * `verifyAttestation` is its own checklist: the four steps of `open`, then the rows of CHECKS, in the order in which
 * the report shows them. Runs in Node and browsers; README.md names each check's clause and test.
 */
import { concatBytes, equalBytes, toHex, utf8 } from '../bytes.ts';
import { type ErrorCode, type ErrorFacts, QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { parseCertificate } from './certificate.ts';
import * as chains from './chain.ts';
import { fail, pass, STEPS, type Step, type StepName, skip, type Verdict } from './checklist.ts';
import { type AttestationDocument, copyBounded, decodeEnvelope, decodePayload } from './document.ts';
import { sha384, verifyEs384 } from './es384.ts';
import { type Expectations, type LiveMode, type ReplayMode, requireExpectations } from './expectations.ts';
import { PCR_BYTES, type PcrSet } from './pcrs.ts';
import { type TrustedRoot, trustedRoot } from './root.ts';

export interface AttestationFailure {
  readonly step: StepName;
  readonly code: ErrorCode;
  readonly facts: ErrorFacts;
}

interface ReportBase {
  readonly mode: 'live' | 'replay';
  /** Replay says nothing about when the document was shown to anyone. */
  readonly proves: 'authenticity and recency' | 'authenticity, not recency';
  /** Every step of STEPS, in its order. */
  readonly steps: readonly Step[];
}

export type AttestationReport = ReportBase &
  (
    | { readonly ok: true; readonly document: AttestationDocument; readonly pcrSet: PcrSet }
    | { readonly ok: false; readonly failure: AttestationFailure }
  );

/** What the checks look at. */
interface Evidence {
  readonly document: AttestationDocument;
  readonly chain: chains.Chain;
  readonly expected: Expectations;
  readonly trusted: TrustedRoot;
}

type Check = readonly [StepName, (evidence: Evidence) => Verdict | Promise<Verdict>];

const CHECKS: readonly Check[] = [
  ['root', ({ chain, trusted }) => chains.checkRoot(chain, trusted)],
  ['chain-order', ({ chain }) => chains.checkOrder(chain)],
  ['chain-extensions', ({ chain }) => chains.checkExtensions(chain)],
  ['chain-ca', ({ chain }) => chains.checkCa(chain)],
  ['chain-path-length', ({ chain }) => chains.checkPathLength(chain)],
  ['chain-key-usage', ({ chain }) => chains.checkKeyUsage(chain)],
  ['chain-algorithms', ({ chain }) => chains.checkAlgorithms(chain)],
  ['chain-validity', ({ chain, document, expected }) => chains.checkValidity(chain, timeOf(document, expected.mode))],
  ['chain-signatures', ({ chain }) => chains.checkSignatures(chain)],
  ['signature', checkSignature],
  ['time', checkTime],
  ['nonce', checkNonce],
  ['debug', checkDebug],
  ['pcrs', checkPcrs],
  ['instance', checkInstance],
  ['user-data', checkUserData],
  ['public-key', checkPublicKey],
];

/**
 * Makes every check it can reach and says what it found, whether or not an earlier one failed; only when the bytes are
 * no document are the rest not reached. A document that fails is not described: nothing in it is known to be true.
 *
 * @param bytes the raw COSE_Sign1
 * @throws QvError attestation_expectations_invalid when there is nothing to compare with
 */
export async function verifyAttestation(bytes: Uint8Array, expected: Expectations): Promise<AttestationReport> {
  requireExpectations(expected);
  const steps: Step[] = [];
  let failure: AttestationFailure | undefined;
  const record = (name: StepName, verdict: Verdict, facts: ErrorFacts = { path: name }): void => {
    steps.push({ name, title: STEPS[name], ...verdict });
    if (verdict.status === 'fail') failure ??= { step: name, code: verdict.code, facts };
  };
  // Copies before the first await: the caller may go on using its buffer.
  const opened = open(bytes, record);
  if (opened !== undefined) {
    const evidence = { ...opened, expected, trusted: await trustedRoot(expected.unsafeTrustedRootDer) };
    for (const [name, check] of CHECKS) record(name, await check(evidence));
  }
  const mode = expected.mode.kind;
  const proves = mode === 'live' ? 'authenticity and recency' : 'authenticity, not recency';
  const report = { mode, proves, steps: withUnreached(steps) } as const;
  const matched = opened && matchingSet(opened.document, expected.pcrSets);
  if (failure !== undefined) return { ...report, ok: false, failure };
  // Without a failure every step has been reached, the matching set included.
  if (opened === undefined || matched === undefined) throw new QvError('internal');
  return { ...report, ok: true, document: opened.document, pcrSet: matched };
}

/** The same, for code that goes on only with a verified document. @throws QvError the first failure's code */
export async function assertAttestation(bytes: Uint8Array, expected: Expectations): Promise<AttestationDocument> {
  const report = await verifyAttestation(bytes, expected);
  if (!report.ok) throw new QvError(report.failure.code, report.failure.facts);
  return report.document;
}

/** The structural steps: each needs what the one before it read. Undefined when one has failed. */
function open(
  bytes: Uint8Array,
  record: (name: StepName, verdict: Verdict, facts?: ErrorFacts) => void,
): Pick<Evidence, 'document' | 'chain'> | undefined {
  let step: StepName = 'size';
  try {
    const copy = copyBounded(bytes);
    record(step, pass(`${copy.length} bytes`));
    step = 'envelope';
    const envelope = decodeEnvelope(copy);
    record(step, pass('COSE_Sign1, ES384'));
    step = 'payload';
    const document = decodePayload(envelope);
    record(step, pass(`${document.moduleId}, ${document.payloadEncoding} map, ${document.pcrs.size} PCRs`));
    step = 'certificates';
    const chain = readChain(document);
    record(step, pass(`${chain.intermediates.length + 2} certificates`));
    return { document, chain };
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    const { path = '', value = '' } = error.facts;
    record(step, fail(error.code, [path, value].filter(Boolean).join(': ')), error.facts);
    return undefined;
  }
}

/** AWS 3.2.3: the bundle root first, then the certificate that signed. */
function readChain(document: AttestationDocument): chains.Chain {
  const [rootDer, ...others] = document.cabundle;
  if (rootDer === undefined) throw new QvError('attestation_payload_malformed', { path: 'cabundle' });
  return {
    root: parseCertificate(rootDer, 'cabundle.0'),
    intermediates: others.map((der, index) => parseCertificate(der, `cabundle.${index + 1}`)),
    leaf: parseCertificate(document.certificate, 'certificate'),
  };
}

/** AWS 3.2.3.1 means now; records are judged at the time they were made. */
function timeOf(document: AttestationDocument, mode: LiveMode | ReplayMode): number {
  return mode.kind === 'live' ? mode.nowMs : document.timestampMs;
}

/** RFC 9052 section 4.4: Sig_structure ["Signature1", protected, external_aad, payload] over the bytes received. */
async function checkSignature({ document, chain }: Evidence): Promise<Verdict> {
  const { protectedHeader, payload, signature } = document;
  const signed = concatBytes(
    Uint8Array.of(0x84, 0x6a),
    utf8('Signature1'),
    Uint8Array.of(0x40 + protectedHeader.length),
    protectedHeader,
    Uint8Array.of(0x40, ...byteStringHead(payload.length)),
    payload,
  );
  const valid = await verifyEs384(chain.leaf.subjectPublicKeyInfo, signature, signed);
  // check signature: by the key of the leaf, over what was received
  if (!valid) return fail('attestation_signature_invalid', 'not made by the key of the certificate');
  return pass('ES384 by the key of the certificate');
}

/** RFC 8949 section 3.1, shortest form; a payload is bounded well below 2^16. */
function byteStringHead(length: number): readonly number[] {
  if (length < 24) return [0x40 + length];
  return length < 0x100 ? [0x58, length] : [0x59, length >> 8, length & 0xff];
}

function checkTime({ document, expected: { mode } }: Evidence): Verdict {
  const made = chains.isoTime(document.timestampMs);
  if (mode.kind === 'replay')
    return skip(`checked at the document's own time, ${made}: proves authenticity, not recency`);
  const { maxAgeSeconds = LIMITS.attestationMaxAgeSeconds, maxFutureSeconds = LIMITS.attestationMaxFutureSeconds } =
    mode;
  const ageMs = mode.nowMs - document.timestampMs;
  const found = `made at ${made}, ${ageMs / 1000} s ago`;
  // check time-stale: the chain alone would allow three hours
  if (ageMs > maxAgeSeconds * 1000) return fail('attestation_stale', found);
  // check time-future: a document from a later time has not been made yet
  if (-ageMs > maxFutureSeconds * 1000) return fail('attestation_in_future', found);
  return pass(found);
}

function checkNonce({ document, expected: { mode } }: Evidence): Verdict {
  if (mode.nonce === 'unsafe-not-checked') return skip('UNSAFE: not checked; the document may have been shown before');
  if (mode.nonce === undefined) return skip('none was asked for');
  const { nonce } = document;
  const found = nonce === undefined ? 'none' : toHex(nonce);
  // check nonce: all of it, and there
  if (nonce === undefined || !equalBytes(nonce, mode.nonce)) return fail('attestation_nonce_mismatch', found);
  return pass(found);
}

/** In debug mode PCR0, 1 and 2 are zero; PCR3 and 4 are not. A measured register is never zero. */
function checkDebug({ document, expected }: Evidence): Verdict {
  const unmeasured = [0, 1, 2].filter((index) => document.pcrs.get(index)?.some((byte) => byte !== 0) !== true);
  if (unmeasured.length === 0) return pass('PCR0, 1 and 2 are measured');
  const found = `PCR${unmeasured.join(', ')} zero or absent`;
  // check debug: whoever started a debug enclave reads its memory
  if (expected.allowDebug !== true) return fail('attestation_debug_enclave', found);
  return pass(`UNSAFE: ${found}, a debug enclave; allowed`);
}

function checkPcrs({ document, expected }: Evidence): Verdict {
  const matched = matchingSet(document, expected.pcrSets);
  // check pcrs: all of one set
  if (matched === undefined) return fail('attestation_pcrs_not_allowed', differences(document, expected.pcrSets));
  return pass(`PCR${[...matched.pcrs.keys()].join(', ')} as in ${matched.name}`);
}

function matchingSet(document: AttestationDocument, sets: readonly PcrSet[]): PcrSet | undefined {
  return sets.find((set) => differing(document, set).length === 0);
}

/** The indexes of a set that the document has otherwise, or not at all. */
function differing(document: AttestationDocument, set: PcrSet): readonly number[] {
  return [...set.pcrs].flatMap(([index, value]) => {
    const found = document.pcrs.get(index);
    return found !== undefined && equalBytes(found, value) ? [] : [index];
  });
}

function differences(document: AttestationDocument, sets: readonly PcrSet[]): string {
  return sets.map((set) => `not ${set.name}: PCR${differing(document, set).join(', ')} differ`).join('; ');
}

/** PCR4 = SHA-384(48 zero bytes || instance id), as extending a register measures it: names and chip must agree. */
async function checkInstance({ document }: Evidence): Promise<Verdict> {
  const instance = /^(i-[0-9a-f]+)-enc[0-9a-f]+$/.exec(document.moduleId)?.[1];
  // check module-id-form: every enclave's has it; another issuer's document is not one of an enclave
  if (instance === undefined)
    return fail('attestation_instance_mismatch', `${document.moduleId} is not i-<hex>-enc<hex>`);
  const measured = await sha384(concatBytes(new Uint8Array(PCR_BYTES), utf8(instance)));
  const pcr4 = document.pcrs.get(4);
  // check instance: the register and the name come from different places
  if (pcr4 === undefined || !equalBytes(pcr4, measured))
    return fail('attestation_instance_mismatch', `PCR4 does not measure ${instance}`);
  return pass(instance);
}

function checkUserData({ document: { userData }, expected }: Evidence): Verdict {
  if (expected.userData === undefined) return skip('none was asked for');
  const found = userData === undefined ? 'none' : `${userData.length} bytes`;
  // check user-data: exactly the bytes expected
  if (userData === undefined || !equalBytes(userData, expected.userData))
    return fail('attestation_user_data_mismatch', found);
  return pass(found);
}

function checkPublicKey({ document: { publicKey }, expected }: Evidence): Verdict {
  if (expected.publicKeyRequired !== true) return skip('none was asked for');
  // check public-key: zero bytes are no key
  if (publicKey === undefined || publicKey.length === 0) return fail('attestation_public_key_missing', 'none');
  return pass(`${publicKey.length} bytes`);
}

function withUnreached(steps: readonly Step[]): readonly Step[] {
  const names = Object.keys(STEPS) as StepName[];
  const unreached = names
    .slice(steps.length)
    .map((name) => ({ name, title: STEPS[name], status: 'not-reached', found: '' }) as const);
  return [...steps, ...unreached];
}

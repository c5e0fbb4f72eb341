/**
 * Verifies a receipt file offline: what the enclave decided, which image it ran, and that its log contains the
 * decision. `verifyReceiptFile` is its own checklist: the steps of `open`, then the rows of CHECKS, in the order in
 * which the report shows them. Runs in Node and browsers; Ed25519 is an argument.
 */
import { isoTime } from '../attestation/chain.ts';
import { fail, pass, skip, type Verdict } from '../attestation/checklist.ts';
import { type AttestationDocument, decodeAttestationDocument } from '../attestation/document.ts';
import { type AttestationReport, verifyAttestation } from '../attestation/verify.ts';
import { addressBytes, timeMs } from '../brands.ts';
import { equalBytes, toHex } from '../bytes.ts';
import { type ErrorFacts, QvError } from '../errors.ts';
import { sha256 } from '../sha256.ts';
import { type OpenedCheckpoint, openCheckpoint } from '../tlog/checkpoint.ts';
import { verifyInclusion } from '../tlog/proof.ts';
import { checkDistinct, verifierKey } from '../tlog/verifier-key.ts';
import { bootLogOrigin, decodeLeaf, type Leaf, leafHash, type VerifyEd25519 } from './leaf.ts';
import {
  RECEIPT_STEPS,
  type ReceiptExpectations,
  type ReceiptFailure,
  type ReceiptReport,
  type ReceiptStep,
  type ReceiptStepName,
  type VerifiedReceiptFile,
} from './receipt-checklist.ts';
import { type ProvenLeaf, parseReceiptFile, type ReceiptFile } from './receipt-file.ts';
import type { UserData } from './user-data.ts';
import { bootOf, readUserData } from './verify.ts';

/** What the checks look at. Nothing of it is believed before they pass. */
interface Evidence {
  readonly file: ReceiptFile;
  readonly bootLeaf: Leaf;
  readonly leaf: Leaf;
  readonly document: AttestationDocument;
  readonly userData: UserData;
  /** The checkpoint, once its step has opened it. */
  opened?: OpenedCheckpoint;
  readonly expected: ReceiptExpectations;
  readonly verifyEd25519: VerifyEd25519;
}

type Check = readonly [ReceiptStepName, (evidence: Evidence) => Verdict];

const CHECKS: readonly Check[] = [
  ['boot-key', checkBootKey],
  ['configuration', checkConfiguration],
  ['boot-signature', (evidence) => checkSigned(evidence, evidence.file.bootRecord, 'bootRecord')],
  ['leaf-signature', (evidence) => checkSigned(evidence, evidence.file, 'leaf')],
  ['checkpoint', checkCheckpoint],
  ['witnesses', checkWitnesses],
  ['boot-inclusion', (evidence) => checkIncluded(evidence, evidence.file.bootRecord, 0n)],
  ['inclusion', checkInclusion],
  ['transaction', checkTransaction],
  ['signature', checkSignature],
];

/**
 * Makes every check it can reach and says what it found, whether or not an earlier one failed. A receipt that fails is
 * not described: nothing in it is known to be true.
 *
 * @param bytes the file
 * @throws QvError attestation_expectations_invalid, log_key_repeated when what is expected contradicts itself
 */
export async function verifyReceiptFile(
  bytes: Uint8Array,
  expected: ReceiptExpectations,
  verifyEd25519: VerifyEd25519,
): Promise<ReceiptReport> {
  requireExpectations(expected);
  const steps: ReceiptStep[] = [];
  let failure: ReceiptFailure | undefined;
  const record: Recorder = (step, verdict, facts = {}) => {
    steps.push({ name: step, title: RECEIPT_STEPS[step], ...verdict });
    if (verdict.status === 'fail') failure ??= { step, code: verdict.code, facts };
  };
  const { attestation, evidence } = await open(bytes, expected, verifyEd25519, record);
  if (evidence !== undefined) for (const [name, check] of CHECKS) attempt(name, () => check(evidence), record);
  const report = { steps: withUnreached(steps), attestation: attestation?.steps ?? [] };
  if (failure !== undefined) return { ...report, ok: false, failure };
  // Without a failure every step has been reached, and with it all that is described.
  if (evidence?.opened === undefined || attestation?.ok !== true) throw new QvError('internal');
  return { ...report, ok: true, receipt: describe(evidence, evidence.opened, attestation) };
}

/** An expectation that is missing must never mean "anything". The attestation's own are checked with it. */
function requireExpectations({ pcrSets, witnesses, witnessThreshold, signature }: ReceiptExpectations): void {
  const refuse = (path: string): never => {
    throw new QvError('attestation_expectations_invalid', { path });
  };
  if (pcrSets.length === 0) refuse('pcrSets');
  if (witnesses.some(({ type }) => type !== 'cosignature')) refuse('witnesses');
  checkDistinct(witnesses);
  const isCount = Number.isInteger(witnessThreshold) && witnessThreshold >= 0 && witnessThreshold <= witnesses.length;
  if (!isCount) refuse('witnessThreshold');
  if (signature !== undefined && signature.length !== 64) refuse('signature');
}

type Recorder = (step: ReceiptStepName, verdict: Verdict, facts?: ErrorFacts) => void;

interface Opened {
  /** Absent when there is no document to judge. */
  readonly attestation?: AttestationReport;
  /** Absent when what the other checks compare does not decode. */
  readonly evidence?: Evidence;
}

/** The steps that read: each needs what the one before it found. */
async function open(
  bytes: Uint8Array,
  expected: ReceiptExpectations,
  verifyEd25519: VerifyEd25519,
  record: Recorder,
): Promise<Opened> {
  const file = read('form', () => readForm(bytes), record);
  const boot = file && read('boot-record', () => readBootRecord(file), record);
  if (file === undefined || boot === undefined) return {};
  const attestation = await verifyAttestation(boot.attestation, { ...expected, mode: { kind: 'replay' } });
  attempt('attestation', () => attestationVerdict(attestation), record);
  // A document of another image still names a key: what else holds is worth telling.
  const claimed = claimsOf(boot.attestation);
  const leaf = claimed && read('leaf', () => readLeaf(file), record);
  if (claimed === undefined || leaf === undefined) return { attestation };
  return { attestation, evidence: { file, bootLeaf: boot.leaf, leaf, ...claimed, expected, verifyEd25519 } };
}

type Found<T> = readonly [T, string];

function readForm(bytes: Uint8Array): Found<ReceiptFile> {
  return [parseReceiptFile(bytes), `${bytes.length} bytes`];
}

function readBootRecord({ bootRecord }: ReceiptFile): Found<{ leaf: Leaf; attestation: Uint8Array }> {
  const leaf = decodeLeaf(bootRecord.receipt.leaf);
  const { kind, sequence, previous, attestation } = leaf;
  if (kind !== 'boot') throw new QvError('evidence_mismatch', { path: 'bootRecord.kind', value: kind });
  if (sequence !== 0n) throw new QvError('evidence_mismatch', { path: 'bootRecord.sequence', value: String(sequence) });
  if (previous !== undefined) throw new QvError('evidence_mismatch', { path: 'bootRecord.previous' });
  if (attestation === undefined) throw new QvError('evidence_mismatch', { path: 'bootRecord.attestation' });
  return [{ leaf, attestation }, `boot ${leaf.boot}, ${isoTime(leaf.time)}`];
}

function readLeaf({ receipt }: ReceiptFile): Found<Leaf> {
  const leaf = decodeLeaf(receipt.leaf);
  return [leaf, `${leaf.kind}, sequence ${leaf.sequence}`];
}

function attestationVerdict(report: AttestationReport): Verdict {
  if (!report.ok) return fail(report.failure.code, `its step ${report.failure.step} fails`);
  const { document, pcrSet } = bootOf(report, {});
  return pass(`${document.moduleId}, ${isoTime(document.timestampMs)}, as in ${pcrSet.name}`);
}

function claimsOf(bytes: Uint8Array): Pick<Evidence, 'document' | 'userData'> | undefined {
  try {
    const document = decodeAttestationDocument(bytes);
    return { document, userData: readUserData(document.userData) };
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    return undefined;
  }
}

function checkBootKey({ userData: { bootKey }, bootLeaf, leaf }: Evidence): Verdict {
  // check boot-record: the document inside leaf 0 names the boot that leaf 0 is of
  if (bootLeaf.boot !== bootKey) return mismatch('bootRecord.boot', bootLeaf.boot);
  // check boot: a leaf of another boot is not this image's word
  if (leaf.boot !== bootKey) return mismatch('leaf.boot', leaf.boot);
  return pass(bootKey);
}

function checkConfiguration({ userData, bootLeaf, expected }: Evidence): Verdict {
  const { configHash, logOrigin } = userData;
  const recorded = bootLeaf.configHash;
  if (recorded === undefined || !equalBytes(recorded, configHash))
    return mismatch('bootRecord.configHash', recorded === undefined ? 'absent' : toHex(recorded));
  if (expected.configHash !== undefined && !equalBytes(configHash, expected.configHash))
    return mismatch('userData.configHash', toHex(configHash));
  if (expected.logOrigin !== undefined && logOrigin !== expected.logOrigin)
    return mismatch('userData.logOrigin', logOrigin);
  return pass(`SHA-256 ${toHex(configHash)}, log ${logOrigin}`);
}

/** Under the key that the attestation names, whatever the leaf says of itself. */
function checkSigned({ userData, verifyEd25519 }: Evidence, { receipt }: ProvenLeaf, path: string): Verdict {
  if (!verifyEd25519(receipt.signature, receipt.leaf, addressBytes(userData.bootKey)))
    throw new QvError('evidence_signature_invalid', { path });
  return pass(`Ed25519 by ${userData.bootKey}`);
}

function checkCheckpoint(evidence: Evidence): Verdict {
  const { file, userData, expected, verifyEd25519 } = evidence;
  const origin = bootLogOrigin(userData.logOrigin, userData.bootKey);
  const key = verifierKey(origin, 'ed25519', addressBytes(userData.bootKey));
  const opened = openCheckpoint(file.checkpoint, { origin, key, witnesses: expected.witnesses }, verifyEd25519);
  evidence.opened = opened;
  return pass(`${opened.checkpoint.size} leaves, ${origin}`);
}

function checkWitnesses({ opened, expected: { witnesses, witnessThreshold } }: Evidence): Verdict {
  if (witnesses.length === 0) return skip('no witness is known: the host may show others another end of this log');
  if (opened === undefined) return fail('witnesses_too_few', 'the checkpoint does not open');
  const { cosignatures } = opened;
  const names = cosignatures.map(
    ({ key, timeSeconds = 0n }) => `${key.name} at ${isoTime(Number(timeSeconds) * 1000)}`,
  );
  const found = `${names.length} of ${witnesses.length} known, ${witnessThreshold} required${names.map((name) => `; ${name}`).join('')}`;
  // check witnesses: each counts once, which openCheckpoint sees to
  if (cosignatures.length < witnessThreshold) return fail('witnesses_too_few', found);
  return pass(found);
}

function checkIncluded({ opened }: Evidence, { receipt, proof }: ProvenLeaf, index: bigint): Verdict {
  if (opened === undefined) return fail('log_proof_invalid', 'the checkpoint does not open');
  const { size, root } = opened.checkpoint;
  verifyInclusion({ index, size, leafHash: leafHash(receipt.leaf), proof, root });
  return pass(`index ${index} of ${size}`);
}

function checkInclusion(evidence: Evidence): Verdict {
  const { file, leaf } = evidence;
  // check index: the tree has the leaf where the leaf says it stands
  if (file.index !== leaf.sequence) return mismatch('index', `${file.index}, but the leaf is ${leaf.sequence}`);
  return checkIncluded(evidence, file, file.index);
}

function checkTransaction({ leaf, expected: { message } }: Evidence): Verdict {
  if (message === undefined) return skip('none was given');
  const found = sha256(message);
  if (leaf.messageHash === undefined) return mismatch('leaf.messageHash', 'absent');
  if (!equalBytes(leaf.messageHash, found)) return mismatch('leaf.messageHash', toHex(leaf.messageHash));
  return pass(`message SHA-256 ${toHex(found)}`);
}

function checkSignature({ leaf, expected: { message, signature }, verifyEd25519 }: Evidence): Verdict {
  if (signature === undefined) return skip('none was given');
  const found = sha256(signature);
  if (leaf.signatureHash === undefined) return mismatch('leaf.signatureHash', 'absent');
  if (!equalBytes(leaf.signatureHash, found)) return mismatch('leaf.signatureHash', toHex(leaf.signatureHash));
  if (message === undefined) return pass(`SHA-256 ${toHex(found)}; no transaction was given to verify it over`);
  const { wallet } = leaf;
  if (wallet === undefined || !verifyEd25519(signature, message, addressBytes(wallet)))
    return mismatch('signature', `not by ${wallet ?? 'a wallet'} over this transaction`);
  return pass(`Ed25519 by ${wallet} over this transaction`);
}

/** What was found instead goes to people; the path is stable. */
function mismatch(path: string, value: string): never {
  throw new QvError('evidence_mismatch', { path, value: value.slice(0, 200) });
}

function read<T>(step: ReceiptStepName, action: () => Found<T>, record: Recorder): T | undefined {
  let value: T | undefined;
  attempt(
    step,
    () => {
      const [result, found] = action();
      value = result;
      return pass(found);
    },
    record,
  );
  return value;
}

/** A refusal is the step's verdict; anything else is a fault of ours. */
function attempt(step: ReceiptStepName, check: () => Verdict, record: Recorder): void {
  try {
    record(step, check());
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    const { path = '', value = '' } = error.facts;
    record(step, fail(error.code, [path, value].filter(Boolean).join(': ')), error.facts);
  }
}

function withUnreached(steps: readonly ReceiptStep[]): readonly ReceiptStep[] {
  return (Object.keys(RECEIPT_STEPS) as ReceiptStepName[]).map(
    (name) =>
      steps.find((step) => step.name === name) ??
      ({ name, title: RECEIPT_STEPS[name], status: 'not-reached', found: '' } as const),
  );
}

function describe(
  { file, leaf, userData, document }: Evidence,
  { checkpoint, cosignatures }: OpenedCheckpoint,
  { pcrSet }: AttestationReport & { ok: true },
): VerifiedReceiptFile {
  const { origin, size, root } = checkpoint;
  return {
    index: file.index,
    leaf,
    leafHash: leafHash(file.receipt.leaf),
    boot: userData.bootKey,
    userData,
    pcrSet,
    moduleId: document.moduleId,
    attestedAt: timeMs(document.timestampMs),
    checkpoint: { origin, size, root },
    witnesses: cosignatures.map(({ key, timeSeconds = 0n }) => ({ name: key.name, timeSeconds })),
  };
}

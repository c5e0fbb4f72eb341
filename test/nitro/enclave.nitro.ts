/**
 * The production image as a Nitro Enclave, beside a parent instance with the real host: kernel-to-kernel vsock, the
 * ioctl of /dev/nsm, PCRs measured by QEMU. What the parent's driver reports is judged here.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { decodeAttestationDocument } from '@quantumvault/shared/attestation/document.ts';
import { pcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import { assertAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { fromBase64, fromHex, toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { readUserData } from '@quantumvault/shared/evidence/verify.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { Transaction } from '@solana/web3.js';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { temporaryFolder } from '../support/temporary.ts';
import type { CpioEntry } from '../vm/cpio.ts';
import { prepareDeployment } from './deployment.ts';
import { buildInit } from './guest.ts';
import { applicationRamdisk, CMDLINE, writeEnclaveImage } from './image.ts';
import {
  HEARTBEAT,
  INSTANCE_ID,
  INSTANCE_ROLE,
  MODULE_ID,
  type ReportName,
  type Reports,
  type Scenario,
} from './layout.ts';
import type { NitroMachine } from './machine.ts';
import { type RunResult, runGuests } from './run.ts';

const machine = inject('nitroMachine');
const QV = join(import.meta.dirname, '..', '..', 'host', 'src', 'cli', 'qv.ts');

/** Of a deployment whose key policy names `allowed` and not `changed`, which are otherwise the same image. */
interface Prepared {
  readonly folder: string;
  readonly init: string;
  readonly config: string;
  readonly state: readonly CpioEntry[];
  readonly allowed: MeasuredImage;
  readonly changed: MeasuredImage;
}

interface MeasuredImage {
  readonly eif: string;
  /** What `qv measure` prints of it. */
  readonly measurements: Readonly<Record<string, string>>;
}

let prepared: Prepared;
let remove = (): Promise<void> => Promise.resolve();

async function prepare(nitro: NitroMachine, folder: string): Promise<Prepared> {
  const init = buildInit(folder);
  const application = await applicationRamdisk(folder);
  const deployment = await prepareDeployment(folder);
  const { config } = deployment;
  const image = (name: string, cmdline: string): MeasuredImage => {
    const eif = join(folder, `${name}.eif`);
    writeEnclaveImage(eif, { machine: nitro, init, application, config, cmdline });
    return { eif, measurements: measure(eif) };
  };
  const allowed = image('allowed', CMDLINE);
  const changed = image('changed', `${CMDLINE} changed`);
  await deployment.allowImage(allowed.measurements['PCR0'] ?? '');
  const state = deployment.stateEntries('rootfs/state');
  await deployment.close();
  return { folder, init, config, state, allowed, changed };
}

/** What `qv measure` prints of an image. */
function measure(eif: string): Record<string, string> {
  const done = spawnSync(process.execPath, [QV, 'measure', eif, '--json'], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`qv measure failed: ${done.stdout}${done.stderr}`);
  return (JSON.parse(done.stdout) as { Measurements: Record<string, string> }).Measurements;
}

/** One run of that image. Its files stay until `remove`. */
async function runImage({ eif }: MeasuredImage, scenario: Scenario): Promise<RunResult> {
  if (machine === undefined) throw new Error('skipped tests do not run');
  const { folder, init, state } = prepared;
  const own = join(folder, scenario);
  mkdirSync(own);
  const run = await runGuests({ machine, folder: own, init, eif, state, scenario });
  if (run.reports.failed !== undefined) throw new Error(story(run));
  return run;
}

function reportOf<Name extends ReportName>(run: RunResult, name: Name): Reports[Name] {
  const facts = run.reports[name];
  if (facts !== undefined) return facts;
  throw new Error(`the parent did not report ${name}\n${story(run)}`);
}

/** All that is known, for a run that failed. */
function story({ reports, parentConsole, enclaveConsole, vsockLog }: RunResult): string {
  const { message = '', logs = '' } = reports.failed ?? {};
  return `${message}\n${logs}\n== parent\n${parentConsole}\n== enclave\n${enclaveConsole}\n== vsock\n${vsockLog.slice(-2000)}`;
}

/** PCR0, 1 and 2 in hex, as the document says them. */
function attestedPcrs({ document }: Reports['attestation']): (string | undefined)[] {
  const { pcrs } = decodeAttestationDocument(fromBase64(document, 'document'));
  return [0, 1, 2].map((index) => toHex(pcrs.get(index) ?? new Uint8Array()));
}

const measuredPcrs = ({ measurements }: MeasuredImage): (string | undefined)[] =>
  [0, 1, 2].map((index) => measurements[`PCR${index}`]);

beforeAll(async () => {
  if (machine === undefined) return;
  const folder = await temporaryFolder();
  remove = folder.remove;
  prepared = await prepare(machine, folder.path);
});
afterAll(() => remove());

describe.skipIf(machine === undefined)('a Nitro Enclave', () => {
  let run: RunResult;
  const reported = <Name extends ReportName>(name: Name): Reports[Name] => reportOf(run, name);
  beforeAll(async () => {
    run = await runImage(prepared.allowed, 'allowed');
  });

  test('says that it is there before the application starts', () => {
    expect(reported('heartbeat')).toEqual({ byte: HEARTBEAT });
    expect(run.enclaveConsole).toContain('init: heartbeat');
  });

  test('runs the vault alone as root and with the security module, and both processes hardened', () => {
    reported('signed');
    // init prints changes, so the last line of each is how it stayed.
    const lines = run.enclaveConsole.split(/\r?\n/);
    const last = (start: string) => lines.findLast((line) => line.startsWith(`init: ${start} `));
    const hardened = 'no-new-privileges 1 files-of 0';
    expect(last('/enclave/enclave.cjs')).toBe(`init: /enclave/enclave.cjs user 0 ${hardened}`);
    expect(last('/enclave/kms-agent.cjs')).toBe(`init: /enclave/kms-agent.cjs user 10001 ${hardened}`);
    expect(last('/dev/nsm')).toBe('init: /dev/nsm mode 600');
  });

  test('attests the PCRs that qv measure computes of its image file, and those of its instance and role', () => {
    const { pcrs, moduleId } = decodeAttestationDocument(fromBase64(reported('attestation').document, 'document'));
    const attested = attestedPcrs(reported('attestation'));
    expect(attested).toEqual(measuredPcrs(prepared.allowed));
    expect(new Set(attested).size).toBe(3);
    expect(toHex(pcrs.get(3) ?? new Uint8Array())).toBe(extended(INSTANCE_ROLE));
    expect(toHex(pcrs.get(4) ?? new Uint8Array())).toBe(extended(INSTANCE_ID));
    expect(moduleId).toBe(MODULE_ID);
  });

  test('binds nonce, boot key and configuration into its document', () => {
    const { document, nonce, boot } = reported('attestation');
    const { nonce: answered, userData } = decodeAttestationDocument(fromBase64(document, 'document'));
    expect(toHex(answered ?? new Uint8Array())).toBe(nonce);
    const bound = readUserData(userData);
    expect(bound.bootKey).toBe(boot);
    expect(toHex(bound.configHash)).toBe(toHex(sha256(Buffer.from(prepared.config))));
  });

  test('is not believed by the verifier, because nobody signed its document', async () => {
    const { document, nonce } = reported('attestation');
    const pcrs = new Map(measuredPcrs(prepared.allowed).map((value, index) => [index, fromHex(value ?? '')]));
    const verdict = assertAttestation(fromBase64(document, 'document'), {
      mode: { kind: 'live', nowMs: Date.now(), nonce: fromHex(nonce), maxAgeSeconds: 3600 },
      pcrSets: [pcrSet('this image', pcrs)],
    });
    expect(await verdict.then(() => 'believed', codeOf)).toBe('attestation_certificate_malformed');
  });

  test('creates a wallet and signs a transaction inside its policy, which another library verifies', () => {
    const wallet = fromBase58(reported('wallet').address, 32, 'wallet');
    const { status, reply, transaction } = reported('signed');
    expect({ status, reply }).toMatchObject({ status: 200 });
    const message = Transaction.from(fromBase64(transaction, 'transaction')).serializeMessage();
    const signature = fromBase58(String(reply['signature']), 64, 'signature');
    expect(nacl.sign.detached.verify(message, signature, wallet)).toBe(true);
    const { leaf } = reply['receipt'] as { leaf: string };
    expect(decodeLeaf(fromBase64(leaf, 'leaf'))).toMatchObject({
      kind: 'signed',
      boot: reported('attestation').boot,
    });
  });

  test('denies what its policy denies', () => {
    const { status, reply } = reported('denied');
    expect(status).toBe(403);
    expect(reply).toMatchObject({ code: 'policy_denied' });
    expect(reply).not.toHaveProperty('signature');
  });

  test('hangs up on whoever has another CID than the parent, without a word', () => {
    expect(run.strangers).toHaveLength(2);
    for (const { answer, ended } of run.strangers) {
      expect(answer).toMatch(/^OK [0-9]+\n$/);
      expect(ended).toBe(true);
    }
  });

  test('freezes by qv kill, and signs nothing after that', () => {
    const { exitCode, output } = reported('kill');
    expect(exitCode).toBe(0);
    expect(JSON.parse(output)).toMatchObject({ allHold: true });
    const { status, reply } = reported('frozen');
    expect(status).toBe(423);
    expect(reply).not.toHaveProperty('signature');
  });

  test('KMS answered attested calls of this enclave alone', () => {
    const calls = reported('kmsCalls');
    expect(new Set(calls.map(({ operation }) => operation))).toEqual(new Set(['GenerateDataKey', 'Decrypt']));
    expect(new Set(calls.map(({ moduleId }) => moduleId))).toEqual(new Set([MODULE_ID]));
    expect(new Set(calls.map(({ outcome }) => outcome))).toEqual(new Set(['ok']));
  });

  test('the host ends in order, the parent powers off, and the enclave lives until it is terminated', () => {
    expect(reported('hostEnded')).toEqual({ exit: 0 });
    expect(run.parentConsole).toContain('init: the application ended with status 0');
    expect(run.parentExit).toBe(0);
    expect(run.enclaveOutlived, run.enclaveConsole).toBe(true);
  });
});

describe.skipIf(machine === undefined)('another image of the same application', () => {
  let run: RunResult;
  beforeAll(async () => {
    run = await runImage(prepared.changed, 'refused');
  });

  test('boots and attests itself as what it is', () => {
    expect(attestedPcrs(reportOf(run, 'attestation'))).toEqual(measuredPcrs(prepared.changed));
    const [allowed, changed] = [measuredPcrs(prepared.allowed), measuredPcrs(prepared.changed)];
    // One more word on the kernel's command line: PCR0 and PCR1 cover it, PCR2 does not.
    expect(allowed.map((value, index) => value === changed[index])).toEqual([false, false, true]);
  });

  test('gets nothing from KMS, so the deployment has no row key', () => {
    expect(reportOf(run, 'refused')).toEqual({ code: 'kms_refused' });
    const calls = reportOf(run, 'kmsCalls');
    expect(calls.length).toBeGreaterThan(0);
    expect(new Set(calls.map(({ moduleId }) => moduleId))).toEqual(new Set([MODULE_ID]));
    expect(new Set(calls.map(({ outcome }) => outcome))).toEqual(new Set(['AccessDeniedException']));
  });
});

/** A register that was extended once, with this text. */
function extended(text: string): string {
  return createHash('sha384').update(new Uint8Array(48)).update(text).digest('hex');
}

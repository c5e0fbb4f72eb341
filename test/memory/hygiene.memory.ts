/**
 * A thousand signatures for twenty wallets, by keys that are unwrapped for each request and by keys that are kept for
 * a while; in between the memory of enclave, kms-agent and host is searched for every secret that there has been.
 * Nothing may be found but, in guarded pages of the enclave and once each, the keys of the boot and execution keys inside
 * their declared time to live; and the recipient key that is in use.
 *
 * QV_MEMORY_RUNS: how often, with other secrets each time. QV_MEMORY_REQUESTS: signatures in each run.
 * QV_MEMORY_REPORT: a file for the numbers as JSON.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import type { Fault } from '../stack/kms/faults.ts';
import { expectCode, expectProblem } from '../support/codes.ts';
import type { HttpWallet } from '../support/http-kit.ts';
import { requireProgram } from '../support/requires.ts';
import { Appliance, type FullRow, type ProcessName } from './appliance.ts';
import { Examination, type Look } from './examination.ts';
import type { Occurrence } from './ledger.ts';
import { type Measured, report } from './report.ts';
import type { SecretKind } from './secrets.ts';

const RUNS = Number(process.env['QV_MEMORY_RUNS'] ?? 1);
const REQUESTS = Number(process.env['QV_MEMORY_REQUESTS'] ?? 1000);
const WALLETS = 20;
/** Of them, wallets whose keys existed outside before. */
const IMPORTED = 5;
/** Fewer than wallets, so that keys also have to make room. */
const KEPT = { timeToLiveSeconds: 4, count: 16 };
/** A timer that comes late is no leak yet. */
const SLACK_MILLISECONDS = 2_000;
/** On a machine that is busy with other things a key may have ended before anybody looks. */
const ATTEMPTS = 5;
const ALL: readonly ProcessName[] = ['enclave', 'kms-agent', 'host'];

const OF_THE_BOOT: readonly SecretKind[] = ['boot key', 'import key'];
const PER_REQUEST = 'for each request';
const MODES = [
  { mode: PER_REQUEST, unwrappedKeys: undefined },
  { mode: `kept for ${KEPT.timeToLiveSeconds} s`, unwrappedKeys: KEPT },
];
const RUN_TABLE = MODES.flatMap((mode) => Array.from({ length: RUNS }, (_, run) => ({ ...mode, run: run + 1 })));

const compiler = requireProgram('cc', 'gcc libc6-dev');
const measured: Measured[] = [];
const folder = mkdtempSync(join(tmpdir(), 'qv-memory-'));

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  if (compiler === undefined) return;
  const summary = { runs: RUNS, requests: REQUESTS, wallets: WALLETS };
  console.log(`\n${report(measured, summary, process.env['QV_MEMORY_REPORT'])}\n`);
});

/** In guarded memory, whole, as it is. */
const isAtHome = ({ isGuarded, forms, parts }: Occurrence): boolean =>
  isGuarded && forms.join() === 'raw' && parts.includes('whole');

describe.skipIf(compiler === undefined).each(RUN_TABLE)('keys unwrapped $mode, run $run', ({ mode, unwrappedKeys }) => {
  let appliance: Appliance;
  let examination: Examination;
  let isFrozen = false;

  beforeAll(async () => {
    const addon = join(folder, 'qv-native.node');
    buildNative({ outFile: addon });
    appliance = await Appliance.start({ addon, ...(unwrappedKeys && { unwrappedKeys }) });
    examination = new Examination(appliance, isAllowed);
  });
  afterAll(async () => {
    if (examination !== undefined) measured.push(...examination.lines.map((line) => ({ ...line, mode })));
    await appliance?.stop();
  });

  function isAllowed(occurrence: Occurrence, process: ProcessName, at: number): boolean {
    const { kind, of } = occurrence.secret;
    if (process !== 'enclave' || !isAtHome(occurrence)) return false;
    return OF_THE_BOOT.includes(kind) || (kind === 'execution key' && mayBeKept(of, at));
  }

  function mayBeKept(wallet: string, at: number): boolean {
    if (unwrappedKeys === undefined || isFrozen) return false;
    const asked = appliance.lastSealed(wallet);
    return asked !== undefined && at - asked <= unwrappedKeys.timeToLiveSeconds * 1000 + SLACK_MILLISECONDS;
  }

  const keptIn = ({ allowed }: Look): string[] =>
    allowed.filter(({ secret }) => secret.kind === 'execution key').map(({ secret }) => secret.of);

  /** Finds nothing, and what must be found: the keys of the boot, where the enclave is looked into. */
  async function clean(...processes: readonly ProcessName[]): Promise<Look> {
    const looks: Look[] = [];
    for (const process of processes.length === 0 ? (['enclave'] as const) : processes) {
      const look = await examination.look(process);
      expect.soft(look.leaks).toEqual([]);
      if (process === 'enclave') {
        const ofTheBoot = look.allowed.filter(({ secret }) => OF_THE_BOOT.includes(secret.kind));
        expect(ofTheBoot.map(({ secret }) => secret.kind).sort()).toEqual(OF_THE_BOOT);
        expect(keptIn(look).length).toBeLessThanOrEqual(unwrappedKeys?.count ?? 0);
      }
      looks.push(look);
    }
    return looks[0] as Look;
  }

  let turn = 0;
  /** Each time another one: its key is not kept, unless it has just been used. */
  const nextWallet = (): HttpWallet => appliance.wallets[turn++ % WALLETS] as HttpWallet;

  /** Signs for these wallets and finds their keys kept, where keys are kept. */
  async function signAndKeep(wallets: readonly HttpWallet[]): Promise<void> {
    const wanted = unwrappedKeys === undefined ? [] : wallets.map(({ address }) => address);
    for (let attempt = 1; ; attempt++) {
      await appliance.signMany(wallets.length, wallets);
      const kept = keptIn(await clean());
      if (unwrappedKeys === undefined) expect(kept).toEqual([]);
      if (wanted.every((address) => kept.includes(address))) return;
      if (attempt === ATTEMPTS) expect(kept).toEqual(wanted);
    }
  }

  async function untilForgotten(): Promise<void> {
    if (unwrappedKeys === undefined) return;
    await sleep(unwrappedKeys.timeToLiveSeconds * 1000 + SLACK_MILLISECONDS);
    expect(keptIn(await clean())).toEqual([]);
  }

  it('finds what is there: the keys of the boot, the recipient key, and credentials where they are', async () => {
    expect((await clean()).currentPrimes).toBeGreaterThan(0);
    const { secretAccessKey } = appliance.credentials();
    for (const process of ['kms-agent', 'host'] as const) {
      expect((await clean(process)).bytesRead).toBeGreaterThan(10_000_000);
      expect(await appliance.holds(process, Buffer.from(secretAccessKey))).toBe(true);
    }
  });

  it('nothing after wallets were made', async () => {
    for (let index = 0; index < WALLETS - IMPORTED; index++) await appliance.createWallet();
    await clean();
  });

  it('nothing after keys were imported, nor after one that was not for its statement', async () => {
    for (let index = 0; index < IMPORTED; index++) await appliance.importWallet();
    const { seed, address } = await appliance.importForAnotherStatement();
    examination.ledger.add({ kind: 'seed', of: `${address}, refused`, bytes: seed });
    await clean(...ALL);
    expect(examination.ledger.secretsOf('key of an import’s box')).toHaveLength(IMPORTED + 1);
  });

  it('nothing after policies were enabled', async () => {
    for (const wallet of appliance.wallets) await appliance.enable(wallet);
    expect(examination.ledger.secretsOf('execution key')).toHaveLength(WALLETS);
    await clean();
  });

  it(`nothing after and between ${REQUESTS} signatures`, async () => {
    const [few, all] = [appliance.wallets.slice(0, KEPT.count), appliance.wallets];
    for (const wallets of [few, all, all, all]) {
      await appliance.signMany(REQUESTS / 4, wallets);
      await clean();
    }
    await clean('kms-agent', 'host');
    expect(appliance.signed).toHaveLength(REQUESTS);
    expect(examination.ledger.secretsOf('seed')).toHaveLength(WALLETS + 1);
    for (const kind of ['clamped scalar', 'signing prefix', 'SHA-512 of the seed', 'secret key'] as const) {
      expect(examination.ledger.secretsOf(kind)).toHaveLength(WALLETS);
    }
    expect(examination.ledger.secretsOf('HKDF output')).toHaveLength(4 * WALLETS);
    expect(examination.ledger.secretsOf('signature nonce')).toHaveLength(2 * REQUESTS);
    if (mode === PER_REQUEST) {
      expect(examination.ledger.secretsOf('content-encryption key').length).toBeGreaterThanOrEqual(REQUESTS);
    }
  });

  it('nothing after a denial', async () => {
    await expectProblem(await appliance.ask(nextWallet(), 1_000_001n), 'policy_denied');
    await clean();
  });

  it('nothing after exceptions in the middle of signing', async () => {
    const [one, other] = [nextWallet(), nextWallet()];
    const theirs = appliance.rowOf(other.address);
    const own = appliance.rowOf(one.address);
    const wrongMac = (own.policyMac ?? new Uint8Array()).map((byte) => byte ^ 1);
    const cases: [Partial<FullRow>, ErrorCode][] = [
      [{ policyMac: wrongMac }, 'policy_mac_invalid'],
      [{ sealedState: theirs.sealedState }, 'state_invalid'],
      // Before a key is asked for.
      [{ sealedSeed: theirs.sealedSeed }, 'wallet_keys_replaced'],
      [{ salt: theirs.salt }, 'wallet_keys_replaced'],
      [{ executionKey: theirs.executionKey }, 'wallet_keys_replaced'],
    ];
    for (const [change, code] of cases) await expectCode(appliance.signDirectly(one, change), code);
    await clean();
  });

  it('nothing after failures of KMS', async () => {
    await untilForgotten();
    const failures: [Fault, ErrorCode][] = [
      [{ kind: 'refuse', error: 'AccessDeniedException' }, 'kms_refused'],
      [{ kind: 'garbage' }, 'kms_unavailable'],
      [{ kind: 'drop', when: 'after' }, 'kms_unavailable'],
      [{ kind: 'noEnvelope' }, 'kms_response_invalid'],
      [{ kind: 'otherSecret' }, 'wallet_keys_mismatch'],
    ];
    for (const [fault, code] of failures) {
      await appliance.kms.setFaults({ operations: ['Decrypt'], fault });
      await expectCode(appliance.signDirectly(nextWallet()), code);
    }
    await appliance.kms.clearFaults();
    expect(examination.ledger.secretsOf('execution key')).toHaveLength(WALLETS);
    await clean();
    expect(examination.ledger.secretsOf('execution key')).toHaveLength(WALLETS + 1);
    await appliance.sign(nextWallet());
    await clean();
  });

  it('nothing after envelopes that do not open, and nothing of the recipient keys they were for', async () => {
    for (const options of [{ flippedCiphertext: true }, { flippedWrappedKey: true }, { wrongRecipient: true }]) {
      const { seen } = examination.recipients;
      await appliance.kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'envelope', options } });
      await expectCode(appliance.signDirectly(nextWallet()), 'kms_response_invalid');
      await appliance.kms.clearFaults();
      await seeNextRecipientKey();
      expect(examination.recipients.seen).toBeGreaterThan(seen);
    }
    expect(examination.ledger.secretsOf('recipient key').length).toBeGreaterThanOrEqual(18);
    await clean(...ALL);
  });

  /** Has a request ask for it, and looks for it, unless a timer has replaced it in between. */
  async function seeNextRecipientKey(): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      await appliance.sign(nextWallet());
      if ((await clean()).currentPrimes > 0) return;
    }
    throw new Error('the recipient key in use was not found');
  }

  it('nothing of a kept key after its time to live', async () => {
    await signAndKeep(appliance.wallets.slice(0, KEPT.count));
    await untilForgotten();
  });

  it('nothing of a kept key after a freeze', async () => {
    const [one, other] = [nextWallet(), nextWallet()];
    const freeze = (scope: string) => adminCall(appliance.stack.adminSocket, 'freeze', { scope, reason: 'a test' });
    await signAndKeep([one, other]);
    await freeze(`wallet:${one.address}`);
    expect(keptIn(await clean())).not.toContain(one.address);
    await signAndKeep([other]);
    await freeze('fleet');
    isFrozen = true;
    expect(keptIn(await clean(...ALL))).toEqual([]);
  });
});

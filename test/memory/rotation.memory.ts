/**
 * Wallets that are put under fresh keys while they sign, by keys that are unwrapped for each request and by keys that
 * are kept: neither the old keys nor the new ones are left anywhere, nor the seed on its way from one to the other,
 * whatever fails in between.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import type { Fault } from '../stack/kms/faults.ts';
import { expectCode } from '../support/codes.ts';
import { requireProgram } from '../support/requires.ts';
import { Appliance, type ProcessName } from './appliance.ts';
import { Examination } from './examination.ts';
import type { Occurrence } from './ledger.ts';

const compiler = requireProgram('cc', 'gcc libc6-dev');
const ALL: readonly ProcessName[] = ['enclave', 'kms-agent', 'host'];
const WALLETS = 8;
const SIGNATURES = 200;
const KEPT = { timeToLiveSeconds: 300, count: 4 };

describe.skipIf(compiler === undefined).each([
  { mode: 'for each request', unwrappedKeys: undefined },
  { mode: 'and kept', unwrappedKeys: KEPT },
])('rotation, with keys unwrapped $mode', ({ unwrappedKeys }) => {
  const folder = mkdtempSync(join(tmpdir(), 'qv-memory-'));
  let appliance: Appliance;
  let examination: Examination;

  beforeAll(async () => {
    const addon = join(folder, 'qv-native.node');
    buildNative({ outFile: addon });
    appliance = await Appliance.start({ addon, ...(unwrappedKeys && { unwrappedKeys }) });
    examination = new Examination(appliance, isAllowed);
    for (let index = 0; index < WALLETS; index++) await appliance.enable(await appliance.createWallet());
  });
  afterAll(async () => {
    await appliance?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  function isAllowed({ secret, isGuarded, forms, parts }: Occurrence, process: ProcessName): boolean {
    if (process !== 'enclave' || !isGuarded || forms.join() !== 'raw' || !parts.includes('whole')) return false;
    if (['boot key', 'import key'].includes(secret.kind)) return true;
    return unwrappedKeys !== undefined && secret.kind === 'execution key' && isNewest(secret.of, secret.bytes);
  }

  /** The last one that was learnt of its wallet. */
  function isNewest(wallet: string, bytes: Uint8Array): boolean {
    return examination.ledger.secretsOf('execution key').findLast(({ of }) => of === wallet)?.bytes === bytes;
  }

  async function clean(...processes: readonly ProcessName[]): Promise<void> {
    for (const process of processes.length === 0 ? ALL : processes) {
      const look = await examination.look(process);
      expect.soft(look.leaks).toEqual([]);
    }
  }

  const keysSought = (): number => examination.ledger.secretsOf('execution key').length;

  it('nothing before', () => clean());

  it('nothing after each wallet was rotated, with the old keys and the new ones', async () => {
    await appliance.signMany(WALLETS, appliance.wallets);
    const before = keysSought();
    for (const wallet of appliance.wallets) await appliance.rotate(wallet);
    await clean();
    expect(keysSought()).toBe(before + WALLETS);
    await appliance.signMany(WALLETS, appliance.wallets);
    await clean('enclave');
  });

  it('nothing after rotations under load', async () => {
    const rotating = async (): Promise<void> => {
      for (const wallet of appliance.wallets) await appliance.rotate(wallet);
    };
    await Promise.all([appliance.signMany(SIGNATURES, appliance.wallets), rotating()]);
    await clean();
    expect(keysSought()).toBe(3 * WALLETS);
  });

  it('nothing after rotations that failed half-way, at each step', async () => {
    const failures: [string, Fault, ErrorCode][] = [
      ['GenerateDataKey', { kind: 'refuse', error: 'AccessDeniedException' }, 'kms_refused'],
      ['GenerateDataKey', { kind: 'noEnvelope' }, 'kms_response_invalid'],
      ['GenerateDataKey', { kind: 'envelope', options: { flippedCiphertext: true } }, 'kms_response_invalid'],
      ['Decrypt', { kind: 'refuse', error: 'AccessDeniedException' }, 'kms_refused'],
    ];
    for (const [index, [operation, fault, code]] of failures.entries()) {
      const wallet = appliance.wallets[index];
      if (wallet === undefined) throw new Error('no such wallet');
      // With its key kept the faults of Decrypt meet the new key.
      await appliance.sign(wallet);
      await appliance.kms.setFaults({ operations: [operation], fault });
      await expectCode(appliance.rotate(wallet), code);
      await appliance.kms.clearFaults();
      await clean('enclave');
    }
    await appliance.signMany(WALLETS, appliance.wallets);
    await clean();
  });
});

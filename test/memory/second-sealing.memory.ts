/**
 * Execution keys that are sealed for a second KMS key: wallets are made, sign by the one key and by the other, and fail
 * at each step; in between the memory of enclave, kms-agent and host is searched for everything, the second keys too,
 * which live for one synchronous call.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { KmsAdmin } from '../stack/kms/admin.ts';
import type { Fault } from '../stack/kms/faults.ts';
import { REGION, SECOND_REGION } from '../stack/kms-keys.ts';
import { expectProblem } from '../support/codes.ts';
import { requireProgram } from '../support/requires.ts';
import { creation, party } from '../support/wallet-kit.ts';
import { Appliance, type ProcessName } from './appliance.ts';
import { Examination } from './examination.ts';
import type { Occurrence } from './ledger.ts';

const compiler = requireProgram('cc', 'gcc libc6-dev');
const ALL: readonly ProcessName[] = ['enclave', 'kms-agent', 'host'];
const WALLETS = 8;
const SIGNATURES = 200;

describe.skipIf(compiler === undefined)('execution keys sealed for two KMS keys', () => {
  const folder = mkdtempSync(join(tmpdir(), 'qv-memory-'));
  let appliance: Appliance;
  let examination: Examination;
  let first: KmsAdmin;
  let second: KmsAdmin;

  beforeAll(async () => {
    const addon = join(folder, 'qv-native.node');
    buildNative({ outFile: addon });
    appliance = await Appliance.start({ addon, kms: { second: true } });
    first = new KmsAdmin(appliance.stack.kmsAdmin, REGION);
    second = new KmsAdmin(appliance.stack.kmsAdmin, SECOND_REGION);
    examination = new Examination(appliance, isAllowed);
    for (let index = 0; index < WALLETS; index++) await appliance.enable(await appliance.createWallet());
  });
  afterAll(async () => {
    first?.close();
    second?.close();
    await appliance?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The keys of the boot, in guarded pages, whole and once. */
  function isAllowed({ secret, isGuarded, forms, parts }: Occurrence, process: ProcessName): boolean {
    if (process !== 'enclave' || !isGuarded || forms.join() !== 'raw' || !parts.includes('whole')) return false;
    return ['boot key', 'import key'].includes(secret.kind);
  }

  async function clean(): Promise<void> {
    for (const process of ALL) {
      const look = await examination.look(process);
      expect.soft(look.leaks).toEqual([]);
      if (process === 'enclave') expect(look.allowed).toHaveLength(2);
    }
    // What was looked for is what there is: checked against the rows when it was learnt.
    expect(examination.ledger.secretsOf('second key')).toHaveLength(appliance.wallets.length);
    expect(examination.ledger.secretsOf('execution key').length).toBeGreaterThanOrEqual(appliance.wallets.length);
  }

  it('nothing is left of making them', clean);

  it('nothing is left of signing by the first key', async () => {
    await appliance.signMany(SIGNATURES, appliance.wallets);
    await clean();
  });

  it('nothing is left of signing by the second key', async () => {
    await first.setReachable(false);
    await appliance.signMany(SIGNATURES, appliance.wallets);
    await first.setReachable(true);
    await clean();
  });

  it.each<[string, Fault, ErrorCode]>([
    ['another key than was sealed under', { kind: 'otherSecret' }, 'kms_unavailable'],
    [
      'an envelope that does not open',
      { kind: 'envelope', options: { flippedWrappedKey: true } },
      'kms_response_invalid',
    ],
    ['no envelope', { kind: 'noEnvelope' }, 'kms_response_invalid'],
  ])('nothing is left when the second key gives %s', async (_, fault, code) => {
    const [wallet] = appliance.wallets;
    if (wallet === undefined) throw new Error('no wallet');
    await first.setReachable(false);
    await second.setFaults({ operations: ['Decrypt'], fault });
    await expectProblem(await appliance.kit.sign(wallet), code);
    await second.clearFaults();
    await first.setReachable(true);
    await clean();
  });

  it('nothing is left of wallets that were not made', async () => {
    const { deployment } = appliance.stack;
    const refused = async (code: ErrorCode): Promise<void> => {
      await expectProblem(await appliance.kit.create(creation(deployment, party(), [party()])), code);
    };
    for (const admin of [first, second]) {
      await admin.setFaults({
        operations: ['GenerateDataKey'],
        fault: { kind: 'refuse', error: 'AccessDeniedException' },
      });
      await refused('kms_refused');
      await admin.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'noEnvelope' } });
      await refused('kms_response_invalid');
      await admin.clearFaults();
    }
    await clean();
  });
});

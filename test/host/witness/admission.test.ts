/** Which logs a witness follows. */
import { initDirectory } from '@quantumvault/host/witness/directory.ts';
import { bootIdOf, hash } from '@quantumvault/shared/brands.ts';
import { toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf, encodeLeaf, type Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import nacl from 'tweetnacl';
import { afterEach, describe, expect, it } from 'vitest';
import { testNsm } from '../../stack/support.ts';
import { expectProblem } from '../../support/codes.ts';
import {
  type BootOptions,
  CONFIG_HASH,
  TestLog,
  type TestWitness,
  type TestWitnessOptions,
  testWitness,
} from './kit.ts';

const OTHER_HASH = hash(new Uint8Array(32).fill(8));
const started: TestWitness[] = [];
afterEach(async () => {
  for (const witness of started.splice(0)) await witness.remove();
});

async function start(options: TestWitnessOptions = {}): Promise<TestWitness> {
  const witness = await testWitness(options);
  started.push(witness);
  return witness;
}

const tryBoot = async (options: BootOptions, witness?: TestWitness) => {
  const log = await TestLog.boot(options);
  const asked = witness ?? (await start());
  const response = await asked.addLog(log.bootRecord);
  // Whatever was refused is followed by nothing.
  if (!response.ok) expect((await asked.addCheckpoint(log.request(0))).status).toBe(404);
  return response;
};

describe('leaf 0 of an allowed image', () => {
  it('admits its log, as often as it is shown', async () => {
    const witness = await start({ admission: { configHash: CONFIG_HASH } });
    const log = (await TestLog.boot()).grow(4);
    for (const _ of [1, 2]) {
      const response = await witness.addLog(log.bootRecord);
      expect([response.status, await response.json()]).toEqual([200, { origin: log.origin }]);
    }
    expect((await witness.addCheckpoint(log.request(0))).status).toBe(200);
    // Being admitted again forgets nothing.
    await witness.addLog(log.bootRecord);
    expect((await witness.addCheckpoint(log.request(0, 2))).status).toBe(409);
  });

  it('admits it late: certificates of the document have long expired', async () => {
    const then = Date.now() - 400 * 24 * 3600 * 1000;
    const nsm = await testNsm({ now: () => then });
    const witness = await start({ admission: { unsafeTrustedRootDer: nsm.rootCertificateDer } });
    expect((await tryBoot({ nsm }, witness)).status).toBe(200);
  });

  it('does not admit what the future will bring', async () => {
    const margin = LIMITS.attestationMaxFutureSeconds * 1000;
    const slow = await start({ now: () => Date.now() - margin - 5_000 });
    await expectProblem(await tryBoot({}, slow), 'attestation_in_future');
    const almost = await start({ now: () => Date.now() - margin + 5_000 });
    expect((await tryBoot({}, almost)).status).toBe(200);
  });
});

describe('anything else', () => {
  it('another image, a debug enclave, another root', async () => {
    const pcrSets = [{ name: 'other', pcrs: new Map([[0, new Uint8Array(48).fill(1)]]) }];
    await expectProblem(await tryBoot({}, await start({ admission: { pcrSets } })), 'attestation_pcrs_not_allowed');
    const debug = await testNsm({ debug: true });
    const trusting = await start({ admission: { unsafeTrustedRootDer: debug.rootCertificateDer } });
    await expectProblem(await tryBoot({ nsm: debug }, trusting), 'attestation_debug_enclave');
    await expectProblem(await tryBoot({ nsm: await testNsm() }), 'attestation_root_untrusted');
  });

  it('another configuration or log origin', async () => {
    const configured = await start({ admission: { configHash: OTHER_HASH } });
    const config = await expectProblem(await tryBoot({}, configured), 'attestation_user_data_mismatch');
    expect(config.path).toBe('userData.configHash');
    for (const logOrigin of ['example.com/other', 'example.com', 'example.com/qv/', `example.com/qv/x`]) {
      const problem = await expectProblem(await tryBoot({ userData: { logOrigin } }), 'attestation_user_data_mismatch');
      expect(problem.path).toBe('userData.logOrigin');
    }
  });

  it('a document of another boot', async () => {
    const bootKey = bootIdOf(nacl.sign.keyPair().publicKey);
    const problem = await expectProblem(await tryBoot({ userData: { bootKey } }), 'attestation_user_data_mismatch');
    expect(problem.path).toBe('userData.bootKey');
    // Somebody's own key, with the genuine document of somebody else.
    const genuine = await TestLog.boot();
    const { attestation } = decodeLeaf(genuine.bootRecord.leaf);
    if (attestation === undefined) throw new Error('no document');
    await expectProblem(await tryBoot({ leaf: { attestation } }), 'attestation_user_data_mismatch');
  });

  it('a leaf that says another configuration than the document', async () => {
    const problem = await expectProblem(await tryBoot({ leaf: { configHash: OTHER_HASH } }), 'witness_log_refused');
    expect(problem.path).toBe('leaf.configHash');
  });

  it('a leaf that is not the first, or not of a boot', async () => {
    const { attestation: _, ...bare } = decodeLeaf((await TestLog.boot()).bootRecord.leaf);
    for (const [leaf, path] of [
      [{ kind: 'follows' }, 'leaf.kind'],
      [{ sequence: 1n }, 'leaf.sequence'],
      [{ previous: OTHER_HASH }, 'leaf.sequence'],
    ] as const) {
      expect((await expectProblem(await tryBoot({ leaf }), 'witness_log_refused')).path).toBe(path);
    }
    const record = { leaf: encodeLeaf(bare), signature: new Uint8Array(64) as Receipt['signature'] };
    const problem = await expectProblem(await (await start()).addLog(record), 'witness_log_refused');
    expect(problem.path).toBe('leaf.attestation');
  });

  it('a leaf that the boot did not sign', async () => {
    const { bootRecord } = await TestLog.boot();
    const signature = Uint8Array.from(bootRecord.signature) as Receipt['signature'];
    signature[0] = (signature[0] ?? 0) ^ 1;
    const witness = await start();
    await expectProblem(await witness.addLog({ ...bootRecord, signature }), 'evidence_signature_invalid');
  });

  it('bytes that are none of it', async () => {
    const witness = await start();
    const { bootRecord } = await TestLog.boot();
    const signature = toBase64(bootRecord.signature);
    const leaf = toBase64(bootRecord.leaf);
    await expectProblem(await witness.addLog(''), 'json_malformed');
    await expectProblem(await witness.addLog(`{"leaf":"${leaf}"}`), 'field_malformed');
    await expectProblem(await witness.addLog(`{"leaf":"${leaf}","leaf":"${leaf}"}`), 'json_malformed');
    await expectProblem(await witness.addLog(JSON.stringify({ leaf, signature, more: 1 })), 'field_malformed');
    await expectProblem(await witness.addLog(JSON.stringify({ leaf, signature: 'AAAA' })), 'field_malformed');
    await expectProblem(await witness.addLog(JSON.stringify({ leaf: '?', signature })), 'base64_malformed');
    await expectProblem(
      await witness.addLog(JSON.stringify({ leaf: toBase64(utf8('x')), signature })),
      'cbor_malformed',
    );
    const long = toBase64(new Uint8Array(LIMITS.frameBytes + 1));
    await expectProblem(await witness.addLog(JSON.stringify({ leaf: long, signature })), 'field_malformed');
  });
});

describe('how many', () => {
  it('at once is bounded, and the bound is given back', async () => {
    const witness = await start();
    const log = await TestLog.boot();
    const many = await Promise.all(Array.from({ length: 40 }, () => witness.addLog(log.bootRecord)));
    const statuses = new Set(many.map(({ status }) => status));
    expect([...statuses].sort()).toEqual([200, 503]);
    const refused = many.find(({ status }) => status === 503);
    if (refused !== undefined) await expectProblem(refused, 'overloaded');
    expect((await witness.addLog(log.bootRecord)).status).toBe(200);
  });

  it('in all is bounded, and those known stay', async () => {
    const { WitnessStore } = await import('@quantumvault/host/witness/store.ts');
    const { DatabaseSync } = await import('node:sqlite');
    const witness = await start();
    const known = await TestLog.boot();
    await witness.addLog(known.bootRecord);
    const path = `${witness.dir}/witness.db`;
    const database = new DatabaseSync(path);
    database.exec(`
      INSERT INTO logs WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT ${LIMITS.witnessLogs - 1})
      SELECT 'log ' || n, zeroblob(32), 0, zeroblob(32), NULL, 0 FROM numbers`);
    database.close();
    await expectProblem(await tryBoot({}, witness), 'witness_logs_full');
    expect((await witness.addLog(known.bootRecord)).status).toBe(200);
    expect((await witness.addCheckpoint(known.request(0))).status).toBe(200);
    // An origin has one key for good; that this never happens is why it is tried by hand.
    const store = new WitnessStore(path);
    expect(() => store.admit(known.origin, new Uint8Array(32), 0)).toThrow('witness_log_refused');
    store.close();
  });
});

it('two witnesses have two keys', async () => {
  const [one, two] = [await start(), await start()];
  expect(one.key.publicKey).not.toEqual(two.key.publicKey);
  expect(() => initDirectory(one.dir, 'other.example')).toThrow('already_initialised');
});

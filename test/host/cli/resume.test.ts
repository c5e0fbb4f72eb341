/** qv resume and qv resume statement, with an enclave that takes every signature and a host in between. */
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import nacl from 'tweetnacl';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { noteCode } from '../../support/codes-seen.ts';
import { until } from '../../support/temporary.ts';
import { Harness, person } from '../harness.ts';
import { qv, qvJson } from './call.ts';

let harness: Harness;
const WALLET = person().address;
const admin = (): string[] => ['--admin', harness.path('admin.sock')];
const scope = ['--wallet', WALLET];
const held = () => harness.enclave.freezes.get(`wallet:${WALLET}`) ?? [];
const SIGNED = `${WALLET}:${toBase64(new Uint8Array(64))}`;

beforeEach(async () => {
  harness = await new Harness().start();
  await qv('kill', ...scope, '--reason', 'x', ...admin());
});
afterEach(() => harness.stop());

const freezeId = () => toHex(held()[0] ?? new Uint8Array());
const resume = (...more: string[]) => qvJson('resume', ...scope, '--freeze', freezeId(), ...admin(), ...more);

function keyFile(name: string, type: 'ed25519' | 'x25519' = 'ed25519'): string {
  const { privateKey } = type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('x25519');
  writeFileSync(harness.path(name), privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  return harness.path(name);
}

describe('qv resume statement', () => {
  test('prints the exact text, with what it is about', async () => {
    const answer = await qvJson('resume', 'statement', ...scope, ...admin());
    const statement = String(answer['statement']);
    expect(statement.split('\n')).toEqual([
      'qv/resume/v1',
      'I end this freeze: what it stopped may be signed again.',
      'Deployment: test',
      `Scope: wallet:${WALLET}`,
      `Freeze: ${freezeId()}`,
      `Enclave boot: ${harness.enclave.boot}`,
      '',
    ]);
    expect((await qv('resume', 'statement', ...scope, ...admin())).stdout).toBe(statement);
    expect(answer).toMatchObject({ bytes: utf8(statement).length, freezeId: freezeId(), others: [] });
  });

  test('of several freezes of a scope prints the last, or the one that is named', async () => {
    const carried = new Uint8Array(16).fill(5);
    held().push(carried);
    expect(await qvJson('resume', 'statement', ...scope, ...admin())).toMatchObject({ others: [toHex(carried)] });
    const named = await qvJson('resume', 'statement', ...scope, ...admin(), '--freeze', toHex(carried));
    expect(named).toMatchObject({ freezeId: toHex(carried), others: [freezeId()] });
  });

  test('of a freeze that does not hold prints none', async () => {
    for (const more of [['--all'], [...scope, '--freeze', '00'.repeat(16)]])
      expect(await qvJson('resume', 'statement', ...more, ...admin())).toMatchObject({
        exit: 1,
        error: { code: 'freeze_unknown' },
      });
    expect(await qvJson('resume', 'statement', ...scope, ...admin(), '--freeze', '00')).toMatchObject({ exit: 2 });
    await harness.enclave.close();
    await until('the host notices', async () => (await harness.admin('status', {})).enclave === null);
    const answer = await qvJson('resume', 'statement', ...scope, ...admin());
    expect(answer).toMatchObject({ exit: 4, error: { code: 'enclave_unavailable' } });
  });
});

describe('qv resume', () => {
  test('hands signatures over, and verifies what comes back', async () => {
    const answer = await resume('--signed', SIGNED);
    expect(answer).toMatchObject({ ok: true, exit: 0, allCleared: true, host: { cleared: true }, others: [] });
    expect((answer['checks'] as { result: string }[]).map(({ result }) => result)).toEqual(['holds', 'not checked']);
    expect(held()).toEqual([]);
    expect(harness.rows('freezes')).toEqual([]);
    expect(await resume('--signed', SIGNED)).toMatchObject({ exit: 2 });
  });

  test('reads the same to people', async () => {
    const { exit, stdout } = await qv('resume', ...scope, '--freeze', freezeId(), '--signed', SIGNED, ...admin());
    expect(exit).toBe(0);
    for (const part of ['Resumed.', WALLET, 'Host memory let go', 'Database let go']) expect(stdout).toContain(part);
  });

  test('signs with key files, over the statement', async () => {
    const statement = String((await qvJson('resume', 'statement', ...scope, ...admin()))['statement']);
    const files = [keyFile('1.pem'), keyFile('2.pem')];
    expect(await resume(...files.flatMap((file) => ['--operator-key', file]))).toMatchObject({ ok: true });
    const asked = harness.enclave.requests.find(({ name }) => name === 'resume')?.body as RequestOf<'resume'>;
    expect(new Set(asked.signatures.map(({ key }) => key)).size).toBe(2);
    for (const { key, signature } of asked.signatures)
      expect(nacl.sign.detached.verify(utf8(statement), signature, addressBytes(key))).toBe(true);
  });

  test('a key file that is not one, or that others may read, is refused', async () => {
    const open = keyFile('open.pem');
    chmodSync(open, 0o640);
    writeFileSync(harness.path('garbage.pem'), 'garbage', { mode: 0o600 });
    writeFileSync(harness.path('large.pem'), ' '.repeat(100_000), { mode: 0o600 });
    const paths = [open, keyFile('other.pem', 'x25519'), harness.path('garbage.pem'), harness.path('large.pem')];
    for (const path of [...paths, harness.path('missing.pem'), harness.path('')]) {
      const answer = await resume('--operator-key', path);
      expect(answer).toMatchObject({ exit: 2, error: { code: 'input_unreadable', path } });
    }
    expect(harness.enclave.count('resume')).toBe(0);
  });

  test.each<[string, string[]]>([
    ['no signature', []],
    ['a signature without key', ['--signed', 'AAAA']],
    ['one of another length', ['--signed', `${WALLET}:AAAA`]],
    ['a key that is none', ['--signed', `abc:${SIGNED.split(':')[1]}`]],
    ['more than any enclave has operators', Array.from({ length: 33 }, () => ['--signed', SIGNED]).flat()],
  ])('%s is refused before anything happens', async (_, more) => {
    expect(await resume(...more)).toMatchObject({ ok: false, exit: 2 });
    expect(harness.enclave.count('resume')).toBe(0);
  });

  test('a freeze that stays is no success', async () => {
    held().push(new Uint8Array(16).fill(5));
    const answer = await resume('--signed', SIGNED);
    expect(answer).toMatchObject({ ok: false, exit: 1, code: 'frozen', allCleared: false, host: { cleared: false } });
    noteCode(String(answer['code']));
    held().push(new Uint8Array(16).fill(6));
    const { exit, stdout } = await qv('resume', ...scope, '--freeze', freezeId(), '--signed', SIGNED, ...admin());
    expect(exit).toBe(1);
    for (const part of ['NOT resumed everywhere.', 'does not let go: frozen', 'still frozen'])
      expect(stdout).toContain(part);
  });

  test('a refusal by the enclave is told', async () => {
    harness.enclave.handlers.resume = () => {
      throw new Error('refuse');
    };
    expect(await resume('--signed', SIGNED)).toMatchObject({ exit: 5, error: { code: 'internal' } });
  });

  test('a word that is not the boot’s is not believed', async () => {
    const usual = harness.enclave.defaultHandler('resume');
    harness.enclave.handlers.resume = async (body) => {
      const { ack, receipt } = (await usual(body)) as ReplyOf<'resume'>;
      return { ack: { ...ack, signature: new Uint8Array(64) as typeof ack.signature }, receipt };
    };
    expect(await resume('--signed', SIGNED)).toMatchObject({ exit: 1, error: { code: 'evidence_signature_invalid' } });
    const { freezes } = await harness.admin('status', {});
    expect(freezes).toHaveLength(1);
  });
});

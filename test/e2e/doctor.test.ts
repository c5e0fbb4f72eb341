/** qv doctor as the binary, against the local stack: all well, live attestation, and what breaks when parts go. */
import { execFile } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Finding } from '@quantumvault/host/cli/doctor/finding.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { measurements } from '../stack/scenario.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { noteCode } from '../support/codes-seen.ts';

const QV = join(import.meta.dirname, '..', '..', 'host', 'src', 'cli', 'qv.ts');

interface Diagnosis {
  readonly exit: number;
  readonly worst: string;
  readonly checks: readonly Finding[];
}

let stack: Stack;
let pcrs: string;
let root: string;

beforeAll(async () => {
  stack = await startStack({ logLevel: 'warn' });
  pcrs = join(stack.dir, 'pcrs.json');
  root = join(stack.dir, 'nsm-root.pem');
  writeFileSync(pcrs, JSON.stringify(measurements(stack.pcrs)));
  writeFileSync(root, stack.nsmRootPem);
}, 120_000);
afterAll(() => stack?.stop());

const doctor = (...more: readonly string[]): Promise<Diagnosis> => doctorOf(stack.hostConfigFile, ...more);

/** The running host's configuration with something else in it. */
function changed(changes: Record<string, unknown>): string {
  const path = join(stack.dir, 'changed-host.json');
  const config = JSON.parse(readFileSync(stack.hostConfigFile, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...config, ...changes }), { mode: 0o600 });
  return path;
}

async function doctorOf(config: string, ...more: readonly string[]): Promise<Diagnosis> {
  const argv = [QV, 'doctor', '--config', config, '--url', stack.url, ...more, '--json'];
  const { code, stdout } = await new Promise<{ code: number; stdout: string }>((resolve) => {
    execFile(process.execPath, argv, (error, out) => resolve({ code: Number(error?.code ?? 0), stdout: out }));
  });
  const diagnosis = JSON.parse(stdout) as Diagnosis;
  expect(code).toBe(diagnosis.exit);
  expect(code).toBe({ ok: 0, warning: 6, failed: 1 }[diagnosis.worst]);
  for (const { code: error } of diagnosis.checks) if (error !== undefined) noteCode(error);
  return diagnosis;
}

const trust = (): string[] => ['--pcrs', pcrs, '--unsafe-trusted-root', root];
const of = ({ checks }: Diagnosis, check: string): Finding[] => checks.filter((finding) => finding.check === check);
const failing = ({ checks }: Diagnosis): string[] => [
  ...new Set(checks.filter(({ health }) => health === 'failed').map(({ check }) => check)),
];

describe('qv doctor', () => {
  test('finds nothing wrong with the local stack, and proves its enclave', async () => {
    const diagnosis = await doctor(...trust());
    expect(failing(diagnosis)).toEqual([]);
    // The disk's room and the kernel's clock are this machine's.
    const warned = diagnosis.checks.filter(({ health }) => health === 'warning').map(({ check }) => check);
    expect(warned.filter((check) => !['disk', 'clock'].includes(check))).toEqual([]);
    expect(of(diagnosis, 'attestation')).toMatchObject([
      { health: 'ok', found: expect.stringMatching(/live over HTTP, under the UNSAFE root/) },
    ]);
    expect(of(diagnosis, 'witnesses')).toMatchObject([
      { health: 'ok', found: '3 of 3 answer; the enclave requires 2' },
    ]);
    expect(of(diagnosis, 'kms').at(-1)).toMatchObject({
      health: 'ok',
      found: expect.stringContaining(stack.kmsKeyArn),
    });
    expect(of(diagnosis, 'clock')[0]).toMatchObject({ health: 'ok' });
  }, 60_000);

  test('another image, another root', async () => {
    const other = join(stack.dir, 'other-pcrs.json');
    writeFileSync(other, JSON.stringify({ ...measurements(stack.pcrs), PCR0: 'ab'.repeat(48) }));
    const image = await doctor('--pcrs', other, '--unsafe-trusted-root', root);
    expect(failing(image)).toEqual(['attestation']);
    expect(of(image, 'attestation')).toMatchObject([
      { code: 'attestation_pcrs_not_allowed', fix: expect.stringContaining('qv measure') },
    ]);
    const aws = await doctor('--pcrs', pcrs);
    expect(of(aws, 'attestation')).toMatchObject([{ health: 'failed', code: 'attestation_root_untrusted' }]);
  }, 60_000);

  test('a host that shows its attestation to nobody without a token: the enclave is proven past it', async () => {
    const apiTokensFile = join(stack.dir, 'tokens.json');
    writeFileSync(apiTokensFile, '{"tokens": []}', { mode: 0o600 });
    const diagnosis = await doctorOf(changed({ publicLog: false, apiTokensFile }), ...trust());
    expect(of(diagnosis, 'attestation')).toMatchObject([
      { health: 'ok', found: expect.stringContaining('live past the host') },
    ]);
  }, 60_000);

  test('another deployment, files for everybody, a locked database', async () => {
    const other = await doctorOf(changed({ deployment: 'other' }));
    expect(failing(other)).toEqual(['admin-socket', 'database', 'enclave']);
    for (const check of ['admin-socket', 'database', 'enclave'])
      expect(JSON.stringify(of(other, check))).toMatch(/deployment local-stack, the configuration (?:of|to) other/);
    chmodSync(stack.credentialsFile, 0o644);
    const lock = new DatabaseSync(stack.databaseFile);
    lock.exec('BEGIN IMMEDIATE');
    const broken = await doctor();
    lock.exec('ROLLBACK');
    lock.close();
    chmodSync(stack.credentialsFile, 0o600);
    expect(of(broken, 'files').filter(({ health }) => health === 'failed')).toMatchObject([
      { found: expect.stringContaining('credentialsFile') },
    ]);
    expect(of(broken, 'database').at(-1)).toMatchObject({
      health: 'failed',
      found: expect.stringContaining('locked by another process'),
    });
    expect(failing(await doctor())).toEqual([]);
  }, 60_000);

  test('a dead host: the enclave is proven past it', async () => {
    stack.host.kill('SIGKILL');
    await stack.host.exited;
    const diagnosis = await doctor(...trust());
    expect(failing(diagnosis)).toEqual(['admin-socket', 'http']);
    expect(of(diagnosis, 'admin-socket')).toMatchObject([
      { found: expect.stringContaining('left behind by a host that is dead') },
    ]);
    expect(of(diagnosis, 'attestation')).toMatchObject([
      { health: 'ok', found: expect.stringContaining('live past the host') },
    ]);
    expect(of(diagnosis, 'enclave')).toMatchObject([{ health: 'ok' }]);
    // And what doctor opened did not keep the host from its own.
    await stack.restartHost();
    await untilReady(stack.url);
    expect(failing(await doctor())).toEqual([]);
  }, 90_000);

  test('expired credentials, and witnesses that are gone', async () => {
    const credentials = readFileSync(stack.credentialsFile, 'utf8');
    const expired = { ...(JSON.parse(credentials) as object), expiresAt: '2020-01-01T00:00:00Z' };
    writeFileSync(stack.credentialsFile, JSON.stringify(expired), { mode: 0o600 });
    for (const { process } of stack.witnesses.slice(0, 2)) await process.stop();
    await stack.restartHost();
    const diagnosis = await doctor();
    expect(failing(diagnosis)).toEqual(expect.arrayContaining(['http', 'credentials', 'witnesses']));
    expect(of(diagnosis, 'credentials')).toMatchObject([
      { health: 'failed', found: expect.stringContaining('expired since 2020') },
    ]);
    expect(of(diagnosis, 'witnesses').at(-1)).toMatchObject({
      health: 'failed',
      found: '1 of 3 answer; the enclave requires 2',
    });
    writeFileSync(stack.credentialsFile, credentials, { mode: 0o600 });
  }, 90_000);

  test('a dead enclave', async () => {
    await stack.processes.enclave.stop();
    const diagnosis = await doctor(...trust());
    expect(failing(diagnosis)).toEqual(expect.arrayContaining(['enclave', 'attestation']));
    expect(of(diagnosis, 'enclave').filter(({ code }) => code === 'enclave_unavailable')).toHaveLength(2);
  }, 60_000);
});

/** qv doctor on a deployment that is well, on a configuration that is not, and for somebody who may not look. */
import { chmodSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { examine } from '@quantumvault/host/cli/doctor/doctor.ts';
import { CHECKS, type Finding, worstOf } from '@quantumvault/host/cli/doctor/finding.ts';
import { describe, expect, test } from 'vitest';
import { noteCode } from '../../../support/codes-seen.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { qv, qvJson } from '../call.ts';
import { asRoot, bad, closing, findings, harness, machine, patient, writeConfig } from './patient.ts';

patient();

describe('a deployment that is well', () => {
  test('has nothing failed and nothing to warn of', async () => {
    const found = await findings();
    expect(bad(found)).toEqual([]);
    expect(worstOf(found)).toBe('ok');
    const healths = Object.fromEntries(found.map(({ check, health }) => [check, health]));
    expect(healths).toMatchObject({
      config: 'ok',
      files: 'ok',
      'admin-socket': 'ok',
      http: 'ok',
      database: 'ok',
      disk: 'ok',
      enclave: 'ok',
      credentials: 'ok',
      clock: 'ok',
      freezes: 'ok',
      addon: 'skipped',
      attestation: 'skipped',
      witnesses: 'skipped',
      metrics: 'skipped',
      tls: 'skipped',
      'ops-page': 'skipped',
    });
  });

  test('is left as it was', async () => {
    const before = harness.sql((database) => database.prepare('PRAGMA data_version').get());
    // The host publishes its log by itself, once a second.
    const asked = () => new Set([...harness.enclave.requests.map(({ name }) => name), 'checkpoint']);
    const askedBefore = asked();
    const rows = harness.rows('leaves').length;
    await findings();
    expect(harness.rows('leaves')).toHaveLength(rows);
    expect(harness.sql((database) => database.prepare('PRAGMA data_version').get())).toEqual(before);
    expect(asked()).toEqual(askedBefore);
  });

  test('is shown to people and machines alike, with the exit code of the worst', async () => {
    const argv = ['doctor', '--config', writeConfig()];
    const answer = await qvJson(...argv);
    const worst = String(answer['worst']);
    // Whether this machine's clock is synchronised is not for the test to say.
    expect(answer.exit).toBe({ ok: 0, warning: 6, failed: 1 }[worst]);
    const checks = answer['checks'] as Finding[];
    expect(checks.filter(({ health }) => health === 'failed')).toEqual([]);
    const { exit, stdout, stderr } = await qv(...argv);
    expect([exit, stderr]).toEqual([answer.exit, '']);
    for (const check of CHECKS) expect(stdout).toContain(` ${check}`);
    expect(stdout).toMatch(/Nothing is wrong|Warnings: \d+, nothing failed/);
  });
});

describe('the configuration', () => {
  test.each([
    ['{"deployment": "test"}', 'config_invalid (store: missing)'],
    ['not JSON', 'config_invalid'],
    [undefined, 'cannot be read'],
  ])('%j is named, and everything else skipped', async (text, found) => {
    const configFile = text === undefined ? harness.path('none.json') : harness.writePrivate('bad.json', text);
    const answer = await qvJson('doctor', '--config', configFile);
    expect(answer).toMatchObject({ exit: 1, worst: 'failed', counts: { failed: 1, skipped: CHECKS.length - 1 } });
    expect((answer['checks'] as Finding[])[0]).toMatchObject({ check: 'config', code: 'config_invalid' });
    noteCode('config_invalid');
    expect((answer['checks'] as Finding[])[0]?.found).toContain(found);
    const { exit, stdout } = await qv('doctor', '--config', configFile);
    expect(exit).toBe(1);
    expect(stdout).toContain('✗ config');
    expect(stdout).toContain('→ Correct the field that is named');
    expect(stdout).toContain('Failed: 1');
  });

  test('a command line that is wrong is refused', async () => {
    expect(await qvJson('doctor')).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
    const wrong = ['--config', writeConfig(), '--url', 'ftp://x'];
    expect(await qvJson('doctor', ...wrong)).toMatchObject({ exit: 2, error: { value: '--url is no URL' } });
  });
});

describe('somebody who may not look', () => {
  async function asNobody(configFile: string): Promise<readonly Finding[]> {
    const groups = process.getgroups?.() ?? [];
    process.setgroups?.([]);
    process.setegid?.(65_534);
    process.seteuid?.(65_534);
    try {
      return await examine(
        { configFile, url: harness.host.url, pcrSets: [], unsafeTrustedRootDer: undefined },
        machine(),
      );
    } finally {
      process.seteuid?.(0);
      process.setegid?.(0);
      process.setgroups?.(groups);
    }
  }

  test.skipIf(!asRoot)('is told so, and nothing is taken for broken', async () => {
    const configFile = writeConfig();
    chmodSync(configFile, 0o644);
    chmodSync(harness.folder.path, 0o755);
    const found = await asNobody(configFile);
    expect(found.filter(({ check }) => check === 'admin-socket')).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('not for this user'),
        fix: expect.stringContaining('as root'),
      },
    ]);
    expect(found.filter(({ check }) => check === 'database')).toMatchObject([
      { health: 'skipped', found: expect.stringContaining('belongs to user 0') },
    ]);
    expect(bad(found.filter(({ check }) => check === 'files'))).toEqual([]);
    expect(found.find(({ check }) => check === 'credentials')).toMatchObject({ health: 'skipped' });
    expect(found.find(({ check }) => check === 'http')).toMatchObject({ health: 'ok' });
    chmodSync(harness.folder.path, 0o700);
    expect(await asNobody(configFile)).toMatchObject([
      { check: 'config', health: 'failed' },
      ...Array(CHECKS.length - 1).fill({}),
    ]);
    const elsewhere = await temporaryFolder();
    closing.push(() => elsewhere.remove());
    chmodSync(elsewhere.path, 0o755);
    copyFileSync(configFile, join(elsewhere.path, 'host.json'));
    chmodSync(join(elsewhere.path, 'host.json'), 0o644);
    const locked = await asNobody(join(elsewhere.path, 'host.json'));
    expect(locked.find(({ check }) => check === 'database')).toMatchObject({
      health: 'skipped',
      found: expect.stringContaining('not for this user to see'),
    });
  });
});

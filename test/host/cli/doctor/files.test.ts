/** qv doctor: modes and owners of files. */
import { chmodSync, chownSync, rmSync, writeFileSync } from 'node:fs';
import { examine } from '@quantumvault/host/cli/doctor/doctor.ts';
import { describe, expect, test } from 'vitest';
import { asRoot, bad, harness, machine, of, patient, writeConfig } from './patient.ts';

patient();

describe('files', () => {
  test.each<[string, () => void, RegExp]>([
    [
      'credentials for all to read',
      () => chmodSync(harness.path('credentials.json'), 0o644),
      /credentialsFile .*other users may read/,
    ],
    ['credentials that are gone', () => rmSync(harness.path('credentials.json')), /credentialsFile .*ENOENT/],
    [
      'credentials that are no JSON',
      () => writeFileSync(harness.path('credentials.json'), '{'),
      /credentialsFile .*json_malformed|credentialsFile/,
    ],
    ['markers for all to write', () => chmodSync(harness.path('freezes'), 0o777), /freezeMarkers .*freeze the fleet/],
    [
      'markers that the host cannot use',
      () => chmodSync(harness.path('freezes'), 0o500),
      /freezeMarkers .*not for the host/,
    ],
    ['markers that are gone', () => rmSync(harness.path('freezes'), { recursive: true }), /freezeMarkers .*not there/],
    ['an admin socket for all', () => chmodSync(harness.path('admin.sock'), 0o666), /admin socket .*anybody may open/],
    [
      'a tunnel socket for all',
      () => chmodSync(harness.path('tunnel.sock'), 0o666),
      /KMS tunnel’s socket .*anybody may open/,
    ],
    ['a database for all to write', () => chmodSync(harness.database, 0o666), /host\.db: anybody may write/],
  ])('%s', async (_, break_, found) => {
    const configFile = writeConfig();
    break_();
    const options = { configFile, url: undefined, pcrSets: [], unsafeTrustedRootDer: undefined };
    const failures = (await examine(options, machine()))
      .filter(({ check }) => check === 'files')
      .filter(({ health }) => health === 'failed');
    expect(failures).toHaveLength(1);
    expect(failures[0]?.found).toMatch(found);
    expect(failures[0]?.fix).toBeTruthy();
  });

  test('a database for all to read, and a configuration for all to write', async () => {
    chmodSync(harness.database, 0o644);
    expect(bad(await of('files'))).toMatchObject([{ health: 'warning', fix: expect.stringContaining('chmod 600') }]);
    chmodSync(harness.database, 0o600);
    chmodSync(writeConfig(), 0o666);
    expect(bad(await of('files'))).toMatchObject([{ health: 'failed', fix: expect.stringContaining('chmod o-w') }]);
  });

  test('a file in the socket’s place', async () => {
    await harness.host.close();
    writeFileSync(harness.path('admin.sock'), '');
    expect(bad(await of('files'))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('something else than a socket') },
    ]);
    rmSync(harness.path('admin.sock'));
    await harness.startHost();
  });

  test('secrets of webhooks and operators are looked at, too', async () => {
    const secretsFile = harness.writePrivate('webhook.secrets', 'whsec_x');
    const operatorsFile = harness.writePrivate('operators.json', '{"logins": []}');
    const webhooks = [{ name: 'alpha', kind: 'standard', secretsFile }];
    const alerts = [{ url: 'http://127.0.0.1:9/alerts', secretsFile: harness.path('no.secrets') }];
    expect(bad(await of('files', { alerts }))).toMatchObject([
      { health: 'failed', found: expect.stringMatching(/^alerts\[0\]\.secretsFile .*: ENOENT$/) },
    ]);
    expect(bad(await of('files', { webhooks, operatorsFile }))).toEqual([]);
    chmodSync(secretsFile, 0o604);
    writeFileSync(operatorsFile, '{"logins": [}');
    const found = bad(await of('files', { webhooks, operatorsFile }));
    expect(found.map(({ found: text }) => text.split(' ')[0])).toEqual(['operatorsFile', 'webhooks[0].secretsFile']);
    // Nothing of what stands in them.
    expect(JSON.stringify(found)).not.toContain('whsec');
  });

  test.skipIf(!asRoot)('the host’s user is judged by, not who calls', async () => {
    await harness.host.close();
    for (const name of ['host.db', 'credentials.json', 'freezes']) chownSync(harness.path(name), 4711, -1);
    expect(bad(await of('files'))).toEqual([]);
    chownSync(harness.path('credentials.json'), 4712, -1);
    expect(bad(await of('files'))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('owned by another user') },
    ]);
    for (const name of ['host.db', 'credentials.json', 'freezes']) chownSync(harness.path(name), 0, -1);
    await harness.startHost();
  });
});

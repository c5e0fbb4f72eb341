/** qv doctor: the enclave, its credentials, KMS, its time. */
import { hostTransport } from '@quantumvault/host/transport.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import type { Transport } from '@quantumvault/shared/transport.ts';
import { describe, expect, test } from 'vitest';
import { FakeEnclave } from '../../../support/fake-enclave.ts';
import { until } from '../../../support/temporary.ts';
import { bad, closing, findings, harness, kmsEndpoint, of, onMachine, patient, says } from './patient.ts';

patient();

describe('the enclave', () => {
  test('dead', async () => {
    await harness.enclave.close();
    harness.enclave.hangUp();
    await until('the host notices', async () => (await harness.admin('status', {})).enclave === null);
    const found = await findings();
    expect(bad(found.filter(({ check }) => check === 'enclave'))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('data unix:'), code: 'enclave_unavailable' },
      { health: 'failed', found: expect.stringContaining('control unix:'), fix: expect.stringContaining('nitro-cli') },
    ]);
    expect(found.find(({ check }) => check === 'http')).toMatchObject({
      health: 'failed',
      found: expect.stringContaining('not ready: enclave'),
    });
    expect(found.find(({ check }) => check === 'clock')).toMatchObject({ health: 'skipped' });
  });

  test('deaf on its control address: no freeze would reach it', async () => {
    await harness.enclave.close(harness.path('control.sock'));
    const found = bad(await of('enclave'));
    expect(found).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('control unix:'),
        fix: expect.stringContaining('other address'),
      },
    ]);
  });

  test('of another deployment', async () => {
    says({ deployment: 'other' });
    expect(bad(await of('enclave'))).toMatchObject([
      { health: 'failed', found: 'it is of deployment other, the configuration of test' },
    ]);
  });

  test('two of them behind one configuration', async () => {
    const second = new FakeEnclave('test');
    await second.listen(harness.path('second.sock'));
    closing.push(() => second.close());
    const mixed = { data: `unix:${harness.path('enclave.sock')}`, control: `unix:${harness.path('second.sock')}` };
    const found = bad(await of('enclave', { enclave: mixed }));
    expect(found).toMatchObject([
      { health: 'failed', found: expect.stringContaining(`control is boot ${second.boot}`) },
      { health: 'failed', found: expect.stringContaining('the host speaks of boot') },
    ]);
  });

  test.each<[ReplyOf<'status'>['phase'], string]>([
    ['booting', 'warning'],
    ['ready', 'failed'],
  ])('%s', async (phase, health) => {
    says({ phase });
    expect(bad(await of('enclave'))).toMatchObject([
      { health, found: expect.stringContaining(phase === 'ready' ? 'without credentials' : 'still booting') },
    ]);
  });

  test('on vsock without the addon', async () => {
    const missing: Transport = hostTransport({ addon: harness.path('no-addon.node') });
    onMachine({ transport: missing });
    const addresses = {
      enclave: { data: 'vsock:16:5000', control: 'vsock:16:5001' },
      kmsTunnel: { listen: 'vsock:3:5002', endpoint: kmsEndpoint() },
    };
    const found = await findings(addresses);
    expect(found.find(({ check }) => check === 'addon')).toMatchObject({
      health: 'failed',
      fix: 'npm run build:native',
      code: 'native_missing',
    });
    expect(found.filter(({ check }) => check === 'enclave')).toMatchObject([
      { health: 'skipped' },
      { health: 'skipped' },
    ]);
  });
});

describe('credentials and KMS', () => {
  const expiring = (seconds: number): void => {
    const expiresAt = `${new Date(Date.now() + 1000 * seconds).toISOString().slice(0, 19)}Z`;
    harness.writePrivate(
      'credentials.json',
      JSON.stringify({ accessKeyId: 'AKIA', secretAccessKey: 'hidden-key', expiresAt }),
    );
  };
  const hostSays = (state: string) =>
    until('the host has read them', async () => {
      const { credentials } = await harness.admin('status', {});
      return credentials.state === state && credentials.expiresAt !== null;
    });

  test('expired, by the host and without it', async () => {
    expiring(-60);
    await hostSays('expired');
    const found = await of('credentials');
    expect(found).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('expired since'),
        fix: expect.stringContaining('credentialsFile'),
      },
    ]);
    await harness.host.close();
    expect(await of('credentials')).toMatchObject([
      { health: 'failed', found: expect.stringContaining('the file’s are expired since') },
    ]);
    await harness.startHost();
  }, 20_000);

  test('about to expire', async () => {
    expiring(120);
    await hostSays('valid');
    expect(await of('credentials')).toMatchObject([
      { health: 'warning', found: expect.stringContaining('but only until') },
    ]);
  }, 20_000);

  test('broken under a running host', async () => {
    harness.writePrivate('credentials.json', '{}');
    await until('the host has read it', async () => (await harness.admin('status', {})).credentials.fault !== null);
    const found = await of('credentials');
    expect(found).toMatchObject([
      { health: 'ok' },
      { health: 'warning', found: expect.stringContaining('config_invalid') },
    ]);
    expect(JSON.stringify(found)).not.toContain('hidden-key');
  }, 20_000);

  test.each<[bigint, bigint, string]>([
    [10n, 0n, 'ok'],
    [10n, 3n, 'warning'],
    [10n, 10n, 'failed'],
    [0n, 0n, 'ok'],
  ])('%s calls of which %s failed', async (kmsCalls, kmsFailures, health) => {
    says({ kmsCalls, kmsFailures });
    const found = (await of('kms')).at(-1);
    expect(found).toMatchObject({ health, found: expect.stringContaining(`${kmsFailures} of ${kmsCalls} calls`) });
  });

  test('a document too old for KMS, and an endpoint that is not there', async () => {
    says({ kmsCalls: 1n, kmsFailures: 0n, attestationAgeSeconds: 301 });
    expect(bad(await of('kms'))).toMatchObject([{ health: 'failed', found: expect.stringContaining('301 s old') }]);
    const kmsTunnel = { listen: `unix:${harness.path('tunnel.sock')}`, endpoint: '127.0.0.1:1' };
    expect((await of('kms', { kmsTunnel }))[0]).toMatchObject({
      health: 'failed',
      found: '127.0.0.1:1: ECONNREFUSED',
      code: 'kms_unavailable',
    });
  });
});

describe('the clock', () => {
  test.each<[number, string, string]>([
    [1, 'ok', 'ahead of'],
    [10, 'warning', 'ahead of'],
    [-10, 'warning', 'behind'],
    [600, 'failed', 'ahead of'],
    [-600, 'failed', 'behind'],
  ])('%s s off', async (seconds, health, found) => {
    onMachine({ nowMs: () => Date.now() + 1000 * seconds });
    expect((await of('clock'))[0]).toMatchObject({ health, found: expect.stringContaining(found) });
  });

  test.each<[boolean | undefined, string]>([
    [true, 'ok'],
    [false, 'warning'],
    [undefined, 'skipped'],
  ])('synchronised: %s', async (isSynchronised, health) => {
    onMachine({ isClockSynchronised: async () => isSynchronised });
    expect((await of('clock')).at(-1)).toMatchObject({ health });
  });

  test('an enclave without recent time', async () => {
    says({ timeAgeSeconds: 61, time: timeMs(Date.now()) });
    expect(bad(await of('clock'))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('61 s old'), code: 'time_untrusted' },
    ]);
    says({ timeAgeSeconds: 60 });
    expect(bad(await of('clock'))).toEqual([]);
  });
});

/** qv doctor: the enclave, its credentials, KMS, its time. */
import { hostTransport } from '@quantumvault/host/transport.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import type { KmsKeyState } from '@quantumvault/shared/protocol/message-parts.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import type { Transport } from '@quantumvault/shared/transport.ts';
import { describe, expect, test, vi } from 'vitest';
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

  const key = (use: KmsKeyState['use'], change: Partial<KmsKeyState> = {}): KmsKeyState => {
    const region = { current: 'eu-central-1', replica: 'eu-north-1', previous: 'eu-central-1', second: 'us-east-2' }[
      use
    ];
    const keyArn = `arn:aws:kms:${region}:123456789012:key/${use}`;
    return { keyArn, use, calls: 10n, failures: 0n, isAvoided: false, ...change };
  };
  const further = (count: number) =>
    Array.from({ length: count }, (_, index) => ({
      listen: `unix:${harness.path(`tunnel-${index}.sock`)}`,
      endpoint: kmsEndpoint(),
    }));
  const tunnels = (count: number) => ({
    kmsTunnel: { listen: `unix:${harness.path('tunnel.sock')}`, endpoint: kmsEndpoint(), further: further(count) },
  });

  test('several keys: each is told of, and each of their endpoints is tried', async () => {
    says({ kmsCalls: 20n, kmsFailures: 0n, kmsKeys: [key('current'), key('previous'), key('second')] });
    const found = await of('kms', tunnels(1));
    expect(found.map(({ health }) => health)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok', 'ok']);
    expect(found.filter(({ found: text }) => text.includes('takes connections'))).toHaveLength(2);
    expect(found.at(-1)).toMatchObject({ found: expect.stringContaining('second key arn:aws:kms:us-east-2') });
  });

  test('several keys: one that does not answer, and one that always fails', async () => {
    const kmsKeys = [key('current', { isAvoided: true }), key('replica', { failures: 10n }), key('previous')];
    says({ kmsCalls: 30n, kmsFailures: 11n, kmsKeys });
    const found = bad(await of('kms', tunnels(1)));
    expect(found).toMatchObject([
      { health: 'warning', found: expect.stringContaining('11 of 30 calls') },
      { health: 'warning', found: expect.stringMatching(/current key .*does not answer/) },
      { health: 'warning', found: expect.stringContaining('replica key arn:aws:kms:eu-north-1') },
    ]);
  });

  test('several keys: a Region to which no tunnel leads, and one whose tunnel leads nowhere', async () => {
    says({ kmsCalls: 1n, kmsFailures: 0n, kmsKeys: [key('current'), key('replica'), key('second')] });
    expect(bad(await of('kms', tunnels(1)))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('in 3 Regions'), fix: expect.stringContaining('further') },
    ]);
    const { kmsTunnel } = tunnels(2);
    const dead = {
      ...kmsTunnel,
      further: [kmsTunnel.further[0], { ...kmsTunnel.further[1], endpoint: '127.0.0.1:1' }],
    };
    expect(bad(await of('kms', { kmsTunnel: dead }))).toMatchObject([
      { health: 'failed', code: 'kms_unavailable', fix: expect.stringContaining('kmsTunnel.further[1].endpoint') },
    ]);
  });

  test('wallets that are not sealed for the second key', async () => {
    harness.sql((database) => {
      const columns = 'wallet, owner, salt, execution_key, sealed_seed, sealed_state, row_mac';
      const zero = new Uint8Array(1);
      database
        .prepare(
          `INSERT INTO wallets (${columns}, state_version, frozen, generation, created_at)
           VALUES ('w', 'o', ?, ?, ?, ?, ?, 1, 0, 0, 0)`,
        )
        .run(zero, zero, zero, zero, zero);
    });
    says({ kmsCalls: 1n, kmsFailures: 0n, kmsKeys: [key('current')] });
    expect(bad(await of('kms', tunnels(0)))).toEqual([]);
    says({ kmsCalls: 1n, kmsFailures: 0n, kmsKeys: [key('current'), key('second')] });
    expect(bad(await of('kms', tunnels(1)))).toMatchObject([
      { health: 'warning', found: '1 wallet is not sealed for the second KMS key' },
    ]);
    expect((await harness.admin('status', {})).walletsWithoutSecond).toBe(1);
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

describe('the boot key', () => {
  test('and how old it is, for those who replace it on schedule', async () => {
    const serving = async () => (await of('enclave')).map(({ found }) => found).join();
    await harness.ready();
    expect(await serving()).toContain(`serving: boot ${harness.enclave.boot}, its key 0 days old`);
    const clock = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 91 * 86_400_000);
    try {
      expect(await serving()).toContain('its key 91 days old');
    } finally {
      clock.mockRestore();
    }
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

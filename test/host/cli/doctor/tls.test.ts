/** qv doctor: certificates. */
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { issueCertificate, notAnAuthority, toPem } from '../../../stack/certificate.ts';
import { bad, closedPort, closing, harness, of, patient } from './patient.ts';

patient();

describe('TLS', () => {
  const DAY = 24 * 3_600_000;

  /** A certificate for `host.example` by itself, and its key, in files; and a server that shows it. */
  function certificate(name: string, days: number) {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const who = [['CN', 'host.example']] as const;
    const pem = toPem(
      'CERTIFICATE',
      issueCertificate({
        serialNumber: Uint8Array.of(1),
        subject: who,
        issuer: who,
        notBefore: Date.now() - 100 * DAY,
        notAfter: Date.now() + days * DAY,
        publicKey,
        signingKey: privateKey,
        hash: 'sha256',
        extensions: [notAnAuthority()],
      }),
    );
    const key = privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
    return {
      pem,
      key,
      tls: {
        certificateFile: harness.writePrivate(`${name}.pem`, pem),
        keyFile: harness.writePrivate(`${name}.key`, key),
      },
    };
  }

  test.each<[number, string, string]>([
    [90, 'ok', 'valid until'],
    [5, 'warning', 'expires at'],
    [-1, 'failed', 'expired at'],
  ])('a certificate with %s days left', async (days, health, found) => {
    const { tls } = certificate('host', days);
    expect(await of('tls', { tls })).toMatchObject([{ health, found: expect.stringContaining(found) }]);
  });

  test('files that are wrong', async () => {
    const [one, two] = [certificate('one', 90), certificate('two', 90)];
    const mixed = { ...one.tls, keyFile: two.tls.keyFile };
    expect(bad(await of('tls', { tls: mixed }))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('not the key of the certificate'), code: 'config_invalid' },
    ]);
    chmodSync(one.tls.keyFile, 0o644);
    expect(bad(await of('files', { tls: one.tls }))).toMatchObject([
      { health: 'failed', found: expect.stringMatching(/^tls\.keyFile .*other users may read/) },
    ]);
    writeFileSync(two.tls.keyFile, 'no key');
    expect(bad(await of('tls', { tls: two.tls }))).toMatchObject([
      { found: expect.stringContaining('no private key') },
    ]);
    writeFileSync(two.tls.certificateFile, 'none');
    expect(await of('tls', { tls: two.tls })).toMatchObject([
      { found: expect.stringContaining('no certificate in PEM') },
    ]);
    const gone = { ...two.tls, certificateFile: harness.path('gone.pem') };
    expect(await of('tls', { tls: gone })).toMatchObject([{ found: expect.stringContaining('ENOENT') }]);
  });

  test('the host that ends it is called by its address, whatever name its certificate has', async () => {
    const { tls, pem, key } = certificate('host', 90);
    const server = createHttpsServer({ cert: pem, key }, (_, response) => response.end('{"alive":true}'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    expect(await of('http', { tls, listen: { host: '127.0.0.1', port } })).toMatchObject([
      { health: 'ok', found: `https://127.0.0.1:${port} answers, and is ready` },
    ]);
    expect(await of('proxy', { tls, listen: { host: '0.0.0.0', port } })).toMatchObject([{ health: 'ok' }]);
    // Clients call it by its name: nobody has issued this one.
    const url = `https://localhost:${port}`;
    expect(await of('tls', {}, url)).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('clients refuse its certificate: DEPTH_ZERO_SELF_SIGNED_CERT'),
      },
    ]);
    expect(await of('http', {}, url)).toMatchObject([
      { health: 'failed', found: expect.stringContaining('DEPTH_ZERO') },
    ]);
    const closed = `https://localhost:${await closedPort()}`;
    expect(await of('tls', {}, closed)).toMatchObject([
      { health: 'failed', found: expect.stringContaining('ECONNREFUSED') },
    ]);
  });
});

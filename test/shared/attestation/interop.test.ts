/** A chain written by @peculiar/x509's own generator, as a simulated NSM would: not only our encoder's DER passes. */
import '@quantumvault/shared/attestation/reflect.ts';
import * as x509 from '@peculiar/x509';
import { expect, test } from 'vitest';
import { outcome, ownSet, REPLAY } from './expect.ts';
import * as s from './synthetic.ts';

const HOUR_MS = 3_600_000;

async function generate(subject: s.Level, issuer: s.Level, extensions: x509.Extension[]): Promise<Uint8Array> {
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '0102030405',
    subject: `CN=${subject}.test, O=Test, C=US`,
    issuer: `CN=${issuer}.test, O=Test, C=US`,
    notBefore: new Date(s.NOW_MS - HOUR_MS),
    notAfter: new Date(s.NOW_MS + HOUR_MS),
    signingAlgorithm: { ...s.P384, hash: 'SHA-384' },
    publicKey: (await s.namedKey(subject)).publicKey,
    signingKey: (await s.namedKey(issuer)).privateKey,
    extensions,
  });
  return new Uint8Array(certificate.rawData);
}

const { keyCertSign, digitalSignature } = x509.KeyUsageFlags;
const ca = (pathLength?: number): x509.Extension[] => [
  new x509.BasicConstraintsExtension(true, pathLength, true),
  new x509.KeyUsagesExtension(keyCertSign, true),
];

test('a generated chain verifies', async () => {
  const cabundle = [
    await generate('root', 'root', ca()),
    await generate('regional', 'root', ca(2)),
    await generate('zonal', 'regional', ca(1)),
    await generate('instance', 'zonal', ca(0)),
  ];
  const certificate = await generate('leaf', 'instance', [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(digitalSignature, true),
  ]);
  const payload = s.encodePayload(await s.fieldsOf({ cabundle, certificate }));
  const bytes = await s.signDocument(payload, await s.namedKey('leaf'));
  const [unsafeTrustedRootDer = bytes] = cabundle;
  const pcrSets = ownSet(await s.measuredPcrs());
  expect(await outcome(bytes, { mode: REPLAY, pcrSets, unsafeTrustedRootDer })).toBe('ok');
});

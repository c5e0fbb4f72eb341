/** The CA and server certificate of the local KMS, made once and kept, so that clients can pin the CA. */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  authority,
  authorityKeyIdentifier,
  issueCertificate,
  keyUsage,
  type Name,
  notAnAuthority,
  serverAuthentication,
  subjectAlternativeNames,
  subjectKeyIdentifier,
  toPem,
} from '../certificate.ts';

export interface ServerIdentity {
  readonly keyPem: string;
  readonly certificatePem: string;
  readonly caPem: string;
  readonly caPath: string;
}

const DAY = 24 * 3600_000;
const CA_NAME: Name = [
  ['O', 'Simulated'],
  ['OU', 'QuantumVault'],
  ['CN', 'local KMS CA'],
];

export async function serverIdentity(directory: string, names: readonly string[]): Promise<ServerIdentity> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const caPath = join(directory, 'ca.pem');
  const caKeyPath = join(directory, 'ca-key.pem');
  let caPem = await readFile(caPath, 'utf8').catch(() => undefined);
  if (caPem === undefined) {
    const ca = createCa();
    await writeFile(caKeyPath, pkcs8(ca.privateKey), { mode: 0o600 });
    await writeFile(caPath, ca.pem);
    caPem = ca.pem;
  }
  const caKey = createPrivateKey(await readFile(caKeyPath));
  return { ...createServerCertificate(caKey, new X509Certificate(caPem), names), caPem, caPath };
}

function pkcs8(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'pkcs8' }).toString();
}

function createCa(): { privateKey: KeyObject; pem: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const der = issueCertificate({
    serialNumber: randomBytes(16),
    subject: CA_NAME,
    issuer: CA_NAME,
    notBefore: Date.now() - DAY,
    notAfter: Date.now() + 3650 * DAY,
    publicKey,
    signingKey: privateKey,
    hash: 'sha256',
    extensions: [authority(0), subjectKeyIdentifier(publicKey), keyUsage(['keyCertSign', 'cRLSign'])],
  });
  return { privateKey, pem: toPem('CERTIFICATE', der) };
}

/** A new one at each start: only the CA is what clients know. */
function createServerCertificate(
  caKey: KeyObject,
  ca: X509Certificate,
  names: readonly string[],
): { keyPem: string; certificatePem: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const der = issueCertificate({
    serialNumber: randomBytes(16),
    subject: [['CN', 'localhost']],
    issuer: CA_NAME,
    notBefore: Date.now() - DAY,
    notAfter: Math.min(Date.now() + 365 * DAY, Date.parse(ca.validTo)),
    publicKey,
    signingKey: caKey,
    hash: 'sha256',
    extensions: [
      notAnAuthority(),
      keyUsage(['digitalSignature']),
      serverAuthentication(),
      subjectAlternativeNames(['localhost', '127.0.0.1', ...names]),
      subjectKeyIdentifier(publicKey),
      authorityKeyIdentifier(caKey),
    ],
  });
  return { keyPem: pkcs8(privateKey), certificatePem: toPem('CERTIFICATE', der) };
}

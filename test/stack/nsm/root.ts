/** The simulation's own root of trust. Nothing in the product knows it; a verifier has to be told of it by name. */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { authority, issueCertificate, keyUsage, type Name, subjectKeyIdentifier, toPem } from '../certificate.ts';

export const ROOT_SUBJECT: Name = [
  ['C', 'US'],
  ['O', 'Simulated'],
  ['OU', 'QuantumVault'],
  ['CN', 'aws.nitro-enclaves'],
];
const HOUR = 3600_000;

export interface SimulatedRoot {
  readonly certificateDer: Uint8Array;
  readonly certificatePem: string;
  readonly privateKey: KeyObject;
}

function rootOf(certificateDer: Uint8Array, privateKey: KeyObject): SimulatedRoot {
  return { certificateDer, certificatePem: toPem('CERTIFICATE', certificateDer), privateKey };
}

/** Valid for 30 years from one hour before `now`, so that small clock differences do not matter. */
export function createSimulatedRoot(now = Date.now()): SimulatedRoot {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const notBefore = new Date(now - HOUR);
  const notAfter = new Date(notBefore);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + 30);
  const der = issueCertificate({
    serialNumber: randomBytes(16),
    subject: ROOT_SUBJECT,
    issuer: ROOT_SUBJECT,
    notBefore: notBefore.getTime(),
    notAfter: notAfter.getTime(),
    publicKey,
    signingKey: privateKey,
    hash: 'sha384',
    extensions: [
      authority(),
      subjectKeyIdentifier(publicKey),
      keyUsage(['digitalSignature', 'keyCertSign', 'cRLSign']),
    ],
  });
  return rootOf(der, privateKey);
}

/** Beside it, in decimal, where a test moves the module's clock. */
export const CLOCK_OFFSET_FILE = 'clock-offset-milliseconds';
export const ROOT_PEM_FILE = 'root.pem';
const ROOT_KEY_FILE = 'root-key.pem';

/** Milliseconds since 1970 by the module's clock, which a test may have moved. KMS judges documents by it, too. */
export function moduleNow(directory: string): number {
  try {
    return Date.now() + Number(readFileSync(join(directory, CLOCK_OFFSET_FILE), 'utf8'));
  } catch {
    return Date.now();
  }
}

/** The root kept in `directory`, made there on first use. A test double: its key is a plain file. */
export async function persistentSimulatedRoot(directory: string, now = Date.now()): Promise<SimulatedRoot> {
  const pemPath = join(directory, ROOT_PEM_FILE);
  const keyPath = join(directory, ROOT_KEY_FILE);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const pem = await readFile(pemPath, 'utf8').catch(() => undefined);
  if (pem !== undefined) {
    return rootOf(new Uint8Array(new X509Certificate(pem).raw), createPrivateKey(await readFile(keyPath)));
  }
  const root = createSimulatedRoot(now);
  await writeFile(keyPath, root.privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  // The certificate last and by rename: where it exists, its key does too.
  await writeFile(`${pemPath}.new`, root.certificatePem);
  await rename(`${pemPath}.new`, pemPath);
  return root;
}

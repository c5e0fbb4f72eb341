/**
 * The next image: a vault process of another version, and a configuration that names other operators, and more of them.
 * Both are measured, so its PCR0 and PCR2 are others. What the version stands for is a release with other code.
 */
import { generateKeyPairSync } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BundleFiles } from '@quantumvault/enclave/bundle.ts';
import { VERSION } from '@quantumvault/enclave/version.ts';
import { addressOf } from '@quantumvault/shared/brands.ts';
import type { Stack, StackImage } from '../stack.ts';

export const NEXT_VERSION = '0.2.0';
/** Of four. */
export const NEXT_THRESHOLD = 3;

export interface NextImage extends StackImage {
  /** Of an operator's private key, counted from 1. */
  readonly operatorPem: (operator: number) => string;
}

/** Measured, and allowed to use no key yet. */
export async function measureNext(stack: Stack): Promise<NextImage> {
  const folder = join(stack.dir, 'next');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const operatorPem = (operator: number): string => join(folder, `operator-${operator}.pem`);
  const keys = [1, 2, 3, 4].map((operator) => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    writeFileSync(operatorPem(operator), privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
    return addressOf(new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)));
  });
  const bundle = nextBundle(stack.bundle, folder);
  const change = (config: Record<string, unknown>): void => {
    config['operators'] = { threshold: NEXT_THRESHOLD, keys };
  };
  return { ...(await stack.measureImage('next', change, { bundle, isAllowed: false })), operatorPem };
}

/** The same entries bundled from sources that name the next version: one text differs. */
function nextBundle(bundle: BundleFiles, folder: string): BundleFiles {
  const [vault, agent, addon] = ['enclave.cjs', 'kms-agent.cjs', 'sodium-native.node'].map((name) =>
    join(folder, name),
  );
  if (vault === undefined || agent === undefined || addon === undefined) throw new Error('three files');
  const [before = '', after, ...more] = readFileSync(bundle.vault, 'utf8').split(`VERSION = "${VERSION}"`);
  if (after === undefined || more.length > 0) throw new Error('the bundle does not name its version once');
  writeFileSync(vault, `${before}VERSION = "${NEXT_VERSION}"${after}`);
  copyFileSync(bundle.agent, agent);
  copyFileSync(bundle.addon, addon);
  return { ...bundle, vault, agent, addon };
}

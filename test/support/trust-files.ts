/** What an auditor of a deployment in memory gives to qv: measurements, root and witnesses, as options. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { formatVerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { testPcr } from '../stack/support.ts';
import type { Deployment } from './log-builder.ts';

export const pemOf = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${toBase64(der).replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;

export const MEASUREMENTS = JSON.stringify(
  Object.fromEntries([0, 1, 2].map((index) => [`PCR${index}`, toHex(testPcr(0xa0 + index))])),
);

export function trustOptions(folder: string, { root, witnesses }: Deployment): string[] {
  writeFileSync(join(folder, 'pcrs.json'), MEASUREMENTS);
  writeFileSync(join(folder, 'root.pem'), pemOf(root.certificateDer));
  return [
    ...['--pcrs', join(folder, 'pcrs.json'), '--unsafe-trusted-root', join(folder, 'root.pem')],
    ...witnesses.flatMap(({ key }) => ['--witness', formatVerifierKey(key)]),
  ];
}

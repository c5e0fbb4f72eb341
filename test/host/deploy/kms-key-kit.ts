/** Accounts, principals and policies of the tests of kms-key.json, and what a denial looks like. */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { expect } from 'vitest';
import type { Principal } from '../../stack/kms/sigv4.ts';
import { refusal, testPcr } from '../../stack/support.ts';
import { type JsonRecord, propertiesOf, readTemplate } from './cloudformation.ts';

export const KEYS_ACCOUNT = '111122223333';
export const INSTANCE_ACCOUNT = '444455556666';
export const BREAK_GLASS_ROLE = `arn:aws:iam::${KEYS_ACCOUNT}:role/qv-break-glass`;
export const INSTANCE_ROLE = `arn:aws:iam::${INSTANCE_ACCOUNT}:role/qv-instance`;
export const [OLD, NEW, OTHER] = [testPcr(0xa0), testPcr(0xb0), testPcr(0xc0)];

const keyTemplate = readTemplate('kms-key.json');
export const policyOf = (AllowedPcr0s: string, InstanceRoleArn = INSTANCE_ROLE): JsonRecord =>
  propertiesOf(keyTemplate, 'Key', {
    parameters: { BreakGlassRoleArn: BREAK_GLASS_ROLE, InstanceRoleArn, AllowedPcr0s },
  })['KeyPolicy'] as JsonRecord;
export const hexes = (...pcr0s: readonly Uint8Array[]): string => pcr0s.map(toHex).join(',');

export const principal = (arn: string, identityPolicy?: string): Principal => ({
  accessKeyId: `AKIA${arn.replace(/[^A-Za-z0-9]/g, '').toUpperCase()}`,
  secretAccessKey: `secret of ${arn}`,
  arn,
  ...(identityPolicy === undefined ? {} : { identityPolicy }),
});
export const BREAK_GLASS = principal(`arn:aws:sts::${KEYS_ACCOUNT}:assumed-role/qv-break-glass/ann`);
export const KEYS_ADMIN = principal(`arn:aws:iam::${KEYS_ACCOUNT}:user/admin`);
export const KEYS_ROOT = principal(`arn:aws:iam::${KEYS_ACCOUNT}:root`);
export const INSTANCE_ADMIN = principal(`arn:aws:iam::${INSTANCE_ACCOUNT}:user/admin`);
export const INSTANCE_ROOT = principal(`arn:aws:iam::${INSTANCE_ACCOUNT}:root`);
/** The role's name in another account. */
export const NAMESAKE = principal('arn:aws:sts::999999999999:assumed-role/qv-instance/i-0123456789abcdef0');

/** Denied, in AWS's form: the name, the status, who and what. */
export async function expectDenied(
  call: Promise<unknown>,
  how: 'denied' | 'not allowed' | 'either' = 'either',
): Promise<void> {
  const error = await refusal(call);
  expect(error).toMatchObject({ name: 'AccessDeniedException', $metadata: { httpStatusCode: 400 } });
  expect(error.message).toMatch(
    /^User: arn:aws:\S+ is not authorized to perform: kms:\w+ on resource: arn:aws:kms:\S+/,
  );
  if (how === 'denied') expect(error.message).toContain('with an explicit deny in a resource-based policy');
  if (how === 'not allowed') expect(error.message).toContain('no resource-based policy allows');
}

/** The key policy that kms-key.json makes of its parameters. What it lets through and what not: kms-key.test.ts. */
import { keyPolicy, unusedKeyPolicy } from '@quantumvault/host/cli/key-policy.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { describe, expect, test } from 'vitest';
import type { JsonRecord } from './cloudformation.ts';
import { BREAK_GLASS_ROLE, hexes, INSTANCE_ACCOUNT, INSTANCE_ROLE, NEW, OLD, policyOf } from './kms-key-kit.ts';

describe('the template and qv init write the same policy', () => {
  test('before an image is measured', () => {
    expect(policyOf('', '')).toEqual(unusedKeyPolicy(BREAK_GLASS_ROLE));
  });

  test.each([[[OLD]], [[OLD, NEW]]])('for %#', (images) => {
    const input = { breakGlassArn: BREAK_GLASS_ROLE, instanceRoleArn: INSTANCE_ROLE };
    expect(policyOf(hexes(...images))).toEqual(keyPolicy({ ...input, pcr0s: images.map(toHex) }));
  });

  test.each([
    ['zeros', '00'.repeat(48)],
    ['zeros behind an image', `${hexes(OLD)},${'00'.repeat(48)}`],
    ['upper case', hexes(OLD).toUpperCase()],
    ['a space', `${hexes(OLD)}, ${hexes(NEW)}`],
    ['too short', 'ab'.repeat(47)],
    ['a wildcard', '*'],
  ])('%s are no PCR0 to the template', (_name, pcr0s) => {
    expect(() => policyOf(pcr0s)).toThrow('AllowedPcr0s');
  });

  test.each([`arn:aws:iam::${INSTANCE_ACCOUNT}:root`, '*', INSTANCE_ACCOUNT])('%s is no instance role', (role) => {
    expect(() => policyOf(hexes(OLD), role)).toThrow('InstanceRoleArn');
  });

  test('no statement allows the account, everybody, or every action', () => {
    const allows = (policyOf(hexes(OLD))['Statement'] as readonly JsonRecord[]).filter(
      ({ Effect }) => Effect === 'Allow',
    );
    expect(allows.map(({ Principal }) => Principal)).toEqual([{ AWS: BREAK_GLASS_ROLE }, { AWS: INSTANCE_ROLE }]);
    expect(JSON.stringify(allows)).not.toMatch(/root|kms:\*|"\*":|NotAction|NotPrincipal/);
  });
});

/** The key policy that kms-key.json makes of its parameters. What it lets through and what not: kms-key.test.ts. */
import { keyPolicy, unusedKeyPolicy } from '@quantumvault/host/cli/key-policy.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { describe, expect, test } from 'vitest';
import { type JsonRecord, propertiesOf, readTemplate } from './cloudformation.ts';
import { BREAK_GLASS_ROLE, hexes, INSTANCE_ACCOUNT, INSTANCE_ROLE, NEW, OLD, policyOf } from './kms-key-kit.ts';

describe('the template and qv init write the same policy', () => {
  test('before an image is measured', () => {
    expect(policyOf('', '')).toEqual(unusedKeyPolicy(BREAK_GLASS_ROLE));
  });

  test.each([[[OLD]], [[OLD, NEW]]])('for %#', (images) => {
    const input = { breakGlassArn: BREAK_GLASS_ROLE, instanceRoleArn: INSTANCE_ROLE };
    expect(policyOf(hexes(...images))).toEqual(keyPolicy({ ...input, pcr0s: images.map(toHex) }));
  });

  test.each([[[]], [[OLD]], [[OLD, NEW]]])('of a multi-Region key, and of its replicas, for %#', (images) => {
    const pcr0s = images.map(toHex);
    const input = { breakGlassArn: BREAK_GLASS_ROLE, instanceRoleArn: INSTANCE_ROLE, isMultiRegion: true };
    const expected =
      pcr0s.length === 0 ? unusedKeyPolicy(BREAK_GLASS_ROLE, { isMultiRegion: true }) : keyPolicy({ ...input, pcr0s });
    const InstanceRoleArn = pcr0s.length === 0 ? '' : INSTANCE_ROLE;
    const given = { BreakGlassRoleArn: BREAK_GLASS_ROLE, InstanceRoleArn, AllowedPcr0s: pcr0s.join(',') };
    const primary = propertiesOf(readTemplate('kms-key.json'), 'Key', {
      parameters: { ...given, MultiRegion: 'true' },
    });
    expect(primary).toMatchObject({ MultiRegion: true, KeyPolicy: expected });
    const PrimaryKeyArn = `arn:aws:kms:eu-central-1:111122223333:key/mrk-${'0a'.repeat(16)}`;
    const replica = propertiesOf(readTemplate('kms-replica.json'), 'Replica', {
      parameters: { ...given, PrimaryKeyArn },
    });
    expect(replica).toMatchObject({ PrimaryKeyArn, KeyPolicy: expected });
    const single = PrimaryKeyArn.replace(/mrk-.*/, '0a1b2c3d-0000-4000-8000-000000000000');
    const wrong = { parameters: { ...given, PrimaryKeyArn: single } };
    expect(() => propertiesOf(readTemplate('kms-replica.json'), 'Replica', wrong)).toThrow('PrimaryKeyArn');
  });

  test('a key of one Region is what is made unless it is asked for otherwise', () => {
    const given = { BreakGlassRoleArn: BREAK_GLASS_ROLE, InstanceRoleArn: '', AllowedPcr0s: '' };
    expect(propertiesOf(readTemplate('kms-key.json'), 'Key', { parameters: given })['MultiRegion']).toBe(false);
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

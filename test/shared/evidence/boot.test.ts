/** The binding of a boot key to an attested image, on documents of a PKI of our own. */
import { sha256 } from '@noble/hashes/sha2.js';
import { hash } from '@quantumvault/shared/brands.ts';
import { type UserData, userDataCodec } from '@quantumvault/shared/evidence/user-data.ts';
import { type BootExpectations, verifyBootAttestation } from '@quantumvault/shared/evidence/verify.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { describe, expect, test } from 'vitest';
import { documentOf, testNsm } from '../../stack/support.ts';
import { expectCode } from '../../support/codes.ts';
import { BOOT, HASH, OTHER_BOOT, OTHER_HASH } from './signed.ts';

const NONCE = new Uint8Array(32).fill(3);
const userData: UserData = { bootKey: BOOT, configHash: HASH, logOrigin: 'example.com/qv', version: '1.2.3' };
const nsm = await testNsm();
const document = await documentOf(nsm, { nonce: NONCE, userData: encodeAs(userDataCodec, userData) });

const expected = (change: Partial<BootExpectations> = {}): BootExpectations => ({
  mode: { kind: 'live', nowMs: Date.now(), nonce: NONCE },
  pcrSets: [{ name: 'image', pcrs: new Map([0, 1, 2].map((index) => [index, new Uint8Array(48).fill(0xa0 + index)])) }],
  unsafeTrustedRootDer: nsm.rootCertificateDer,
  ...change,
});

describe('verifyBootAttestation', () => {
  test('gives the boot key and what else the document binds', async () => {
    const all = { boot: BOOT, configHash: HASH, logOrigin: 'example.com/qv' };
    const found = await verifyBootAttestation(document, expected(all));
    expect(found).toMatchObject({
      boot: BOOT,
      userData,
      pcrSet: { name: 'image' },
      report: { ok: true, mode: 'live' },
    });
    expect((await verifyBootAttestation(document, expected())).boot).toBe(BOOT);
  });

  test.each<[Partial<BootExpectations>, string]>([
    [{ boot: OTHER_BOOT }, 'userData.bootKey'],
    [{ configHash: OTHER_HASH }, 'userData.configHash'],
    [{ logOrigin: 'example.com/other' }, 'userData.logOrigin'],
  ])('refuses when %o is expected', async (change, path) => {
    const error = await expectCode(verifyBootAttestation(document, expected(change)), 'attestation_user_data_mismatch');
    expect(error.facts.path).toBe(path);
  });

  test('the verifier’s own refusals come through', async () => {
    const pcrSets = [{ name: 'other', pcrs: new Map([[0, new Uint8Array(48).fill(1)]]) }];
    await expectCode(verifyBootAttestation(document, expected({ pcrSets })), 'attestation_pcrs_not_allowed');
    const mode = { kind: 'live', nowMs: Date.now(), nonce: new Uint8Array(32) } as const;
    await expectCode(verifyBootAttestation(document, expected({ mode })), 'attestation_nonce_mismatch');
    const { unsafeTrustedRootDer: _, ...aws } = expected();
    await expectCode(verifyBootAttestation(document, aws), 'attestation_root_untrusted');
    const late = { kind: 'live', nowMs: Date.now() + 301_000, nonce: NONCE } as const;
    await expectCode(verifyBootAttestation(document, expected({ mode: late })), 'attestation_stale');
  });

  test.each([
    ['none', null],
    ['malformed', new Uint8Array(40)],
    ['of another purpose', hash(sha256(new Uint8Array()))],
    ['with a byte behind it', Uint8Array.of(...encodeAs(userDataCodec, userData), 0)],
  ])('user_data that is %s binds nothing', async (_, bytes) => {
    const other = await documentOf(nsm, { nonce: NONCE, userData: bytes });
    const error = await expectCode(verifyBootAttestation(other, expected()), 'attestation_user_data_mismatch');
    expect(error.facts.path).toBe('userData');
  });

  test('a debug enclave is refused', async () => {
    const debug = await testNsm({ debug: true });
    const made = await documentOf(debug, { nonce: NONCE, userData: encodeAs(userDataCodec, userData) });
    const attempt = verifyBootAttestation(made, expected({ unsafeTrustedRootDer: debug.rootCertificateDer }));
    await expectCode(attempt, 'attestation_debug_enclave');
  });
});

import { X509Certificate } from 'node:crypto';
import { decodeAttestationDocument } from '@quantumvault/shared/attestation/document.ts';
import type { Expectations } from '@quantumvault/shared/attestation/expectations.ts';
import { pcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import { verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { describe, expect, it } from 'vitest';
import { extendZero, lengthPrefixed, measure, sha384, standInImage, ZERO_PCR } from './nsm/measure.ts';
import { createSimulatedRoot } from './nsm/root.ts';
import type { SimulatedNsm } from './nsm/simulated-nsm.ts';
import { askNsm, documentOf, ENCLAVE_ROLE, someNonce, testNsm, testPcr } from './support.ts';

const HOUR = 3600_000;
const DAY = 24 * HOUR;
const root = createSimulatedRoot();

function expectations(nsm: SimulatedNsm, nonce: Uint8Array, change: Partial<Expectations> = {}): Expectations {
  return {
    mode: { kind: 'live', nowMs: Date.now(), nonce },
    pcrSets: [pcrSet('the image', new Map([0, 1, 2].map((index) => [index, testPcr(0xa0 + index)])))],
    unsafeTrustedRootDer: nsm.rootCertificateDer,
    ...change,
  };
}

/** The certificates of a document, root first. */
function chainOf(document: Uint8Array): readonly X509Certificate[] {
  const { cabundle, certificate } = decodeAttestationDocument(document);
  return [...cabundle, certificate].map((der) => new X509Certificate(der));
}

const lifetime = (certificate: X509Certificate): number =>
  Date.parse(certificate.validTo) - Date.parse(certificate.validFrom);

describe('documents', () => {
  for (const encoding of ['indefinite', 'definite'] as const) {
    it(`verify in the ${encoding} encoding, with every field`, async () => {
      const nsm = await testNsm({ root, encoding });
      const nonce = someNonce();
      const fields = { nonce, userData: utf8('user data'), publicKey: utf8('a key') };
      const document = await documentOf(nsm, fields);
      const decoded = decodeAttestationDocument(document);
      expect(decoded.payloadEncoding).toBe(encoding);
      // 84 44 a1013822 a0 59 xxxx, then the map of nine.
      expect(toHex(document.subarray(0, 8))).toBe('8444a1013822a059');
      expect(document[10]).toBe(encoding === 'indefinite' ? 0xbf : 0xa9);
      const report = await verifyAttestation(document, expectations(nsm, nonce, { publicKeyRequired: true }));
      expect(report).toMatchObject({ ok: true, document: fields });
      expect(decoded.pcrs.get(3)).toEqual(extendZero(utf8(ENCLAVE_ROLE)));
      expect(decoded.pcrs.get(4)).toEqual(extendZero(utf8('i-0123456789abcdef0')));
      expect([...decoded.pcrs.keys()]).toEqual(Array.from({ length: 16 }, (_, index) => index));
    });
  }

  it('write null for absent fields, and nothing else of their own', async () => {
    const { presence } = decodeAttestationDocument(await documentOf(await testNsm({ root })));
    expect(presence).toEqual({ public_key: 'null', user_data: 'null', nonce: 'null' });
  });

  it('are refused under the root of AWS and under another simulated root', async () => {
    const nsm = await testNsm({ root });
    const nonce = someNonce();
    const document = await documentOf(nsm, { nonce });
    const { unsafeTrustedRootDer: _none, ...ofAws } = expectations(nsm, nonce);
    const byAws = await verifyAttestation(document, ofAws);
    expect(byAws).toMatchObject({ ok: false, failure: { code: 'attestation_root_untrusted' } });
    const other = createSimulatedRoot().certificateDer;
    const byOther = await verifyAttestation(document, expectations(nsm, nonce, { unsafeTrustedRootDer: other }));
    expect(byOther).toMatchObject({ ok: false, failure: { code: 'attestation_root_untrusted' } });
  });

  it('of debug enclaves have zero PCR0-2 and real PCR3 and PCR4, and are refused unless allowed', async () => {
    const nsm = await testNsm({ root, debug: true });
    const nonce = someNonce();
    const document = await documentOf(nsm, { nonce });
    const { pcrs } = decodeAttestationDocument(document);
    for (const index of [0, 1, 2]) expect(pcrs.get(index)).toEqual(ZERO_PCR);
    for (const index of [3, 4]) expect(pcrs.get(index)).not.toEqual(ZERO_PCR);
    const zeros = [pcrSet('zeros', new Map([[0, ZERO_PCR]]))];
    const refused = await verifyAttestation(document, expectations(nsm, nonce, { pcrSets: zeros }));
    expect(refused).toMatchObject({ ok: false, failure: { code: 'attestation_debug_enclave' } });
    const allowed = expectations(nsm, nonce, { pcrSets: zeros, allowDebug: true });
    expect(await verifyAttestation(document, allowed)).toMatchObject({ ok: true });
  });

  it('have the chain of AWS: steps, lifetimes, names', async () => {
    const chain = chainOf(await documentOf(await testNsm({ root })));
    expect(chain.map((certificate) => certificate.publicKey.asymmetricKeyDetails?.namedCurve)).toEqual(
      Array.from({ length: 5 }, () => 'secp384r1'),
    );
    expect(chain.map((certificate) => certificate.ca)).toEqual([true, true, true, true, false]);
    expect(chain.slice(1).map(lifetime)).toEqual([20 * DAY + HOUR, 6 * DAY - 3 * HOUR, DAY, 3 * HOUR + 3000]);
    const names = chain.map((certificate) => /CN=(.*)/.exec(certificate.subject)?.[1] ?? '');
    expect(names[0]).toBe('aws.nitro-enclaves');
    expect(names[1]).toMatch(/^[0-9a-f]{16}\.us-east-1\.aws\.nitro-enclaves$/);
    expect(names[2]).toMatch(/^[0-9a-f]{16}\.zonal\.us-east-1\.aws\.nitro-enclaves$/);
    expect(names[3]).toBe('i-0123456789abcdef0.us-east-1.aws.nitro-enclaves');
    expect(names[4]).toMatch(/^i-0123456789abcdef0-enc[0-9a-f]{16}\.us-east-1\.aws$/);
    for (const certificate of chain) expect(certificate.raw.length).toBeLessThanOrEqual(814);
  });

  it('carry a chain that outlives them, each link issued anew in time', async () => {
    let now = Date.now();
    const nsm = await testNsm({ root, now: () => now });
    const first = chainOf(await documentOf(nsm));
    const replaced = async (elapsed: number): Promise<readonly number[]> => {
      now += elapsed;
      const nonce = someNonce();
      const document = await documentOf(nsm, { nonce });
      // Fresh for five minutes: verifiable at the end of them too.
      const mode = { kind: 'live', nowMs: now + 299_000, nonce } as const;
      expect(await verifyAttestation(document, expectations(nsm, nonce, { mode }))).toMatchObject({ ok: true });
      return chainOf(document).flatMap((link, index) =>
        link.fingerprint256 === first[index]?.fingerprint256 ? [] : [index],
      );
    };
    expect(await replaced(HOUR)).toEqual([]);
    expect(await replaced(1.9 * HOUR)).toEqual([4]);
    expect(await replaced(DAY)).toEqual([3, 4]);
    expect(await replaced(4 * DAY)).toEqual([2, 3, 4]);
    expect(await replaced(15 * DAY)).toEqual([1, 2, 3, 4]);
  });

  it('hold what the three fields may hold, and no more', async () => {
    const nsm = await testNsm({ root });
    const full = new Uint8Array(1024).fill(7);
    const document = await documentOf(nsm, { publicKey: full, userData: full, nonce: full });
    expect(decodeAttestationDocument(document).nonce).toEqual(full);
    const tooLong = await askNsm(nsm, 'Attestation', {
      user_data: new Uint8Array(1025),
      nonce: null,
      public_key: null,
    });
    expect(tooLong).toEqual({ Error: 'InputTooLarge' });
    expect(await askNsm(nsm, 'Attestation', { nonce: 'text' })).toEqual({ Error: 'InvalidArgument' });
  });
});

describe('requests', () => {
  it('DescribeNSM', async () => {
    const nsm = await testNsm({ root });
    expect(await askNsm(nsm, 'DescribeNSM')).toEqual({
      DescribeNSM: {
        version_major: 1,
        version_minor: 0,
        version_patch: 0,
        module_id: nsm.moduleId,
        max_pcrs: 32,
        locked_pcrs: Array.from({ length: 16 }, (_, index) => index),
        digest: 'SHA384',
      },
    });
  });

  it('GetRandom gives 256 bytes, others each time', async () => {
    const nsm = await testNsm({ root });
    const draw = async (): Promise<Uint8Array> => {
      const { GetRandom } = (await askNsm(nsm, 'GetRandom')) as { GetRandom: { random: Uint8Array } };
      return Uint8Array.from(GetRandom.random);
    };
    const [one, two] = [await draw(), await draw()];
    expect(one).toHaveLength(256);
    expect(one).not.toEqual(two);
  });

  it('DescribePCR, ExtendPCR, LockPCR and LockPCRs', async () => {
    const nsm = await testNsm({ root });
    const data = utf8('a measurement');
    const extended = sha384(ZERO_PCR, data);
    expect(await pcrOf(nsm, 0)).toEqual({ lock: true, data: testPcr(0xa0) });
    expect(await pcrOf(nsm, 16)).toEqual({ lock: false, data: ZERO_PCR });
    expect(await extend(nsm, 16, data)).toEqual(extended);
    expect(await extend(nsm, 16, data)).toEqual(sha384(extended, data));
    expect(await askNsm(nsm, 'LockPCR', { index: 16 })).toBe('LockPCR');
    expect(await askNsm(nsm, 'ExtendPCR', { index: 16, data })).toEqual({ Error: 'ReadOnlyIndex' });
    expect(await askNsm(nsm, 'LockPCR', { index: 16 })).toEqual({ Error: 'ReadOnlyIndex' });
    expect(await askNsm(nsm, 'LockPCRs', { range: 20 })).toBe('LockPCRs');
    expect(await pcrOf(nsm, 19)).toMatchObject({ lock: true });
    expect(await pcrOf(nsm, 20)).toMatchObject({ lock: false });
    // Registers beyond the hypervisor's are attested once they are in use.
    const { pcrs } = decodeAttestationDocument(await documentOf(nsm));
    expect([...pcrs.keys()].slice(16)).toEqual([16, 17, 18, 19]);
    expect(pcrs.get(16)).toEqual(sha384(extended, data));
  });

  it('refuse by name', async () => {
    const nsm = await testNsm({ root });
    const data = utf8('x');
    expect(await askNsm(nsm, 'ExtendPCR', { index: 0, data })).toEqual({ Error: 'ReadOnlyIndex' });
    expect(await askNsm(nsm, 'ExtendPCR', { index: 20, data: null })).toEqual({ Error: 'InvalidArgument' });
    expect(await askNsm(nsm, 'DescribePCR', { index: 32 })).toEqual({ Error: 'InvalidIndex' });
    expect(await askNsm(nsm, 'LockPCR', { index: 32 })).toEqual({ Error: 'InvalidIndex' });
    expect(await askNsm(nsm, 'LockPCRs', { range: 33 })).toEqual({ Error: 'InvalidIndex' });
    expect(await askNsm(nsm, 'DescribePCR', {})).toEqual({ Error: 'InvalidArgument' });
    expect(await askNsm(nsm, 'Format')).toEqual({ Error: 'InvalidOperation' });
    expect(await askNsm(nsm, 'Format', {})).toEqual({ Error: 'InvalidOperation' });
    const oversized = await nsm.request(new Uint8Array(0x1001));
    expect(Buffer.from(oversized).toString('latin1')).toContain('InputTooLarge');
    for (const bytes of [new Uint8Array(), Uint8Array.of(0xff), Uint8Array.of(0xa1), Uint8Array.of(0)]) {
      const response = Buffer.from(await nsm.request(bytes)).toString('latin1');
      expect(response).toContain('InvalidOperation');
    }
  });
});

async function pcrOf(nsm: SimulatedNsm, index: number): Promise<unknown> {
  const { DescribePCR } = (await askNsm(nsm, 'DescribePCR', { index })) as {
    DescribePCR: { lock: boolean; data: Uint8Array };
  };
  return { lock: DescribePCR.lock, data: Uint8Array.from(DescribePCR.data) };
}

async function extend(nsm: SimulatedNsm, index: number, data: Uint8Array): Promise<Uint8Array> {
  const { ExtendPCR } = (await askNsm(nsm, 'ExtendPCR', { index, data })) as { ExtendPCR: { data: Uint8Array } };
  return Uint8Array.from(ExtendPCR.data);
}

describe('measurements', () => {
  const parts = { nodeVersion: 'v24.0.0', cmdline: 'enclave', addon: utf8('addon'), files: [utf8('one'), utf8('two')] };

  it('of an image with one ramdisk have the PCR2 that real documents show', () => {
    const { pcr2 } = measure({ kernel: utf8('k'), cmdline: utf8('c'), ramdisks: [utf8('r')] });
    expect(toHex(pcr2).slice(0, 12)).toBe('21b9efbc1848');
  });

  it('cover what their registers cover, and nothing else', () => {
    const changes = (change: Partial<typeof parts>): readonly string[] => {
      const [before, after] = [measure(standInImage(parts)), measure(standInImage({ ...parts, ...change }))];
      return (['pcr0', 'pcr1', 'pcr2'] as const).filter((name) => toHex(before[name]) !== toHex(after[name]));
    };
    expect(changes({})).toEqual([]);
    expect(changes({ nodeVersion: 'v24.0.1' })).toEqual(['pcr0', 'pcr1']);
    expect(changes({ cmdline: 'enclave --debug' })).toEqual(['pcr0', 'pcr1']);
    expect(changes({ addon: utf8('other') })).toEqual(['pcr0', 'pcr1']);
    expect(changes({ files: [utf8('one'), utf8('2')] })).toEqual(['pcr0', 'pcr2']);
    // The lengths before each file keep bytes from moving between files.
    expect(changes({ files: [utf8('onet'), utf8('wo')] })).toEqual(['pcr0', 'pcr2']);
    expect(toHex(lengthPrefixed([utf8('ab')]))).toBe('000000026162');
  });
});

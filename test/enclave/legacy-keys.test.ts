/** What opens keys of v2: HKDF and scrypt against published vectors, the ciphers against each other, and the regions. */
import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hkdfSha256, SHA256_STATE_BYTES } from '@quantumvault/enclave/migration/hkdf-sha256.ts';
import { type LegacyCiphers, LegacyKeys } from '@quantumvault/enclave/migration/legacy-keys.ts';
import { nativeLegacyCiphers } from '@quantumvault/enclave/migration/native-ciphers.ts';
import type { Hash } from '@quantumvault/shared/brands.ts';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { loadNative } from '@quantumvault/shared/native.ts';
import sodium from 'sodium-native';
import { afterAll, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { nodeLegacyCiphers } from '../stack/enclave/node-ciphers.ts';
import { expectCode } from '../support/codes.ts';
import { sealedBox } from '../support/import-kit.ts';
import { migrationRow, parametersOf } from '../support/migration-kit.ts';
import { requireProgram } from '../support/requires.ts';
import { V2 } from '../support/v2.ts';
import { testVault } from '../support/vault.ts';
import { party } from '../support/wallet-kit.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

function hkdf(key: Uint8Array, salt: Uint8Array, info: Uint8Array): Buffer {
  const part = {
    block: Buffer.alloc(64),
    state: Buffer.alloc(SHA256_STATE_BYTES),
    digest: Buffer.alloc(32),
    extracted: Buffer.alloc(32),
  };
  const output = Buffer.alloc(32);
  hkdfSha256(sodium, key, salt, info, output, part);
  return output;
}

describe('HKDF-SHA-256', () => {
  // RFC 5869, appendix A: the first 32 bytes of each output.
  it.each([
    [
      'A.1',
      '0b'.repeat(22),
      '000102030405060708090a0b0c',
      'f0f1f2f3f4f5f6f7f8f9',
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf',
    ],
    ['A.3', '0b'.repeat(22), '', '', '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d'],
  ])('is that of RFC 5869, %s', (_, key, salt, info, expected) => {
    expect(hkdf(hex(key), hex(salt), hex(info)).toString('hex')).toBe(expected);
  });

  it('is Node’s, whatever the lengths', () => {
    for (const [keyBytes, saltBytes, infoBytes] of [
      [16, 0, 0],
      [256, 63, 1],
      [32, 64, 128],
      [33, 65, 192],
      [64, 256, 64],
    ] as const) {
      const [key, salt, info] = [randomBytes(keyBytes), randomBytes(saltBytes), randomBytes(infoBytes)];
      expect(hkdf(key, salt, info)).toEqual(Buffer.from(hkdfSync('sha256', key, salt, info, 32)));
    }
  });

  it('keeps a state of libsodium’s size', () => {
    expect((sodium as unknown as Record<string, number>)['crypto_hash_sha256_STATEBYTES']).toBe(SHA256_STATE_BYTES);
  });
});

const compiler = requireProgram('cc', 'gcc libc6-dev');
const folder = mkdtempSync(join(tmpdir(), 'qv-legacy-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function addon(): LegacyCiphers {
  const outFile = join(folder, 'qv-native.node');
  buildNative({ outFile });
  return nativeLegacyCiphers(loadNative(outFile));
}

const CIPHERS: readonly (readonly [string, () => LegacyCiphers])[] = [
  ['Node', () => nodeLegacyCiphers],
  ...(compiler === undefined ? [] : ([['the addon', addon]] as const)),
];

describe.each(CIPHERS)('ciphers of %s', (_, make) => {
  const ciphers = make();

  function sealed(plaintext: Uint8Array, key = randomBytes(32), iv = randomBytes(12)) {
    const cipher = createCipheriv('aes-256-gcm', key, iv);
    const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
    return { key, iv, ciphertext, tag: cipher.getAuthTag() };
  }

  it('open what AES-256-GCM sealed, of any length', () => {
    for (const length of [1, 15, 16, 17, 32, 64, 88, 128]) {
      const plaintext = randomBytes(length);
      const { key, iv, ciphertext, tag } = sealed(plaintext);
      const opened = Buffer.alloc(length);
      expect(ciphers.openGcm(key, iv, ciphertext, tag, opened)).toBe(true);
      expect(opened).toEqual(plaintext);
    }
  });

  it('open a published vector', () => {
    // McGrew and Viega, The Galois/Counter Mode of Operation, appendix B, test case 15.
    const key = hex('feffe9928665731c6d6a8f9467308308'.repeat(2));
    const plaintext = hex(
      'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255',
    );
    const ciphertext = hex(
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad',
    );
    const opened = Buffer.alloc(plaintext.length);
    expect(
      ciphers.openGcm(
        key,
        hex('cafebabefacedbaddecaf888'),
        ciphertext,
        hex('b094dac5d93471bdec1a502270e3cc6c'),
        opened,
      ),
    ).toBe(true);
    expect(opened).toEqual(plaintext);
  });

  it('leave nothing but zeros of what does not authenticate', () => {
    const { key, iv, ciphertext, tag } = sealed(randomBytes(64));
    const flipped = (bytes: Uint8Array): Uint8Array =>
      bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte));
    for (const [k, i, c, t] of [
      [flipped(key), iv, ciphertext, tag],
      [key, flipped(iv), ciphertext, tag],
      [key, iv, flipped(ciphertext), tag],
      [key, iv, ciphertext, flipped(tag)],
    ] as const) {
      const opened = Buffer.alloc(64, 7);
      expect(ciphers.openGcm(k, i, c, t, opened)).toBe(false);
      expect(opened).toEqual(Buffer.alloc(64));
    }
  });

  it('derive as RFC 7914 has it', () => {
    const key = Buffer.alloc(32);
    // Section 12: the first 32 bytes.
    expect(ciphers.scrypt(utf8('pleaseletmein'), utf8('SodiumChloride'), { n: 16384, r: 8, p: 1 }, key)).toBe(true);
    expect(key.toString('hex')).toBe('7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2');
    expect(ciphers.scrypt(utf8(''), utf8(''), { n: 16, r: 1, p: 1 }, key)).toBe(true);
    expect(key.toString('hex')).toBe('77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442');
  });

  it('take the largest cost that a statement may name', () => {
    const cost = { n: LIMITS.migrationScryptBytes / (128 * 8), r: 8, p: 1 };
    const key = Buffer.alloc(32);
    expect(ciphers.scrypt(randomBytes(32), randomBytes(16), cost, key)).toBe(true);
    expect(key.equals(Buffer.alloc(32))).toBe(false);
  });
});

describe.skipIf(compiler === undefined)('the addon', () => {
  it('refuses lengths that are none, and costs that are too high', () => {
    const outFile = join(folder, 'again.node');
    buildNative({ outFile });
    const native = loadNative(outFile);
    const bytes = (length: number): Uint8Array => new Uint8Array(length);
    const wrong = [
      [31, 12, 32, 16, 32],
      [32, 13, 32, 16, 32],
      [32, 12, 0, 16, 0],
      [32, 12, 1025, 16, 1025],
      [32, 12, 32, 12, 32],
      [32, 12, 32, 16, 31],
    ] as const;
    for (const [key, iv, ciphertext, tag, plaintext] of wrong)
      expect(() => native.legacyOpen(bytes(key), bytes(iv), bytes(ciphertext), bytes(tag), bytes(plaintext))).toThrow(
        RangeError,
      );
    expect(() => native.legacyScrypt(bytes(8), bytes(8), 16, 8, 1, bytes(31))).toThrow(RangeError);
    expect(() => native.legacyScrypt('secret' as never, bytes(8), 16, 8, 1, bytes(32))).toThrow(TypeError);
    const key = new Uint8Array(32).fill(9);
    for (const [n, r, p] of [
      [15, 8, 1],
      [2 ** 17, 8, 1],
      [0, 8, 1],
      [16, 0, 1],
      [16, 8, 0],
    ] as const)
      expect(native.legacyScrypt(bytes(8), bytes(8), n, r, p, key)).toBeLessThan(0);
    expect(key).toEqual(bytes(32));
  });
});

describe('the regions', () => {
  it('are accounted for, and hold one key until it is wiped', async () => {
    const vault = testVault();
    const wiped: number[] = [];
    const keys = new LegacyKeys(vault, nodeLegacyCiphers, (bytes) => void wiped.push(bytes));
    expect(keys.lockedKilobytes).toBe(8);
    const v2 = new V2();
    const hash = new Uint8Array(32).fill(5) as Hash;
    const box = sealedBox(concatBytes(hash, v2.secret), vault.importPublicKey);
    const row = migrationRow(v2.bot(), party().address, [party().address]);
    expect(keys.heldFor).toBeUndefined();
    keys.hold(box, hash, parametersOf(v2));
    expect(keys.isHeldFor(hash)).toBe(true);
    expect(keys.isHeldFor(new Uint8Array(32))).toBe(false);
    const begun = keys.begin(row, parametersOf(v2));
    expect(begun.wallet).toBe(row.wallet);
    vault.endWallet(begun.slot);
    // After each call that had a secret.
    expect(wiped.length).toBeGreaterThan(10);
    keys.wipe();
    keys.wipe();
    expect(keys.heldFor).toBeUndefined();
    await expectCode(() => keys.begin(row, parametersOf(v2)), 'migration_row_refused');
    // A box that does not open leaves nothing of one that did.
    keys.hold(box, hash, parametersOf(v2));
    await expectCode(() => keys.hold(box, new Uint8Array(32) as Hash, parametersOf(v2)), 'migration_refused');
    expect(keys.heldFor).toBeUndefined();
  });

  it('take a secret of 32 bytes alone where it is the key itself', async () => {
    const vault = testVault();
    const keys = new LegacyKeys(vault, nodeLegacyCiphers, () => undefined);
    const v2 = new V2({ serverKey: 'none' });
    const hash = new Uint8Array(32).fill(5) as Hash;
    const of = (secret: Uint8Array) => sealedBox(concatBytes(hash, secret), vault.importPublicKey);
    await expectCode(() => keys.hold(of(randomBytes(31)), hash, parametersOf(v2)), 'migration_refused');
    await expectCode(() => keys.hold(of(randomBytes(33)), hash, parametersOf(v2)), 'migration_refused');
    keys.hold(of(v2.secret), hash, parametersOf(v2));
    expect(keys.isHeldFor(hash)).toBe(true);
  });
});

import { createHmac, createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnvelope } from '@quantumvault/enclave/cms.ts';
import { lockedKilobytes } from '@quantumvault/enclave/locked-memory.ts';
import { verifyEd25519, type WalletKeys } from '@quantumvault/enclave/vault.ts';
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { concatBytes, fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { nodeRecipientKey } from '../stack/enclave/node-recipient.ts';
import { sealForRecipient } from '../stack/kms/envelope.ts';
import { recipientKey } from '../stack/support.ts';
import { expectCode } from '../support/codes.ts';
import { outsideKey, sealedBox } from '../support/import-kit.ts';
import { testVault } from '../support/vault.ts';

const VECTORS = join(import.meta.dirname, '..', 'vectors', 'cms');
const privateKey = createPrivateKey({
  key: readFileSync(join(VECTORS, 'edgebit-go-datakey32.rsa-pkcs8.der')),
  format: 'der',
  type: 'pkcs8',
});
const recipient = nodeRecipientKey(privateKey);
const envelope = parseEnvelope(new Uint8Array(readFileSync(join(VECTORS, 'edgebit-go-datakey32.cms.bin'))));
/** The plaintext of that public vector. */
const EXECUTION_KEY = fromHex('3be82c440f06cb4d44c4c2ec3bf30d472407d3a9125aa4c1842b98f6bdd26e41');
const SALT = new Uint8Array(32).fill(7);
const ASSOCIATED = utf8('associated');

const vault = testVault();
const withKeys = <T>(use: (keys: WalletKeys) => T, salt = SALT): T =>
  vault.withWalletKeys(recipient, envelope, salt, use);

/** HMAC-SHA-512 cut to 32 bytes, which is libsodium's crypto_auth, by another implementation. */
const crypto_auth = (key: Uint8Array, input: Uint8Array): Uint8Array =>
  new Uint8Array(createHmac('sha512', key).update(input).digest().subarray(0, 32));

describe('the vault', () => {
  it('locks its memory', () => {
    expect(lockedKilobytes()).toBeGreaterThan(0);
  });

  it('signs as boot, verifiably', () => {
    const message = utf8('a leaf');
    expect(nacl.sign.detached.verify(message, vault.signAsBoot(message), vault.bootPublicKey)).toBe(true);
    expect(testVault().bootPublicKey).not.toEqual(vault.bootPublicKey);
  });

  it('derives by HKDF (RFC 5869) over HMAC-SHA-512-256, as another implementation does', () => {
    const extracted = crypto_auth(SALT, EXECUTION_KEY);
    const policyKey = crypto_auth(extracted, Buffer.concat([utf8('qv/v1/policy'), Uint8Array.of(1)]));
    expect(withKeys((keys) => keys.policyMac(ASSOCIATED))).toEqual(crypto_auth(policyKey, ASSOCIATED));
  });

  it('makes wallets whose signatures verify, also by tweetnacl', () => {
    const { slot, wallet } = vault.beginWallet();
    const sealed = withKeys((keys) => keys.sealPendingSeed(slot, ASSOCIATED));
    vault.endWallet(slot);
    const message = utf8('a transaction');
    const signature = withKeys((keys) => keys.sign(sealed, ASSOCIATED, wallet, message));
    expect(nacl.sign.detached.verify(message, signature, addressBytes(wallet))).toBe(true);
    expect(verifyEd25519(signature, message, addressBytes(wallet))).toBe(true);
  });

  it('refuses a seed that is changed, of another wallet, under another salt or other data', async () => {
    const one = vault.beginWallet();
    const two = vault.beginWallet();
    const sealed = withKeys((keys) => keys.sealPendingSeed(one.slot, ASSOCIATED));
    vault.endWallet(one.slot);
    vault.endWallet(two.slot);
    const sign = (blob: Uint8Array, associated: Uint8Array, wallet = one.wallet, salt = SALT) =>
      withKeys((keys) => keys.sign(blob, associated, wallet, ASSOCIATED), salt);
    for (let at = 0; at < sealed.length; at++) {
      const changed = sealed.map((byte, index) => (index === at ? byte ^ 1 : byte));
      await expectCode(() => sign(changed, ASSOCIATED), 'sealed_seed_invalid');
    }
    await expectCode(() => sign(sealed.subarray(0, 71), ASSOCIATED), 'sealed_seed_invalid');
    await expectCode(() => sign(new Uint8Array(0), ASSOCIATED), 'sealed_seed_invalid');
    await expectCode(() => sign(sealed, utf8('other')), 'sealed_seed_invalid');
    await expectCode(() => sign(sealed, ASSOCIATED, two.wallet), 'sealed_seed_invalid');
    await expectCode(() => sign(sealed, ASSOCIATED, one.wallet, new Uint8Array(32)), 'sealed_seed_invalid');
    expect(sign(sealed, ASSOCIATED)).toHaveLength(64);
  });

  it('seals an execution key under a second one, and opens it from there to the same keys', async () => {
    const second = new Uint8Array(32).fill(9);
    const { spki } = recipient;
    const under = parseEnvelope(sealForRecipient(second, spki, {}, new Uint8Array(32).fill(3)));
    const sealed = vault.sealUnder(recipient, envelope, under, ASSOCIATED);
    expect(sealed).toHaveLength(LIMITS.sealedExecutionKeyBytes);
    const mac = withKeys((keys) => keys.policyMac(ASSOCIATED));
    const bySecond = (blob: Uint8Array, associated: Uint8Array, of = under) =>
      vault.withWalletKeys(recipient, of, SALT, (keys) => keys.policyMac(ASSOCIATED), {
        sealed: { sealed: blob, associated },
      });
    expect(bySecond(sealed, ASSOCIATED)).toEqual(mac);
    for (let at = 0; at < sealed.length; at++) {
      const changed = sealed.map((byte, index) => (index === at ? byte ^ 1 : byte));
      await expectCode(() => bySecond(changed, ASSOCIATED), 'key_blob_invalid');
    }
    await expectCode(() => bySecond(sealed, utf8('other')), 'key_blob_invalid');
    // Under the execution key itself, say, because the two envelopes were exchanged.
    await expectCode(() => bySecond(sealed, ASSOCIATED, envelope), 'key_blob_invalid');
    expect(bySecond(sealed, ASSOCIATED)).toEqual(mac);
    // The same key never has the same seal twice.
    expect(vault.sealUnder(recipient, envelope, under, ASSOCIATED)).not.toEqual(sealed);
    const rowKey = vault.openRowKey(recipient, under, { sealed, associated: ASSOCIATED });
    expect(rowKey.use((bytes) => Uint8Array.from(bytes))).toEqual(EXECUTION_KEY);
    rowKey.wipe();
  });

  it('seals nothing when one of the two envelopes does not open', async () => {
    const foreign = parseEnvelope(sealForRecipient(new Uint8Array(32), recipientKey().spki, {}, new Uint8Array(32)));
    await expectCode(() => vault.sealUnder(recipient, envelope, foreign, ASSOCIATED), 'kms_response_invalid');
    await expectCode(() => vault.sealUnder(recipient, foreign, envelope, ASSOCIATED), 'kms_response_invalid');
  });

  it('seals state so that any change shows', () => {
    const plaintext = utf8('state');
    const blob = withKeys((keys) => keys.sealState(plaintext, ASSOCIATED));
    withKeys((keys) => {
      expect(keys.openState(blob, ASSOCIATED)).toEqual(plaintext);
      expect(keys.openState(blob, utf8('other'))).toBeUndefined();
      expect(keys.openState(blob.subarray(1), ASSOCIATED)).toBeUndefined();
      expect(keys.openState(new Uint8Array(3), ASSOCIATED)).toBeUndefined();
      for (let at = 0; at < blob.length; at++) {
        const changed = blob.map((byte, index) => (index === at ? byte ^ 0x80 : byte));
        expect(keys.openState(changed, ASSOCIATED)).toBeUndefined();
      }
    });
    // Two seals of the same state share no nonce.
    expect(withKeys((keys) => keys.sealState(plaintext, ASSOCIATED))).not.toEqual(blob);
  });

  it('gives no key out of the call that opened it', () => {
    let escaped: WalletKeys | undefined;
    withKeys((keys) => {
      escaped = keys;
    });
    expect(() => escaped?.policyMac(ASSOCIATED)).toThrow('after their call');
    expect(() => escaped?.sealState(ASSOCIATED, ASSOCIATED)).toThrow('after their call');
  });

  it('wipes and closes also when its user throws', () => {
    expect(() =>
      withKeys(() => {
        throw new Error('user fault');
      }),
    ).toThrow('user fault');
    expect(withKeys((keys) => keys.policyMac(ASSOCIATED))).toHaveLength(32);
  });

  it('bounds wallets under way, and takes slots back', async () => {
    const begun = Array.from({ length: LIMITS.pendingWalletCreations }, () => vault.beginWallet());
    await expectCode(() => vault.beginWallet(), 'overloaded');
    for (const { slot } of begun) vault.endWallet(slot);
    const again = vault.beginWallet();
    vault.endWallet(again.slot);
  });

  describe('importing', () => {
    const key = outsideKey();
    const statement = sha256(utf8('a statement'));
    const box = (plaintext: Uint8Array) => sealedBox(plaintext, vault.importPublicKey);
    const sealed = box(concatBytes(statement, key.seed));

    it('opens what another implementation sealed, and signs with it', () => {
      const { slot, wallet } = vault.beginImport(sealed, statement, key.address);
      expect(wallet).toBe(key.address);
      const seed = withKeys((keys) => keys.sealPendingSeed(slot, ASSOCIATED));
      vault.endWallet(slot);
      const message = utf8('a transaction');
      // Ed25519 is deterministic: the very signature that the owner would have made.
      expect(withKeys((keys) => keys.sign(seed, ASSOCIATED, wallet, message))).toEqual(key.sign(message));
    });

    it('refuses a changed box, another statement, another key and another boot alike, and keeps no slot', async () => {
      const refused = async (bytes: Uint8Array, hash = statement, wallet = key.address, by = vault) => {
        const error = await expectCode(() => by.beginImport(bytes, hash, wallet), 'import_refused');
        expect(error.facts).toEqual({ path: 'sealed' });
      };
      for (let at = 0; at < sealed.length; at++)
        await refused(sealed.map((byte, index) => (index === at ? byte ^ 1 : byte)));
      await refused(new Uint8Array(LIMITS.sealedImportBytes));
      await refused(sealed, sha256(utf8('another statement')));
      await refused(sealed, statement, outsideKey().address);
      await refused(sealed, statement, key.address, testVault());
      await refused(box(concatBytes(key.seed, statement)));
      // A box that does not open is no key of zeros.
      await refused(new Uint8Array(LIMITS.sealedImportBytes), statement, outsideKey(new Uint8Array(32)).address);
      const { slot } = vault.beginImport(sealed, statement, key.address);
      vault.endWallet(slot);
    });

    it('draws another key in each boot', () => {
      expect(testVault().importPublicKey).not.toEqual(vault.importPublicKey);
    });
  });
});

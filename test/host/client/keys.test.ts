/** The SDK's signers. */
import { type KeyPair, ownerFromSigner, signerFromKeyPair } from '@quantumvault/host/client/client.ts';
import { verifyEd25519 } from '@quantumvault/host/client/keys.ts';
import { signerFromSecretKey } from '@quantumvault/host/client/node.ts';
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { createKeyPairFromBytes } from '@solana/kit';
import { Keypair } from '@solana/web3.js';
import nacl from 'tweetnacl';
import { describe, expect, test } from 'vitest';

describe('signerFromSecretKey', () => {
  test('signs like web3.js’s key and tweetnacl, byte for byte', async () => {
    for (let count = 0; count < 16; count++) {
      const keypair = Keypair.generate();
      const signer = signerFromSecretKey(keypair.secretKey);
      const message = crypto.getRandomValues(new Uint8Array(count * 7));
      expect(signer.address).toBe(keypair.publicKey.toBase58());
      expect(await signer.sign(message)).toEqual(nacl.sign.detached(message, keypair.secretKey));
      expect(verifyEd25519(await signer.sign(message), message, addressBytes(signer.address))).toBe(true);
    }
  });

  test('keeps working when the caller wipes its buffer', async () => {
    const { secretKey, publicKey } = nacl.sign.keyPair();
    const signer = signerFromSecretKey(secretKey);
    secretKey.fill(0);
    expect(verifyEd25519(await signer.sign(utf8('x')), utf8('x'), publicKey)).toBe(true);
  });

  test('refuses other lengths and halves that do not belong together', () => {
    const { secretKey } = nacl.sign.keyPair();
    expect(() => signerFromSecretKey(secretKey.subarray(0, 32))).toThrow(RangeError);
    const mixed = Uint8Array.from(secretKey);
    mixed.set(nacl.sign.keyPair().publicKey, 32);
    expect(() => signerFromSecretKey(mixed)).toThrow('do not match');
  });
});

describe('ownerFromSigner', () => {
  test('shows the statement before it signs, and does not sign when the owner objects', async () => {
    const { secretKey, publicKey } = nacl.sign.keyPair();
    const shown: string[] = [];
    const owner = ownerFromSigner(signerFromSecretKey(secretKey), (text) => {
      shown.push(text);
      if (text === 'no') throw new Error('not agreed');
    });
    const signature = await owner.signStatement('yes – ä');
    expect(verifyEd25519(signature, utf8('yes – ä'), publicKey)).toBe(true);
    await expect(owner.signStatement('no')).rejects.toThrow('not agreed');
    expect(shown).toEqual(['yes – ä', 'no']);
  });
});

describe('signerFromKeyPair', () => {
  const pair = async () => (await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify'])) as KeyPair;

  test('signs with a key that nobody can read', async () => {
    const keys = await pair();
    const signer = await signerFromKeyPair(keys);
    const publicBytes = new Uint8Array(await crypto.subtle.exportKey('raw', keys.publicKey));
    expect(addressBytes(signer.address)).toEqual(publicBytes);
    const bytes = utf8('some request');
    expect(verifyEd25519(await signer.sign(bytes), bytes, publicBytes)).toBe(true);
    // A view into something larger is signed as the view.
    const view = utf8('xxsome requestxx').subarray(2, 14);
    expect(await signer.sign(view)).toEqual(await signer.sign(bytes));
  });

  test('is the signer that the same key has as bytes, through kit', async () => {
    const { secretKey } = nacl.sign.keyPair();
    const keys = await createKeyPairFromBytes(secretKey);
    const [byKeys, byBytes] = [await signerFromKeyPair(keys), signerFromSecretKey(secretKey)];
    expect(byKeys.address).toBe(byBytes.address);
    expect(await byKeys.sign(utf8('x'))).toEqual(await byBytes.sign(utf8('x')));
  });

  test('refuses keys that do not belong together, and other keys', async () => {
    const [one, two] = [await pair(), await pair()];
    await expect(signerFromKeyPair({ privateKey: one.privateKey, publicKey: two.publicKey })).rejects.toThrow(
      RangeError,
    );
    const other = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify']);
    await expect(signerFromKeyPair(other)).rejects.toThrow();
  });
});

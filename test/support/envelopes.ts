/** Statements in the envelopes that wallets sign, built by kit and by hand rather than by the product. */
import type { Address } from '@quantumvault/shared/brands.ts';
import { concatBytes, fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import {
  address,
  getOffchainMessageV0Encoder,
  getOffchainMessageV1Encoder,
  type OffchainMessageV0,
  offchainMessageApplicationDomain,
  offchainMessageContentUtf8Of1232BytesMax,
} from '@solana/kit';
import type { Party } from './wallet-kit.ts';

export type Envelope = (text: string, owner: Address) => Uint8Array;

const NO_APPLICATION = '11111111111111111111111111111111';
const signatories = (signers: readonly string[]) => signers.map((signer) => ({ address: address(signer) }));

export function version1(text: string, ...signers: readonly string[]): Uint8Array {
  const message = { version: 1 as const, content: text, requiredSignatories: signatories(signers) };
  return new Uint8Array(getOffchainMessageV1Encoder().encode(message));
}

export function version0(text: string, signers: readonly string[], application = NO_APPLICATION): Uint8Array {
  const message: OffchainMessageV0 = {
    version: 0,
    applicationDomain: offchainMessageApplicationDomain(application),
    content: offchainMessageContentUtf8Of1232BytesMax(text),
    requiredSignatories: signatories(signers),
  };
  return new Uint8Array(getOffchainMessageV0Encoder().encode(message));
}

/** As the Solana CLI does it, which knows neither application nor signers. */
export function cli(text: string): Uint8Array {
  const { length } = utf8(text);
  const header = Uint8Array.of(0, 1, length & 0xff, length >> 8);
  return concatBytes(fromHex('ff736f6c616e61206f6666636861696e'), header, utf8(text));
}

/** All that are accepted, by name. */
export const ENVELOPES: Readonly<Record<string, Envelope>> = {
  plain: (text) => utf8(text),
  'version 1': (text, owner) => version1(text, owner),
  'version 0': (text, owner) => version0(text, [owner]),
  'Solana CLI': (text) => cli(text),
};

/** The owner, whose wallet puts into this envelope whatever it is asked to sign. */
export function enveloped(owner: Party, envelope: Envelope): Party {
  return {
    address: owner.address,
    sign: (message) => owner.sign(envelope(new TextDecoder().decode(message), owner.address)),
  };
}

/**
 * The bytes that an owner's wallet may have signed for a statement. Ordinary wallets sign a message as it is;
 * hardware wallets and the Solana CLI put it into an envelope first, so that it can never be a transaction
 * (off-chain message signing, "OCMS"). Accepted are exactly:
 *
 *   plain       the statement
 *   version 1   domain[16] 1 signers[u8 = 1] owner[32] statement                  (sRFC 3, `solana:signOffchainMessage`)
 *   version 0   domain[16] 0 application[32 × 0] format[u8 = 1] signers[u8 = 1] owner[32] length[u16le] statement
 *               (the Agave proposal as hardware wallets implement it)
 *   CLI         domain[16] 0 format[u8 = 1] length[u16le] statement               (`solana sign-offchain-message`)
 *
 * Format 1 is UTF-8 of limited length: format 0 excludes the line breaks that every statement has. No application
 * domain other than the absent one, and no second signer: what else was signed with it would be unknown.
 *
 * No accepted bytes are a transaction's: the domain starts with 0xff, which is no version, and a statement with `qv/`,
 * which as a legacy header would claim more readonly signers than signers.
 */
import { type Address, addressBytes, type Signature } from '../brands.ts';
import { concatBytes, utf8 } from '../bytes.ts';

const DOMAIN = concatBytes(Uint8Array.of(0xff), utf8('solana offchain'));
/** Checks an Ed25519 signature. */
type Verify = (signature: Signature, message: Uint8Array, publicKey: Uint8Array) => boolean;

const LIMITED_UTF8 = 1;
const ONE_SIGNER = 1;
const NO_APPLICATION = new Uint8Array(32);

/** The plain statement first: it is what most owners sign. */
export function ownerMessages(statement: string, owner: Address): readonly Uint8Array[] {
  const text = utf8(statement);
  const signer = addressBytes(owner);
  // LIMITS.statementBytes is far below what two bytes hold, and what hardware wallets take.
  const length = Uint8Array.of(text.length & 0xff, text.length >> 8);
  return [
    text,
    concatBytes(DOMAIN, Uint8Array.of(1, ONE_SIGNER), signer, text),
    concatBytes(
      DOMAIN,
      Uint8Array.of(0),
      NO_APPLICATION,
      Uint8Array.of(LIMITED_UTF8, ONE_SIGNER),
      signer,
      length,
      text,
    ),
    concatBytes(DOMAIN, Uint8Array.of(0, LIMITED_UTF8), length, text),
  ];
}

/** Whether `owner` signed `statement`, in any of the forms above. */
export function isSignedByOwner(signature: Signature, statement: string, owner: Address, verify: Verify): boolean {
  const key = addressBytes(owner);
  return ownerMessages(statement, owner).some((message) => verify(signature, message, key));
}

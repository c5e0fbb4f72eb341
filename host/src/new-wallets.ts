/**
 * What a creation and an import have in common: one wallet for one statement of an owner, stored before anybody hears of
 * it, and the same reply for the same statement, now and after years.
 */
import type { Address, Hash } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import type { NewWallet } from '@quantumvault/shared/protocol/message-parts.ts';
import type { AppDeps } from './app.ts';
import { leafRecord } from './store/store.ts';
import { receiptJson, signedBytesJson } from './wire-json.ts';

export type NewWalletDeps = Pick<AppDeps, 'session' | 'store' | 'records' | 'now'>;

export interface OwnersStatement {
  readonly owner: Address;
  /** 16 bytes of his, which stand for one statement. */
  readonly nonce: Uint8Array;
  readonly hash: Hash;
}

/** What the enclave does for the statement; `onLate` is for an answer after the host has given up. */
export interface Asked {
  readonly ask: (options: { onLate: (late: NewWallet | Error) => void }) => Promise<NewWallet>;
  /** Where the wallet has a row already that this statement did not bring about. */
  readonly ifTaken: ErrorCode;
}

/** The reply as JSON text. @throws QvError nonce_reused, row_tampered, not_initialised, store_*, enclave_*, `ifTaken` */
export async function newWallet(
  deps: NewWalletDeps,
  statement: OwnersStatement,
  { ask, ifTaken }: Asked,
): Promise<string> {
  // Without the row key the wallet could not be stored: better no wallet than one nobody has a row of.
  deps.session.requireRowMac();
  deps.records.requireRoom();
  const created = await ask({
    onLate: (late) => {
      // Its wallet is not stored: the owner never saw it, and repeating the statement brings the same one.
      if (!(late instanceof Error)) deps.records.leaf(late.receipt);
    },
  });
  const json = await keep(deps, statement, created);
  if (json !== undefined) return json;
  // The same statement arrived twice at once; the other one was first.
  const known = await knownReply(deps, statement);
  if (known === undefined) throw new QvError(ifTaken, { path: 'wallet' });
  return known;
}

/** @throws QvError nonce_reused, row_tampered */
export async function knownReply(
  { session, store }: Pick<NewWalletDeps, 'session' | 'store'>,
  { owner, nonce, hash }: OwnersStatement,
): Promise<string | undefined> {
  const { rowKeys } = session;
  return await rowKeys.reading(async () => {
    const known = await store.getCreation(owner, nonce);
    if (known === undefined) return undefined;
    if (!equalBytes(known.statementHash, hash)) throw new QvError('nonce_reused', { path: 'nonce' });
    // Unsealed before anybody sees it: an edited reply would name somebody else's wallet.
    return rowKeys.require().openCreation(known).reply;
  });
}

/** Undefined when somebody else was first. */
async function keep(
  deps: NewWalletDeps,
  { owner, nonce, hash: statementHash }: OwnersStatement,
  { wallet, blobs, stateVersion, certificate, receipt }: NewWallet,
): Promise<string | undefined> {
  const leaf = leafRecord(receipt);
  const json = JSON.stringify({
    wallet,
    certificate: signedBytesJson(certificate),
    receipt: receiptJson(receipt),
    boot: leaf.boot,
  });
  const { rowKeys } = deps.session;
  const row = {
    wallet,
    owner,
    salt: blobs.salt,
    executionKey: blobs.executionKey,
    sealedSeed: blobs.sealedSeed,
    ...(blobs.second && { second: blobs.second }),
    sealedState: blobs.sealedState,
    stateVersion,
    frozen: false,
    retired: false,
    generation: 0,
    createdAt: deps.now(),
  };
  try {
    const outcome = await rowKeys.writing(async () => {
      const rowMac = rowKeys.require();
      const creation = rowMac.sealCreation({ owner, nonce, statementHash, wallet, reply: json });
      return await deps.store.insertWallet({ row: rowMac.seal(row), creation, leaf });
    });
    return outcome === 'inserted' ? json : undefined;
  } catch (error) {
    if (codeOf(error) === 'store_unavailable' || codeOf(error) === 'overloaded') deps.records.leaf(receipt);
    throw error;
  }
}

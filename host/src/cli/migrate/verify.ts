/**
 * Whether the rows of a list became wallets: what the database has of each, and what the enclave signed for it. The
 * database is the host's word; certificates are the enclave's.
 */
import type { PcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import type { BootId } from '@quantumvault/shared/brands.ts';
import { codeOf, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { decodeLeaf, walletCertificateCodec } from '@quantumvault/shared/evidence/leaf.ts';
import type { MigrationRow } from '@quantumvault/shared/evidence/migration.ts';
import { verifyBootAttestation, verifyCertificate, verifyReceipt } from '@quantumvault/shared/evidence/verify.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { verifyEd25519 } from '../../client/keys.ts';
import { type DatabaseCopy, formsOf, occursIn, type StoredReply } from './database.ts';

export interface VerifyOptions {
  readonly copy: DatabaseCopy;
  readonly rows: readonly MigrationRow[];
  readonly deployment: string;
  readonly trust: { readonly pcrSets: readonly PcrSet[]; readonly unsafeTrustedRootDer?: Uint8Array };
  readonly onProgress: (done: number, total: number) => void;
}

export interface WalletFault {
  readonly id: string;
  readonly wallet: string;
  readonly code: ErrorCode;
  readonly path?: string;
  readonly value?: string;
}

/** What does not hold, of every row. */
export async function verifyWallets({
  copy,
  rows,
  deployment,
  trust,
  onProgress,
}: VerifyOptions): Promise<readonly WalletFault[]> {
  const boots = new Boots(copy, trust);
  const faults: WalletFault[] = [];
  for (const [done, row] of rows.entries()) {
    try {
      requireRow(copy, row);
      await requireCertificate(copy.replies(row.wallet), row, deployment, boots);
    } catch (error) {
      const { path, value } = error instanceof QvError ? error.facts : {};
      const facts = { ...(path !== undefined && { path }), ...(value !== undefined && { value }) };
      faults.push({ id: row.id, wallet: row.wallet, code: codeOf(error), ...facts });
    }
    onProgress(done + 1, rows.length);
  }
  return faults;
}

/** @throws QvError wallet_unknown, wallet_owner_mismatch, evidence_mismatch */
function requireRow(copy: DatabaseCopy, { wallet, owner }: MigrationRow): void {
  const stored = copy.wallet(wallet);
  if (stored === undefined) throw new QvError('wallet_unknown', { path: 'wallet' });
  if (stored.owner !== owner) throw new QvError('wallet_owner_mismatch', { path: 'owner', value: stored.owner });
  if (stored.salt.length !== LIMITS.saltBytes || copy.countOf('salt', stored.salt) !== 1)
    throw new QvError('evidence_mismatch', { path: 'salt', value: 'not its own' });
  if (copy.countOf('execution_key', stored.executionKey) !== 1)
    throw new QvError('evidence_mismatch', { path: 'executionKey', value: 'not its own' });
}

async function requireCertificate(
  replies: readonly StoredReply[],
  { wallet, owner, requesters }: MigrationRow,
  deployment: string,
  boots: Boots,
): Promise<void> {
  const [reply] = replies;
  if (reply === undefined) throw new QvError('evidence_mismatch', { path: 'certificate', value: 'none' });
  const { certificate, receipt } = reply;
  const { boot, nonce } = decodeAs(walletCertificateCodec, certificate.bytes, 'certificate');
  await boots.require(boot);
  const expected = { deployment, boot, wallet, owner, requesters, nonce, imported: true, migrated: true } as const;
  verifyCertificate(certificate, receipt, expected, verifyEd25519);
}

/** Boots by their leaf 0, each judged once. */
class Boots {
  readonly #copy: DatabaseCopy;
  readonly #trust: VerifyOptions['trust'];
  readonly #judged = new Map<BootId, Promise<void>>();

  constructor(copy: DatabaseCopy, trust: VerifyOptions['trust']) {
    this.#copy = copy;
    this.#trust = trust;
  }

  /** @throws QvError attestation_*, evidence_* */
  require(boot: BootId): Promise<void> {
    const judged = this.#judged.get(boot) ?? this.#judge(boot);
    this.#judged.set(boot, judged);
    return judged;
  }

  async #judge(boot: BootId): Promise<void> {
    const record = this.#copy.bootRecord(boot);
    if (record === undefined)
      throw new QvError('evidence_mismatch', { path: 'boot', value: 'no leaf 0 in the database' });
    verifyReceipt(record, { boot, kind: 'boot' }, verifyEd25519);
    const { attestation } = decodeLeaf(record.leaf);
    if (attestation === undefined) throw new QvError('evidence_mismatch', { path: 'leaf.attestation' });
    await verifyBootAttestation(attestation, { ...this.#trust, mode: { kind: 'replay' }, boot });
  }
}

/** Of fewer bytes chance finds some anywhere. */
const SALT_MIN_BYTES = 8;

/** @returns undefined when the salt is too short to be looked for */
export async function saltOccurs(copy: DatabaseCopy, salt: Uint8Array): Promise<boolean | undefined> {
  return salt.length < SALT_MIN_BYTES ? undefined : await occursIn(copy.path, formsOf(salt));
}

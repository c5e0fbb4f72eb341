/**
 * The leases that take over what a boot left behind, from its audited log (design 8): the version of each wallet's last
 * leaf, below which no state is taken, the freezes that hold, and the log's state by which both are known.
 */
import type { Address, BootId, TimeMs } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { AuditReport, Estate, HeldWallet } from '@quantumvault/shared/evidence/audit/types.ts';
import { FLEET, isOfWallet, touches, walletScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import type { HeldFreeze, Lease } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatNote, type NoteSignature, parseNote } from '@quantumvault/shared/tlog/note.ts';
import type { VerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';

export type LeaseParties = Pick<Lease, 'deployment' | 'predecessor' | 'successor' | 'sumsProven'> & {
  readonly notAfter: TimeMs;
};

export interface Wanted {
  /** Only these wallets; without, all that the predecessor did not give to somebody else. */
  readonly named?: readonly Address[] | undefined;
  /** Of which the log says nothing, because its end was lost: no version of them is too old. */
  readonly unrecorded?: readonly Address[];
}

/**
 * @throws QvError wallet_unknown naming the first that the predecessor does not hold; evidence_mismatch naming one that
 * is said to be unrecorded and is not
 */
export function leasesOf(
  estate: Estate,
  parties: LeaseParties,
  witnesses: readonly VerifierKey[],
  { named, unrecorded = [] }: Wanted = {},
): readonly Lease[] {
  const { notAfter, ...rest } = parties;
  const checkpoint = fittingNote(estate.checkpoint, witnesses);
  const recorded = estate.wallets.find(({ wallet }) => unrecorded.includes(wallet));
  if (recorded !== undefined)
    throw new QvError('evidence_mismatch', { path: recorded.wallet, value: 'it is recorded' });
  const wallets = [...chosen(estate, parties, named), ...unrecorded.map((wallet) => ({ wallet, version: 0n }))];
  return groups(wallets, estate.freezes).map(({ wallets, freezes }) => ({
    ...rest,
    wallets: wallets.map(({ wallet, version }) => ({ wallet, version })),
    freezes,
    checkpoint,
    notAfter,
  }));
}

function chosen({ wallets }: Estate, { successor }: LeaseParties, named?: readonly Address[]): readonly HeldWallet[] {
  // One that was released to another boot is that one's to take, unless somebody asks for it by name.
  if (named === undefined) return wallets.filter(({ releasedTo = successor }) => releasedTo === successor);
  const held = new Map(wallets.map((wallet) => [wallet.wallet, wallet]));
  return named.map((wallet) => {
    const found = held.get(wallet);
    if (found === undefined) throw new QvError('wallet_unknown', { path: wallet, value: 'not held by that boot' });
    return found;
  });
}

interface Group {
  readonly wallets: HeldWallet[];
  readonly freezes: HeldFreeze[];
}

/** As many wallets as one lease names, with no more freezes than it carries. */
function groups(wallets: readonly HeldWallet[], freezes: readonly HeldFreeze[]): readonly Group[] {
  const shared = freezes.filter(({ scope }) => !isOfWallet(scope));
  const byScope = Map.groupBy(freezes, ({ scope }) => scope);
  const result: Group[] = [];
  for (const held of wallets) {
    // Of more than fit those that stay hold for the others, as in the enclave.
    const own = (byScope.get(walletScope(held.wallet)) ?? []).slice(0, LIMITS.carriedFreezes - 1);
    let group = result.at(-1);
    const isFull =
      group === undefined ||
      group.wallets.length >= LIMITS.leaseWallets ||
      group.freezes.length + own.length > LIMITS.carriedFreezes;
    if (isFull || group === undefined) {
      group = { wallets: [], freezes: fitting(shared, own.length) };
      result.push(group);
    }
    group.wallets.push(held);
    group.freezes.push(...own);
  }
  return result;
}

/** What does not fit becomes a freeze of everything, as in the enclave; under the fleet's own id where it has one. */
function fitting(shared: readonly HeldFreeze[], more: number): HeldFreeze[] {
  if (shared.length + more <= LIMITS.carriedFreezes) return [...shared];
  const fleet = shared.find(({ scope }) => scope === FLEET)?.freezeId;
  return [{ scope: FLEET, freezeId: fleet ?? crypto.getRandomValues(new Uint8Array(16)) }];
}

/** The log's own signature, and of the cosignatures those that were asked for first, as many as fit. */
function fittingNote(note: Uint8Array, witnesses: readonly VerifierKey[]): Uint8Array {
  const { text, signatures } = parseNote(note);
  const [origin = ''] = text.split('\n');
  const isKnown = ({ name, keyId }: NoteSignature): boolean =>
    witnesses.some((key) => key.name === name && key.id === keyId);
  const ranked = signatures.toSorted((a, b) => rank(b) - rank(a));
  function rank(signature: NoteSignature): number {
    if (signature.name === origin) return 2;
    return isKnown(signature) ? 1 : 0;
  }
  let fitted = formatNote({ text, signatures: ranked.slice(0, 1) });
  for (let count = 2; count <= ranked.length; count++) {
    const more = formatNote({ text, signatures: ranked.slice(0, count) });
    if (more.length > LIMITS.predecessorNoteBytes) break;
    fitted = more;
  }
  return fitted;
}

/**
 * Whether leases say no less than the log does: neither an older version of a wallet, nor a freeze left out.
 * @throws QvError evidence_mismatch naming the wallet or scope
 */
export function requireCovered(leases: readonly Lease[], estate: Estate): void {
  const known = new Map(estate.wallets.map(({ wallet, version }) => [wallet, version]));
  for (const { wallets, freezes } of leases) {
    const carried = new Set(freezes.map(freezeName));
    const most = Math.max(...wallets.map(({ wallet }) => touching(estate, wallet).length));
    // Only where they do not fit, and only those that operators end.
    const isWhole = most > LIMITS.carriedFreezes && freezes.some(({ scope }) => scope === FLEET);
    for (const { wallet, version } of wallets) {
      const logged = known.get(wallet);
      if (logged !== undefined && version < logged)
        throw new QvError('evidence_mismatch', { path: wallet, value: `version ${version}, the log has ${logged}` });
      const scope = walletScope(wallet);
      const isFull = freezes.filter((held) => held.scope === scope).length >= LIMITS.carriedFreezes - 1;
      const missing = touching(estate, wallet).find(
        (held) => !carried.has(freezeName(held)) && !(isOfWallet(held.scope) ? isFull : isWhole),
      );
      if (missing !== undefined)
        throw new QvError('evidence_mismatch', { path: missing.scope, value: 'the freeze is left out' });
    }
  }
}

const touching = ({ freezes }: Estate, wallet: Address): readonly HeldFreeze[] =>
  freezes.filter(({ scope }) => touches(scope, wallet));

/**
 * Of what a log knows, nobody but its last holder is leased: whoever had it before may have left an old state behind,
 * and whoever has it now may live.
 * @throws QvError evidence_mismatch naming a wallet and the boot that has it
 */
export function requireNotElsewhere(
  wallets: readonly Address[],
  predecessor: BootId,
  { boots, estateOf }: Pick<AuditReport, 'boots' | 'estateOf'>,
): void {
  const own = new Set(estateOf(predecessor)?.wallets.map(({ wallet }) => wallet));
  const missing = new Set(wallets.filter((wallet) => !own.has(wallet)));
  if (missing.size === 0) return;
  for (const { boot } of boots)
    for (const { wallet } of estateOf(boot)?.wallets ?? [])
      if (missing.has(wallet))
        throw new QvError('evidence_mismatch', { path: wallet, value: `the log says that ${boot} has it` });
}

const freezeName = ({ scope, freezeId }: HeldFreeze): string => `${scope} ${toHex(freezeId)}`;

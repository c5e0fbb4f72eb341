/** What an auditor brings along, checked before anything is read. */
import { requireExpectations } from '../../attestation/expectations.ts';
import { toBase58 } from '../../base58.ts';
import { addressBytes, type BootId, type Hash } from '../../brands.ts';
import { toHex } from '../../bytes.ts';
import { QvError } from '../../errors.ts';
import { sha256 as pureSha256 } from '../../sha256.ts';
import { parseCheckpoint } from '../../tlog/checkpoint.ts';
import { parseNote } from '../../tlog/note.ts';
import { checkDistinct } from '../../tlog/verifier-key.ts';
import { decodeLeaf, leafHash, type Receipt, type VerifyEd25519 } from '../leaf.ts';
import { logOriginOf, openNote, sizeAndRoot } from './checkpoints.ts';
import type { NamedState } from './predecessors.ts';
import type { Checklist } from './report.ts';
import { sameBytes } from './same-bytes.ts';
import { decodeSeen, type Seen } from './seen.ts';
import type { AuditDeps, AuditExpectations } from './types.ts';

export interface AuditInput {
  readonly seen: Seen | undefined;
  readonly since: readonly NamedState[];
  /** Of `seen` and `since`. */
  readonly bootsSeen: ReadonlySet<BootId>;
  readonly receipts: ReceiptsHeld;
  /** Signatures on chain that no leaf was found for yet: SHA-256 in hex, and the signature in base58. */
  readonly unrecorded: Map<string, string>;
}

/** @throws QvError: what cannot be compared with anything */
export function readInput(expected: AuditExpectations, deps: AuditDeps, checklist: Checklist): AuditInput {
  const { pcrSets, witnesses, witnessThreshold } = expected;
  requireExpectations({ mode: { kind: 'replay' }, pcrSets });
  checkDistinct(witnesses);
  if (witnesses.some(({ type }) => type !== 'cosignature')) refuse('witnesses');
  if (!Number.isInteger(witnessThreshold) || witnessThreshold < 0 || witnessThreshold > witnesses.length)
    refuse('witnessThreshold');
  const sha256 = deps.sha256 ?? pureSha256;
  const seen = expected.seen && decodeSeen(expected.seen, sha256);
  if (seen !== undefined && expected.logOrigin !== undefined && seen.logOrigin !== expected.logOrigin)
    throw new QvError('log_origin_mismatch', { path: 'seen' });
  const known = expected.logOrigin ?? seen?.logOrigin;
  const since = (expected.since ?? []).map((note) => stateOf(note, known, deps.verifyEd25519));
  return {
    seen,
    since,
    bootsSeen: new Set([...(seen?.boots.keys() ?? []), ...since.map(({ boot }) => boot)]),
    receipts: new ReceiptsHeld(expected.receipts ?? [], deps.verifyEd25519, checklist),
    unrecorded: new Map((expected.onChain ?? []).map((made) => [toHex(sha256(made)), toBase58(made)])),
  };
}

function refuse(path: string): never {
  throw new QvError('attestation_expectations_invalid', { path });
}

/** A checkpoint that somebody kept. The boot is the last part of its origin. */
function stateOf(note: Uint8Array, known: string | undefined, verify: VerifyEd25519): NamedState {
  const { origin } = parseCheckpoint(parseNote(note).text);
  const boot = origin.slice(origin.lastIndexOf('/') + 1) as BootId;
  addressBytes(boot);
  const logOrigin = known ?? logOriginOf(origin, boot);
  return { boot, ...sizeAndRoot(openNote(note, boot, logOrigin, [], verify).checkpoint) };
}

interface Held {
  readonly hash: Hash;
  isFound: boolean;
}

/** Receipts that somebody holds, by boot and sequence. Two of one place are two claims. */
export class ReceiptsHeld {
  readonly #held = new Map<BootId, Map<number, Held[]>>();
  readonly count: number;

  constructor(receipts: readonly Receipt[], verify: VerifyEd25519, checklist: Checklist) {
    this.count = receipts.length;
    for (const receipt of receipts) {
      try {
        this.#take(receipt, verify);
      } catch (error) {
        checklist.refusal('receipts', error, {}, 'a receipt is not one that a boot gave');
      }
    }
  }

  found(boot: BootId, sequence: number, hash: Hash): void {
    if (this.#held.size === 0) return;
    for (const held of this.#held.get(boot)?.get(sequence) ?? []) if (sameBytes(held.hash, hash)) held.isFound = true;
  }

  /** Those whose leaf did not come by. */
  *missing(): Generator<{ readonly boot: BootId; readonly sequence: number; readonly hash: Hash }> {
    for (const [boot, places] of this.#held)
      for (const [sequence, all] of places)
        for (const { hash, isFound } of all) if (!isFound) yield { boot, sequence, hash };
  }

  #take({ leaf: bytes, signature }: Receipt, verify: VerifyEd25519): void {
    const { boot, sequence } = decodeLeaf(bytes);
    if (!verify(signature, bytes, addressBytes(boot)))
      throw new QvError('evidence_signature_invalid', { path: 'receipt', value: `${boot}/${sequence}` });
    const places = this.#held.get(boot) ?? new Map<number, Held[]>();
    const place = Number(sequence);
    places.set(place, [...(places.get(place) ?? []), { hash: leafHash(bytes), isFound: false }]);
    this.#held.set(boot, places);
  }
}

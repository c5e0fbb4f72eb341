/** The newest checkpoint of each boot: signed by the boot key, of that log, cosigned by enough witnesses. */
import { addressBytes, type BootId, type Hash } from '../../brands.ts';
import { QvError } from '../../errors.ts';
import { type Checkpoint, openCheckpoint, parseCheckpoint } from '../../tlog/checkpoint.ts';
import { parseNote, type VerifiedSignature } from '../../tlog/note.ts';
import { verifierKey } from '../../tlog/verifier-key.ts';
import { bootLogOrigin, type VerifyEd25519 } from '../leaf.ts';
import type { Checklist } from './report.ts';
import type { AuditExpectations } from './types.ts';

export interface AuditedCheckpoint {
  readonly boot: BootId;
  readonly logOrigin: string;
  readonly size: number;
  readonly root: Hash;
  readonly note: Uint8Array;
  /** Names of those that cosigned. */
  readonly witnesses: readonly string[];
  /** POSIX seconds of their last cosignature: an old one may be what a host shows in place of the newest. */
  readonly cosignedSeconds: bigint | undefined;
}

/** What the origin says before the boot. @throws QvError log_origin_mismatch if it is not one of that boot */
export function logOriginOf(origin: string, boot: BootId): string {
  if (!origin.endsWith(`/${boot}`)) throw new QvError('log_origin_mismatch', { path: 'origin' });
  return origin.slice(0, -(boot.length + 1));
}

/** A signed note as a state of that boot's log. @throws QvError as openCheckpoint does */
export function openNote(
  note: Uint8Array,
  boot: BootId,
  logOrigin: string,
  witnesses: AuditExpectations['witnesses'],
  verify: VerifyEd25519,
) {
  const origin = bootLogOrigin(logOrigin, boot);
  const opened = openCheckpoint(
    note,
    { origin, key: verifierKey(origin, 'ed25519', addressBytes(boot)), witnesses },
    verify,
  );
  if (opened.checkpoint.size > BigInt(Number.MAX_SAFE_INTEGER))
    throw new QvError('log_checkpoint_malformed', { path: 'size', value: 'more than anybody can read' });
  return opened;
}

/** Undefined where there is no checkpoint that could be read against; what is wrong is in the checklist. */
export function auditCheckpoint(
  note: Uint8Array,
  boot: BootId,
  /** Of the deployment, where it is known already. */
  known: string | undefined,
  { witnesses, witnessThreshold }: Pick<AuditExpectations, 'witnesses' | 'witnessThreshold'>,
  verify: VerifyEd25519,
  checklist: Checklist,
): AuditedCheckpoint | undefined {
  try {
    const logOrigin = known ?? logOriginOf(parseCheckpoint(parseNote(note).text).origin, boot);
    // The log's own signature first: what only a witness's line spoils can still be read.
    const { checkpoint } = openNote(note, boot, logOrigin, [], verify);
    const found = cosignaturesOf(note, boot, logOrigin, witnesses, verify, checklist);
    if (found !== undefined && found.length < witnessThreshold)
      checklist.add('witnesses', 'witnesses_too_few', { boot }, `${found.length} of ${witnessThreshold}`);
    const names = (found ?? []).map(({ key }) => key.name);
    const times = (found ?? []).map(({ timeSeconds = 0n }) => timeSeconds).toSorted((a, b) => (a < b ? -1 : 1));
    const sized = sizeAndRoot(checkpoint);
    return { boot, logOrigin, ...sized, note, witnesses: names, cosignedSeconds: times.at(-1) };
  } catch (error) {
    checklist.refusal('checkpoints', error, { boot }, 'the checkpoint is refused');
    return undefined;
  }
}

export function sizeAndRoot({ size, root }: Checkpoint): { readonly size: number; readonly root: Hash } {
  return { size: Number(size), root };
}

function cosignaturesOf(
  note: Uint8Array,
  boot: BootId,
  logOrigin: string,
  witnesses: AuditExpectations['witnesses'],
  verify: VerifyEd25519,
  checklist: Checklist,
): readonly VerifiedSignature[] | undefined {
  try {
    return openNote(note, boot, logOrigin, witnesses, verify).cosignatures;
  } catch (error) {
    checklist.refusal('witnesses', error, { boot }, 'a cosignature is refused');
    return undefined;
  }
}

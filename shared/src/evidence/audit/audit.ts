/**
 * The audit of a deployment's logs: everything a host serves is read, hashed and judged, and nothing it says is
 * believed. README.md says what is checked, what an auditor has to keep, and what no log can show.
 */
import { addressBytes, type BootId, type Hash, timeMs } from '../../brands.ts';
import { fromHex } from '../../bytes.ts';
import { codeOf, QvError } from '../../errors.ts';
import { LIMITS } from '../../limits.ts';
import { sha256 as pureSha256 } from '../../sha256.ts';
import type { Leaf } from '../leaf.ts';
import { verifyBootAttestation } from '../verify.ts';
import { BootRun, type RunParts, type Wait } from './boot-run.ts';
import { type BootState, newBootState } from './boot-state.ts';
import { type AuditedCheckpoint, auditCheckpoint } from './checkpoints.ts';
import { compareClaims } from './claims.ts';
import { LeafReader } from './decode.ts';
import { type AuditInput, readInput } from './input.ts';
import { Judgement } from './judgement.ts';
import { Policies } from './limits-of-policy.ts';
import { type NamedState, NotesNamed } from './predecessors.ts';
import { Checklist, type Place } from './report.ts';
import { requireOneRoot } from './roots.ts';
import { sameBytes } from './same-bytes.ts';
import { readAll } from './schedule.ts';
import { encodeSeen } from './seen.ts';
import { passedSteps } from './summary.ts';
import type { Sha256 } from './tree.ts';
import type { AuditDeps, AuditExpectations, AuditedBoot, AuditReport, Estate, LogSource } from './types.ts';
import { Wallets } from './wallets.ts';

/**
 * What is wrong with the logs is in the report; it throws only for what it was given to compare them with, and where
 * the source fails.
 * @throws QvError attestation_expectations_invalid, attestation_pcr_set_malformed, log_key_repeated,
 *   log_seen_malformed, log_note_*, log_checkpoint_malformed, log_origin_mismatch; and what the source throws
 */
export async function auditLog(source: LogSource, expected: AuditExpectations, deps: AuditDeps): Promise<AuditReport> {
  const checklist = new Checklist();
  const input = readInput(expected, deps, checklist);
  const boots = await listBoots(source, input, checklist);
  const checkpoints = await openCheckpoints(source, boots, input, expected, deps, checklist);
  const audit = new Audit(source, input, expected, deps, checklist, checkpoints);
  await audit.read();
  await audit.compare();
  return audit.report(boots.length);
}

/** Each once, and none missing that was seen before. */
async function listBoots(source: LogSource, input: AuditInput, checklist: Checklist): Promise<readonly BootId[]> {
  const listed: BootId[] = [];
  for (const boot of new Set(await source.boots())) {
    try {
      addressBytes(boot);
      listed.push(boot);
    } catch (error) {
      checklist.refusal('boots', error, {}, 'the list of boots holds what is no boot id');
    }
    if (listed.length > LIMITS.logBoots) break;
  }
  if (listed.length === 0) checklist.add('boots', 'log_unknown', {}, 'no boot is listed');
  if (listed.length > LIMITS.logBoots)
    checklist.add('boots', 'log_boots_too_many', {}, `more than ${LIMITS.logBoots} boots are listed`);
  const known = new Set(listed);
  for (const boot of input.bootsSeen)
    if (!known.has(boot)) checklist.add('boots', 'log_boot_hidden', { boot }, 'it was seen before and is not listed');
  return listed.slice(0, LIMITS.logBoots);
}

async function openCheckpoints(
  source: LogSource,
  boots: readonly BootId[],
  input: AuditInput,
  expected: AuditExpectations,
  deps: AuditDeps,
  checklist: Checklist,
): Promise<readonly AuditedCheckpoint[]> {
  const opened: AuditedCheckpoint[] = [];
  for (const boot of boots) {
    // Without an expectation it is that of the first boot, and all have to be of one deployment.
    const known = expected.logOrigin ?? input.seen?.logOrigin ?? opened[0]?.logOrigin;
    let note: Uint8Array;
    try {
      note = await source.checkpoint(boot);
    } catch (error) {
      if (codeOf(error) !== 'log_unknown') throw error;
      checklist.add('checkpoints', 'log_unknown', { boot }, 'it has no checkpoint');
      continue;
    }
    const checkpoint = auditCheckpoint(note, boot, known, expected, deps.verifyEd25519, checklist);
    if (checkpoint !== undefined) opened.push(checkpoint);
  }
  return opened;
}

class Audit {
  readonly #input: AuditInput;
  readonly #expected: AuditExpectations;
  readonly #deps: AuditDeps;
  readonly #checklist: Checklist;
  readonly #runs = new Map<BootId, BootRun>();
  readonly #wallets: Wallets;
  readonly #judgement: Judgement;
  readonly #notes: NotesNamed;
  readonly #named = new Map<BootRun, NamedState>();
  readonly #kinds: Record<string, number> = {};
  readonly #logOrigin: string;
  readonly #toRead: bigint;
  readonly #sha256: Sha256;
  #leaves = 0;

  constructor(
    source: LogSource,
    input: AuditInput,
    expected: AuditExpectations,
    deps: AuditDeps,
    checklist: Checklist,
    checkpoints: readonly AuditedCheckpoint[],
  ) {
    this.#input = input;
    this.#expected = expected;
    this.#deps = deps;
    this.#checklist = checklist;
    this.#logOrigin = expected.logOrigin ?? input.seen?.logOrigin ?? checkpoints[0]?.logOrigin ?? '';
    const sha256 = deps.sha256 ?? pureSha256;
    this.#sha256 = sha256;
    this.#notes = new NotesNamed(this.#logOrigin, deps.verifyEd25519);
    this.#wallets = new Wallets(checklist, new Policies(source, sha256), input.seen?.wallets);
    this.#judgement = new Judgement({
      checklist,
      wallets: this.#wallets,
      unrecorded: input.unrecorded,
      attest: (state, place) => this.#attest(state, place),
    });
    const reader = new LeafReader(sha256);
    const parts: RunParts = {
      source,
      checklist,
      leafHash: (entry) => reader.hash(entry),
      decode: (entry) => reader.decode(entry),
      waitFor: (run, leaf, sequence) => this.#waitFor(run, leaf, sequence),
      judge: (run, leaf, sequence) => this.#judge(run, leaf, sequence),
      onEntry: (boot, sequence, hash) => input.receipts.found(boot, sequence, hash),
      onLeaf: (boot, leaf, hash) => this.#onLeaf(boot, leaf, hash),
    };
    for (const checkpoint of checkpoints) this.#open(checkpoint, parts, sha256);
    this.#toRead = [...this.#runs.values()].reduce(
      (sum, { checkpoint, state }) => sum + BigInt(checkpoint.size - state.size),
      0n,
    );
  }

  async read(): Promise<void> {
    // Those read before are attested by what was kept of them: other images may be allowed now.
    for (const { state } of this.#runs.values())
      if (state.attestation !== undefined) await this.#attest(state, { boot: state.boot, sequence: 0n });
    await readAll(this.#runs, this.#checklist);
  }

  /** What can only be said when all logs were read. */
  async compare(): Promise<void> {
    const states = new Map([...this.#runs].map(([boot, { state }]) => [boot, state] as const));
    for (const [boot, { size }] of states)
      if (size === 0)
        this.#checklist.add('attestation', 'log_entry_missing', { boot, sequence: 0n }, 'nothing attests its key');
    this.#judgement.finish(states);
    requireOneRoot(states, this.#checklist);
    await compareClaims(this.#runs, this.#input, this.#checklist);
  }

  report(listed: number): AuditReport {
    const checklist = this.#checklist;
    const ok = checklist.count === 0;
    const runs = [...this.#runs.values()];
    const counts = { listed, leaves: this.#leaves, kinds: this.#kinds, wallets: this.#wallets.all.size };
    const repeats = this.#judgement.repeats;
    return {
      ok,
      steps: checklist.steps(passedSteps({ ...counts, repeats }, runs, this.#expected, this.#input)),
      findings: checklist.findings,
      findingCount: checklist.count,
      boots: runs.map(auditedBoot),
      leaves: BigInt(this.#leaves),
      kinds: this.#kinds,
      claims: this.#wallets.runningClaims(),
      estateOf: (boot) => this.#estateOf(boot),
      ...(ok && { seen: encodeSeen({ logOrigin: this.#logOrigin, runs, wallets: this.#wallets.all }, this.#sha256) }),
    };
  }

  #estateOf(boot: BootId): Estate | undefined {
    const run = this.#runs.get(boot);
    if (run === undefined) return undefined;
    const freezes = run.state.freezes.open.map(({ id, scope }) => ({ scope, freezeId: fromHex(id) }));
    return { checkpoint: run.checkpoint.note, wallets: this.#wallets.heldBy(boot), freezes };
  }

  /** Begins where the last audit ended, or from nothing. */
  #open(checkpoint: AuditedCheckpoint, parts: RunParts, sha256: Sha256): void {
    const { boot } = checkpoint;
    const kept = this.#input.seen?.boots.get(boot);
    if (kept === undefined) {
      this.#runs.set(boot, new BootRun(newBootState(boot, sha256), checkpoint, parts));
      return;
    }
    const { state, root } = kept;
    const size = state.size;
    // Read in full, it would have fewer leaves than were seen: there is nothing behind them to be judged.
    if (checkpoint.size < size)
      this.#checklist.add('history', 'log_rewound', { boot }, `${checkpoint.size} leaves, ${size} were seen before`);
    else if (checkpoint.size === size && !sameBytes(checkpoint.root, root))
      this.#checklist.add('history', 'log_forked', { boot }, `another root at ${size} leaves than was seen before`);
    if (checkpoint.size >= size) this.#runs.set(boot, new BootRun(state, checkpoint, parts, { size, root }));
  }

  async #attest(state: BootState, place: Place): Promise<void> {
    const { pcrSets, configHash, unsafeTrustedRootDer, allowDebug } = this.#expected;
    try {
      const { userData } = await verifyBootAttestation(state.attestation ?? new Uint8Array(), {
        mode: { kind: 'replay' },
        pcrSets,
        boot: state.boot,
        logOrigin: this.#logOrigin,
        ...(configHash && { configHash }),
        ...(unsafeTrustedRootDer && { unsafeTrustedRootDer }),
        ...(allowDebug !== undefined && { allowDebug }),
      });
      if (state.configHash === undefined || !sameBytes(state.configHash, userData.configHash))
        throw new QvError('attestation_user_data_mismatch', { path: 'leaf.configHash' });
    } catch (error) {
      this.#checklist.refusal('attestation', error, place, 'the boot is not attested');
    }
  }

  /** Opens the predecessor's note, and waits until that log was read so far. */
  #waitFor(run: BootRun, leaf: Leaf, sequence: number): Wait | undefined {
    this.#named.delete(run);
    const { predecessor } = leaf;
    if (predecessor === undefined) return undefined;
    const { boot } = predecessor;
    const place = { boot: run.state.boot, sequence: BigInt(sequence) };
    const giveUp = (code: Parameters<Checklist['add']>[1], detail: string): undefined => {
      this.#checklist.add('chain', code, place, detail);
      return undefined;
    };
    if (boot === run.state.boot) return giveUp('log_chain_cycle', 'it names itself as the boot it continues');
    let named: NamedState;
    try {
      named = this.#notes.open(predecessor);
    } catch (error) {
      this.#checklist.refusal('chain', error, place, `the checkpoint of ${boot} is refused`);
      return undefined;
    }
    const other = this.#runs.get(boot);
    if (other === undefined) return giveUp('log_boot_hidden', `it continues ${boot}, of which there is no log`);
    if (named.size > other.checkpoint.size)
      return giveUp('log_rewound', `${boot} had ${named.size} leaves, now it has ${other.checkpoint.size}`);
    if (!other.isEnded && other.state.size < named.size) return { boot, size: named.size, isSoft: false };
    // What its boot did before it was gone should be known, also what the lease does not name.
    if (leaf.kind === 'lease' && !other.isEnded && run.waitsSoftly)
      return { boot, size: Number.POSITIVE_INFINITY, isSoft: true };
    this.#named.set(run, named);
    return undefined;
  }

  #judge(run: BootRun, leaf: Leaf, sequence: number): void | Promise<void> {
    if (leaf.predecessor === undefined) return this.#judgement.judge(run.state, leaf, sequence);
    return this.#judgeNamed(run, leaf, sequence);
  }

  async #judgeNamed(run: BootRun, leaf: Leaf, sequence: number): Promise<void> {
    const named = this.#named.get(run);
    const other = named && this.#runs.get(named.boot);
    if (named !== undefined && other !== undefined && other.state.size >= named.size) {
      const root = await other.rootAt(named.size);
      const place = { boot: run.state.boot, sequence: BigInt(sequence) };
      const detail = `${named.boot} had another root at ${named.size} leaves`;
      if (root === undefined || !sameBytes(root, named.root)) this.#checklist.add('chain', 'log_forked', place, detail);
    }
    await this.#judgement.judge(run.state, leaf, sequence, named, other?.state);
  }

  #onLeaf(boot: BootId, leaf: Leaf, hash: Hash): void {
    this.#kinds[leaf.kind] = (this.#kinds[leaf.kind] ?? 0) + 1;
    this.#leaves++;
    if (this.#leaves % PROGRESS_LEAVES === 0) this.#deps.onProgress?.(BigInt(this.#leaves), this.#toRead);
    this.#deps.onLeaf?.(boot, leaf, hash);
  }
}

const PROGRESS_LEAVES = 4096;

/** Witnesses may sign any time that fits 63 bits. */
const cosignedAt = (seconds: bigint) =>
  timeMs(Number(seconds > 8_640_000_000_000n ? 8_640_000_000_000n : seconds) * 1000);

function auditedBoot({ checkpoint, state }: BootRun): AuditedBoot {
  return {
    boot: state.boot,
    origin: `${checkpoint.logOrigin}/${state.boot}`,
    size: BigInt(checkpoint.size),
    from: timeMs(state.firstTime),
    to: timeMs(state.lastTime),
    witnesses: checkpoint.witnesses,
    ...(checkpoint.cosignedSeconds !== undefined && { cosignedAt: cosignedAt(checkpoint.cosignedSeconds) }),
    ...(state.follows && { follows: state.follows.boot }),
  };
}

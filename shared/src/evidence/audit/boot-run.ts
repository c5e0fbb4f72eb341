/** Reads one log from where it was left to its checkpoint, leaf by leaf, and stops where another log has to go first. */
import type { BootId, Hash } from '../../brands.ts';
import { QvError } from '../../errors.ts';
import { TILE_WIDTH } from '../../tlog/tiles.ts';
import type { Leaf } from '../leaf.ts';
import type { BootState } from './boot-state.ts';
import { type Bundle, Bundles } from './bundles.ts';
import type { AuditedCheckpoint } from './checkpoints.ts';
import { PlaceCheck } from './place.ts';
import type { Checklist } from './report.ts';
import { sameBytes } from './same-bytes.ts';
import type { LogSource } from './types.ts';

/** Another log that has to be read up to there first. */
export interface Wait {
  readonly boot: BootId;
  readonly size: number;
  /** It would only be better: where both wait for each other, this one goes on. */
  readonly isSoft: boolean;
}

export interface RunParts {
  readonly source: LogSource;
  readonly checklist: Checklist;
  readonly leafHash: (entry: Uint8Array) => Hash;
  readonly decode: (entry: Uint8Array) => Leaf;
  /** What a leaf that names a predecessor has to wait for; undefined once it need not. */
  readonly waitFor: (run: BootRun, leaf: Leaf, sequence: number) => Wait | undefined;
  readonly judge: (run: BootRun, leaf: Leaf, sequence: number) => void | Promise<void>;
  /** Each entry's hash in its place, for receipts. */
  readonly onEntry: (boot: BootId, sequence: number, hash: Hash) => void;
  readonly onLeaf: (boot: BootId, leaf: Leaf, hash: Hash) => void;
}

export class BootRun {
  readonly state: BootState;
  readonly checkpoint: AuditedCheckpoint;
  /** The size that an earlier audit ended with, and the root it had. */
  readonly seen: { readonly size: number; readonly root: Hash } | undefined;
  /** The leaf for which nothing is waited for any more; and the one that waits only for what it must. */
  #givenUp = -1;
  #givenUpSoft = -1;
  readonly #parts: RunParts;
  readonly #bundles: Bundles;
  readonly #place: PlaceCheck;
  #bundle: Bundle | undefined;
  #ended = false;
  /** Many wallets move by one checkpoint. */
  #lastRoot: { readonly size: number; readonly root: Hash } | undefined;

  constructor(state: BootState, checkpoint: AuditedCheckpoint, parts: RunParts, seen?: BootRun['seen']) {
    this.state = state;
    this.checkpoint = checkpoint;
    this.seen = seen;
    this.#parts = parts;
    this.#bundles = new Bundles(parts.source, state.boot, checkpoint.size);
    this.#place = new PlaceCheck(state.boot, state.size, state.lastTime, (code, sequence, detail) =>
      parts.checklist.add('entries', code, { boot: state.boot, sequence: BigInt(sequence) }, detail),
    );
  }

  /** Reads on until `size` leaves are read or the log ends; what it waits for, where it has to. */
  async advance(size: number): Promise<Wait | undefined> {
    const { state, checkpoint } = this;
    while (!this.#ended && state.size < Math.min(size, checkpoint.size)) {
      const bundle = this.#bundle ?? (await this.#bundles.at(state.size));
      this.#bundle = bundle;
      if (!this.#catchUp(bundle)) break;
      const entry = bundle.entries[state.size - bundle.start];
      if (entry === undefined) {
        this.#truncated(bundle);
        break;
      }
      const waiting = this.#entry(entry);
      const wait = waiting instanceof Promise ? await waiting : waiting;
      if (wait !== undefined) return wait;
      if (state.size === bundle.start + bundle.width) this.#finish(bundle);
    }
    if (!this.#ended && state.size >= checkpoint.size) this.#end();
    return undefined;
  }

  get isEnded(): boolean {
    return this.#ended;
  }

  /** The next leaf does not wait any longer. */
  giveUp(): void {
    this.#givenUp = this.state.size;
  }

  giveUpSoft(): void {
    this.#givenUpSoft = this.state.size;
  }

  get waitsSoftly(): boolean {
    return this.#givenUpSoft !== this.state.size;
  }

  /** Forgets what it holds while others are read. */
  suspend(): void {
    this.#bundle = undefined;
    this.#bundles.drop();
  }

  /** The root this log had at that size. Undefined where the source does not give the leaves for it any more. */
  async rootAt(size: number): Promise<Hash | undefined> {
    if (this.#lastRoot?.size === size) return this.#lastRoot.root;
    const { tree } = this.state;
    const hashes = tree.holdsTail(size) ? [] : await this.verifiedHashes(Math.floor(size / TILE_WIDTH));
    if (hashes === undefined) return undefined;
    const root = tree.holdsTail(size) ? tree.root(size) : tree.root(size, hashes);
    this.#lastRoot = { size, root };
    return root;
  }

  /** The leaf hashes of a bundle read before, read again and compared with what it was. */
  async verifiedHashes(index: number): Promise<readonly Hash[] | undefined> {
    return (await this.verifiedBundle(index))?.hashes;
  }

  async verifiedBundle(index: number) {
    const { tree } = this.state;
    const { entries } = await this.#bundles.read(index);
    const hashes = entries.map((entry) => this.#parts.leafHash(entry));
    const root = tree.bundleRoots[index];
    if (hashes.length === TILE_WIDTH)
      return root !== undefined && sameBytes(tree.bundleRoot(hashes), root) ? { entries, hashes } : undefined;
    const isLast = index === tree.bundleRoots.length && index * TILE_WIDTH + hashes.length === this.checkpoint.size;
    return isLast && sameBytes(tree.root(this.checkpoint.size, hashes), this.checkpoint.root)
      ? { entries, hashes }
      : undefined;
  }

  /** The first entries of a bundle that an earlier audit read in part: only their hashes count. */
  #catchUp(bundle: Bundle): boolean {
    const { state, seen } = this;
    if (state.tree.size >= state.size) return true;
    for (const entry of bundle.entries.slice(0, state.size - bundle.start))
      state.tree.append(this.#parts.leafHash(entry));
    if (seen !== undefined && state.tree.size === seen.size && sameBytes(state.tree.root(), seen.root)) return true;
    this.#ended = true;
    const place = { boot: state.boot, sequence: BigInt(bundle.start) };
    this.#parts.checklist.add('history', 'log_forked', place, 'leaves that were seen before are other ones now');
    return false;
  }

  #entry(entry: Uint8Array): Wait | undefined | Promise<undefined> {
    const { state } = this;
    const sequence = state.size;
    let leaf: Leaf | undefined;
    let fault: QvError | undefined;
    try {
      leaf = this.#parts.decode(entry);
    } catch (error) {
      if (!(error instanceof QvError)) throw error;
      fault = error;
    }
    if (leaf?.predecessor !== undefined && leaf.boot === state.boot && this.#givenUp !== sequence) {
      const wait = this.#parts.waitFor(this, leaf, sequence);
      if (wait !== undefined) return wait;
    }
    const hash = this.#parts.leafHash(entry);
    const previous = state.lastHash;
    state.tree.append(hash);
    state.lastHash = hash;
    state.size++;
    this.#parts.onEntry(state.boot, sequence, hash);
    if (leaf === undefined) {
      this.#place.malformed(sequence, fault?.message ?? '');
      return undefined;
    }
    if (!this.#place.check(leaf, sequence, previous)) return undefined;
    if (sequence === 0) state.firstTime = leaf.time;
    state.lastTime = leaf.time;
    this.#parts.onLeaf(state.boot, leaf, hash);
    const judged = this.#parts.judge(this, leaf, sequence);
    return judged instanceof Promise ? judged.then(() => undefined) : undefined;
  }

  #truncated({ start, entries, width, isRagged }: Bundle): void {
    this.#ended = true;
    const { boot } = this.state;
    const place = { boot, sequence: BigInt(start + entries.length) };
    if (isRagged)
      this.#parts.checklist.add('entries', 'log_tile_malformed', place, 'a bundle does not end with an entry');
    const detail = `${start + entries.length} of ${this.checkpoint.size} leaves; ${width} were due in the last bundle`;
    this.#place.end();
    this.#parts.checklist.add('roots', 'log_truncated', place, detail);
  }

  #finish({ start, isRagged }: Bundle): void {
    this.#bundle = undefined;
    const place = { boot: this.state.boot, sequence: BigInt(start) };
    if (isRagged) this.#parts.checklist.add('entries', 'log_tile_malformed', place, 'bytes follow the last entry');
  }

  #end(): void {
    this.#ended = true;
    this.#place.end();
    const { state, checkpoint, seen } = this;
    const { checklist } = this.#parts;
    // Nothing new: the root is the one seen, and that was compared when the checkpoint was opened.
    if (state.tree.size < state.size || sameBytes(state.tree.root(), checkpoint.root)) return;
    const [step, code] =
      seen === undefined ? (['roots', 'log_root_mismatch'] as const) : (['history', 'log_forked'] as const);
    const what = seen === undefined ? '' : ' and those seen before';
    checklist.add(step, code, { boot: state.boot }, `the ${checkpoint.size} leaves${what} have another root`);
  }
}

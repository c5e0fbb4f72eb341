/**
 * Publishes the enclave's log (design 10): asks for a checkpoint, gathers the leaves it covers, builds the tiles, asks
 * the witnesses for cosignatures, hands them to the enclave, which releases what it held back, and makes the checkpoint
 * the published one. One round at a time; whatever was decided meanwhile is in the next one, so that one round of the
 * witnesses serves many signatures.
 *
 * What a host that died never wrote is gathered here, too: the enclave keeps its newest leaves.
 */
import { addressBytes, type BootId } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { decodeLeaf, type Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type Checkpoint, openCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { formatNote, type Note, type NoteSignature, parseNote } from '@quantumvault/shared/tlog/note.ts';
import { TILE_WIDTH } from '@quantumvault/shared/tlog/tiles.ts';
import { type VerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { verifyEd25519 } from '../ed25519.ts';
import type { EnclaveClient } from '../enclave/client.ts';
import type { EnclaveSession } from '../enclave/session.ts';
import type { Log } from '../log.ts';
import type { Records } from '../records.ts';
import type { LogRecord, Store } from '../store/store.ts';
import { LogTree } from './log-tree.ts';
import { SealedStates } from './sealed-states.ts';
import { cosignatures, type Witness } from './witnesses.ts';

export interface PublisherDeps {
  readonly enclave: EnclaveClient;
  readonly session: EnclaveSession;
  readonly store: Store;
  readonly records: Records;
  readonly witnesses: readonly Witness[];
  readonly log: Log;
}

/** One boot's log, as far as it was gathered. */
interface Gathered {
  readonly boot: BootId;
  /** Undefined once leaves are lost: then no tree of this boot can be built any more. */
  tree: LogTree | undefined;
  /** The next leaf to gather. */
  next: bigint;
  /** What the gathered leaves need of the database besides themselves. */
  readonly states: SealedStates;
  /** What the witnesses have cosigned and the enclave has seen; published once the database has all of it. */
  cosigned: LogRecord | undefined;
  published: LogRecord | undefined;
}

export class LogPublisher {
  readonly #deps: PublisherDeps;
  #gathered: Gathered | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  /** The round that has been asked for and has not begun. */
  #next: Promise<void> | undefined;
  #stopped = false;
  #wake: () => void = () => undefined;
  #complaint = '';

  constructor(deps: PublisherDeps) {
    this.#deps = deps;
  }

  start(): void {
    void this.#run();
  }

  /** The present boot's log as it is published; undefined until something of it is. */
  get published(): LogRecord | undefined {
    return this.#gathered?.published;
  }

  /** Publishes what there is by now. Everybody who asks before the round begins shares it. @throws QvError */
  publish(): Promise<void> {
    this.#next ??= this.#enqueue(() => {
      this.#next = undefined;
      return this.#round();
    });
    return this.#next;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#untilGrown();
        if (this.#stopped) return;
        await this.publish();
        this.#complaint = '';
        // With witnesses signatures wait for the next round; without, nobody does.
        if (this.#threshold === 0) await this.#pause(LIMITS.logPublishMilliseconds);
      } catch (error) {
        this.#complain(error);
        await this.#pause(LIMITS.logRetryMilliseconds);
      }
    }
  }

  get #threshold(): number {
    return this.#deps.session.status?.witnessThreshold ?? 0;
  }

  async #untilGrown(): Promise<void> {
    const { session, enclave } = this.#deps;
    const boot = session.requireBoot().id;
    if (this.#gathered?.boot !== boot) return;
    const { tree, next, published } = this.#gathered;
    const after = tree === undefined ? next : (published?.size ?? 0n);
    const timeoutMilliseconds = LIMITS.checkpointWaitMilliseconds + LIMITS.freezeTimeoutMilliseconds;
    for (;;) {
      const { note } = await enclave.request('checkpoint', { after }, { urgent: true, timeoutMilliseconds });
      if (this.#stopped || readCheckpoint(note, boot).checkpoint.size > after) return;
    }
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #round(): Promise<void> {
    const { enclave, session } = this.#deps;
    const boot = session.requireBoot();
    // Of this boot. Asked for later it would be 0 if the enclave had stopped answering meanwhile.
    const threshold = this.#threshold;
    const gathered = await this.#gatheredOf(boot.id);
    const { note: bytes } = await enclave.request('checkpoint', {}, { urgent: true });
    const { note, checkpoint, key } = readCheckpoint(bytes, boot.id);
    await this.#gather(gathered, checkpoint.size);
    await gathered.states.secure();
    const { tree, published } = gathered;
    if (tree === undefined || checkpoint.size === published?.size) return;
    if (tree.size !== checkpoint.size || !equalBytes(tree.root, checkpoint.root)) {
      // The database does not hold what the enclave signed. From the last published tiles on, once more.
      this.#gathered = undefined;
      throw new QvError('log_proof_invalid', { path: 'root', value: `${boot.id} ${checkpoint.size}` });
    }
    if (gathered.cosigned?.size !== checkpoint.size) {
      const signed = await this.#cosigned(note, checkpoint, key, tree, boot.record, threshold);
      gathered.cosigned = { boot: boot.id, size: checkpoint.size, checkpoint: signed };
    }
    // Only now: a database that is locked must not hold back what the enclave may release. Sealed states were at least
    // on their way before the witnesses were asked (see sealed-states.ts).
    await this.#write(tree, gathered.cosigned, published?.size ?? 0n);
    gathered.published = gathered.cosigned;
  }

  /** Leaves, tiles, and last the checkpoint: whoever sees it finds all that it covers. @throws QvError store_* */
  async #write(tree: LogTree, log: LogRecord, from: bigint): Promise<void> {
    const { store, records } = this.#deps;
    const tiles = tree.unwritten();
    const [missing] = await Promise.all([store.firstMissingLeaf(log.boot, from), store.putTiles(log.boot, tiles)]);
    tree.written(tiles);
    if (records.statesWaiting > 0) throw new QvError('log_unpublished', { path: 'state' });
    if (missing < log.size) throw new QvError('log_unpublished', { path: 'leaf', value: String(missing) });
    await store.publishLog(log);
  }

  /** The note with the witnesses' signatures; the enclave has seen them before anybody else. */
  async #cosigned(
    note: Note,
    checkpoint: Checkpoint,
    key: VerifierKey,
    tree: LogTree,
    bootRecord: Receipt,
    threshold: number,
  ): Promise<Uint8Array> {
    const { witnesses, enclave, log } = this.#deps;
    const own = note.signatures.filter(({ name, keyId }) => name === key.name && keyId === key.id);
    const format = (more: readonly NoteSignature[]) => formatNote({ text: note.text, signatures: [...own, ...more] });
    if (witnesses.length === 0) return format([]);
    const request = {
      note: format([]),
      origin: checkpoint.origin,
      size: checkpoint.size,
      prove: (oldSize: bigint) => tree.prove(oldSize, checkpoint.size),
      bootRecord,
    };
    const first = await cosignatures(witnesses, request, threshold, log);
    if (threshold === 0) return format(first);
    // Too few and the enclave says so: the checkpoint is not published before the witnesses have it.
    const take = (cosigned: Uint8Array) => enclave.request('cosign', { note: cosigned }, { urgent: true });
    try {
      await take(format(first));
      return format(first);
    } catch (error) {
      if (codeOf(error) !== 'witnesses_too_few' || first.length < threshold) throw error;
    }
    // Some of ours are not measured into this image, as while a set of witnesses is replaced: then it takes all.
    const all = format(await cosignatures(witnesses, request, witnesses.length, log));
    await take(all);
    return all;
  }

  async #gatheredOf(boot: BootId): Promise<Gathered> {
    if (this.#gathered?.boot === boot) return this.#gathered;
    const logs = await this.#deps.store.getLogs();
    const published = logs.find((log) => log.boot === boot);
    if (published === undefined) await this.#follow(logs.at(-1));
    const size = published?.size ?? 0n;
    const tree = await LogTree.load(this.#deps.store, boot, size);
    const states = new SealedStates(this.#deps);
    this.#gathered = { boot, tree, next: size, states, cosigned: published, published };
    return this.#gathered;
  }

  /** Tells a boot that is new here which log it continues. */
  async #follow(predecessor: LogRecord | undefined): Promise<void> {
    if (predecessor === undefined) return;
    try {
      await this.#deps.enclave.request('follow', { checkpoint: shortened(predecessor) }, { urgent: true });
    } catch (error) {
      // Said before: this host, or another one, had no answer or no time to publish it.
      if (codeOf(error) !== 'already_initialised') throw error;
    }
  }

  /** Leaves up to `size`, from the enclave or the database, whichever is likelier to have them. */
  async #gather(gathered: Gathered, size: bigint): Promise<void> {
    while (gathered.next < size) {
      const from = gathered.next;
      const leaves = await this.#leavesFrom(gathered.boot, from);
      const [first] = leaves;
      if (first === undefined) throw new QvError('log_unpublished', { path: 'leaf', value: String(from) });
      if (first.sequence > from) {
        // Older than the enclave keeps: those stay missing, and an auditor sees that.
        this.#deps.log.error(
          { boot: gathered.boot, from: String(from), to: String(first.sequence) },
          'leaves are lost for good',
        );
        gathered.tree = undefined;
        gathered.next = first.sequence;
      }
      for (const { sequence, leaf } of leaves) {
        if (sequence !== gathered.next || sequence >= size) break;
        gathered.tree?.append(leaf);
        gathered.states.need(leaf);
        gathered.next = sequence + 1n;
      }
    }
  }

  async #leavesFrom(boot: BootId, from: bigint): Promise<readonly { sequence: bigint; leaf: Uint8Array }[]> {
    const { store, enclave, records } = this.#deps;
    const stored = async () => {
      const leaves = await store.getLeaves(boot, from, TILE_WIDTH);
      return leaves[0]?.sequence === from ? leaves : [];
    };
    // Without witnesses the replies have brought them; with witnesses the replies are still held back.
    const known = this.#threshold === 0 ? await stored() : [];
    if (known.length > 0) return known;
    const { receipts } = await enclave.request('leavesGet', { from }, { urgent: true });
    const fresh = receipts.map(({ leaf }) => ({ sequence: decodeLeaf(leaf).sequence, leaf }));
    const older = fresh[0]?.sequence === from ? [] : await stored();
    if (older.length > 0) return older;
    records.recovered(receipts);
    return fresh;
  }

  async #pause(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = setTimeout(resolve, milliseconds);
    await promise;
    clearTimeout(timer);
  }

  /** Once per reason: a loop that fails must not fill the log. */
  #complain(error: unknown): void {
    const code = codeOf(error);
    if (code === 'enclave_unavailable' || code === 'enclave_not_ready' || code === 'shutting_down') return;
    const reason = error instanceof QvError ? `${error.message} ${error.facts.value ?? ''}` : String(error);
    if (reason !== this.#complaint) this.#deps.log.warn({ code, reason }, 'the log cannot be published');
    this.#complaint = reason;
  }

  /** Publishes once more what it can, for as long as `milliseconds`. */
  async stop(milliseconds: number): Promise<void> {
    this.#stopped = true;
    this.#wake();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, milliseconds);
    await Promise.race([this.publish().catch(() => undefined), promise]);
    clearTimeout(timer);
  }
}

interface ReadCheckpoint {
  readonly note: Note;
  readonly checkpoint: Checkpoint;
  readonly key: VerifierKey;
}

/** The origin's last part is the boot, and the boot is its key. @throws QvError log_*, evidence_mismatch */
function readCheckpoint(bytes: Uint8Array, boot: BootId): ReadCheckpoint {
  const [origin = ''] = parseNote(bytes).text.split('\n');
  // The enclave was started anew since we asked who it is.
  if (!origin.endsWith(`/${boot}`)) throw new QvError('enclave_not_ready', { path: 'boot' });
  const key = verifierKey(origin, 'ed25519', addressBytes(boot));
  const { note, checkpoint } = openCheckpoint(bytes, { origin, key, witnesses: [] }, verifyEd25519);
  return { note, checkpoint, key };
}

/** As a leaf holds it: with the cosignatures if they fit. */
function shortened({ boot, checkpoint }: LogRecord): Uint8Array {
  if (checkpoint.length <= LIMITS.predecessorNoteBytes) return checkpoint;
  const { note, key } = readCheckpoint(checkpoint, boot);
  return formatNote({ text: note.text, signatures: note.signatures.filter(({ keyId }) => keyId === key.id) });
}

/**
 * What an auditor keeps from one audit to the next, so that only new leaves have to be read: of each boot what its
 * leaves have come to, of each wallet its holders, versions and spends. It is the auditor's own and never the host's.
 *
 * ```
 * header   log origin, numbers of boots and wallets
 * boots    ascending: state; checkpoint; roots of complete bundles[32 bytes each]; freezes; recent signatures
 * wallets  ascending: state; claims; spends; mints with their spends
 * spends   times[u64be each] || the amounts of one column[u64be each] || …
 * ```
 */
import { type Address, type BootId, type Hash, hash, timeMs } from '../../brands.ts';
import { fromHex, toHex } from '../../bytes.ts';
import { LIMITS } from '../../limits.ts';
import {
  bootId,
  bytes,
  field,
  fixed,
  maybe,
  publicKey,
  purposeStruct,
  struct,
  text,
  time,
  u32,
  u64,
  yes,
} from '../../protocol/wire.ts';
import { FACT, ownerSuccession, REQUEST_ID } from '../leaf.ts';
import type { BootRun } from './boot-run.ts';
import { type BootState, newBootState } from './boot-state.ts';
import type { Freeze } from './freezes.ts';
import type { SignedBefore } from './repeats.ts';
import { malformed, SeenReader, SeenWriter } from './seen-file.ts';
import { Series } from './series.ts';
import { Spends } from './spends.ts';
import type { Sha256 } from './tree.ts';
import type { Claim, Wallet } from './wallets.ts';

export interface Seen {
  readonly logOrigin: string;
  readonly boots: ReadonlyMap<BootId, { readonly state: BootState; readonly root: Hash }>;
  readonly wallets: Map<Address, Wallet>;
}

const headerCodec = purposeStruct('qv/audit-seen/v1', {
  logOrigin: field(1, text(256, FACT)),
  boots: field(2, u32),
  wallets: field(3, u32),
});

const bootCodec = struct({
  boot: field(0, bootId),
  size: field(1, u64),
  root: field(2, fixed<Hash>(32)),
  firstTime: field(3, time),
  lastTime: field(4, time),
  lastHash: field(5, fixed<Hash>(32)),
  attestation: field(6, bytes(1, LIMITS.attestationDocumentBytes)),
  configHash: field(7, fixed<Hash>(32)),
  origin: maybe(8, bootId),
  follows: maybe(9, struct({ boot: field(0, bootId), size: field(1, u64), time: field(2, time) })),
  freezes: field(10, u32),
  repeats: field(11, u32),
  firstSigned: maybe(12, u64),
});

const freezeCodec = struct({
  id: field(0, fixed(16)),
  scope: field(1, text(128, FACT)),
  from: field(2, u64),
  fromTime: field(3, time),
  ended: maybe(4, struct({ at: field(0, u64), time: field(1, time) })),
  known: maybe(5, u64),
});

const repeatCodec = struct({
  sequence: field(0, u64),
  time: field(1, time),
  wallet: field(2, publicKey),
  actor: field(3, publicKey),
  requestId: field(4, text(LIMITS.requestIdCharacters, REQUEST_ID)),
  messageHash: field(5, fixed<Hash>(32)),
  signatureHash: field(6, fixed<Hash>(32)),
});

const walletCodec = struct({
  wallet: field(0, publicKey),
  owner: field(1, publicKey),
  epoch: field(2, u32),
  policyHash: maybe(3, fixed<Hash>(32)),
  claims: field(4, u32),
  mints: field(5, u32),
  imported: maybe(6, yes),
  retired: maybe(7, yes),
  succession: maybe(12, ownerSuccession),
  lapsed: maybe(13, yes),
});

const claimCodec = struct({
  boot: field(0, bootId),
  from: field(1, u64),
  version: field(2, u64),
  source: maybe(3, u32),
  released: maybe(4, struct({ to: field(0, bootId), at: field(1, u64) })),
  quiet: maybe(5, u64),
});

const mintCodec = struct({ mint: field(0, publicKey) });

export interface Kept {
  readonly logOrigin: string;
  readonly runs: readonly BootRun[];
  readonly wallets: ReadonlyMap<Address, Wallet>;
}

/** Of an audit in which everything held. */
export function encodeSeen({ logOrigin, runs, wallets }: Kept, sha256: Sha256): Uint8Array {
  const writer = new SeenWriter();
  writer.record(headerCodec, { logOrigin, boots: runs.length, wallets: wallets.size });
  for (const run of ascending(runs, ({ state }) => state.boot)) writeBoot(writer, run);
  for (const wallet of ascending([...wallets.values()], ({ address }) => address)) writeWallet(writer, wallet);
  return writer.end(sha256);
}

/** @throws QvError log_seen_malformed */
export function decodeSeen(file: Uint8Array, sha256: Sha256): Seen {
  const reader = new SeenReader(file, sha256);
  const header = reader.record(headerCodec, 'header');
  const boots = new Map<BootId, { state: BootState; root: Hash }>();
  let last = '';
  for (let index = 0; index < header.boots; index++) {
    const boot = readBoot(reader, sha256, `boots[${index}]`);
    last = following(last, boot.state.boot, `boots[${index}]`);
    boots.set(boot.state.boot, boot);
  }
  const wallets = new Map<Address, Wallet>();
  last = '';
  for (let index = 0; index < header.wallets; index++) {
    const wallet = readWallet(reader, `wallets[${index}]`);
    last = following(last, wallet.address, `wallets[${index}]`);
    wallets.set(wallet.address, wallet);
  }
  reader.end();
  return { logOrigin: header.logOrigin, boots, wallets };
}

function writeBoot(writer: SeenWriter, { state, checkpoint }: BootRun): void {
  const { boot, size, tree, lastHash, attestation, configHash, follows, origin, firstSigned } = state;
  // An audit in which everything holds has read leaf 0.
  if (lastHash === undefined || attestation === undefined || configHash === undefined) throw malformed('boot');
  const [freezes, repeats] = [[...state.freezes.all], [...state.repeats.all]];
  writer.record(bootCodec, {
    boot,
    size: BigInt(size),
    root: checkpoint.root,
    firstTime: timeMs(state.firstTime),
    lastTime: timeMs(state.lastTime),
    lastHash,
    attestation,
    configHash,
    ...(origin && { origin }),
    ...(follows && { follows: { boot: follows.boot, size: BigInt(follows.size), time: timeMs(follows.time) } }),
    freezes: freezes.length,
    repeats: repeats.length,
    ...(firstSigned !== undefined && { firstSigned: BigInt(firstSigned) }),
  });
  writer.packed(checkpoint.note);
  const roots = new Uint8Array(tree.bundleRoots.length * 32);
  for (const [index, root] of tree.bundleRoots.entries()) roots.set(root, index * 32);
  writer.packed(roots);
  for (const freeze of freezes) writer.record(freezeCodec, freezeRecord(freeze));
  for (const signed of repeats) writer.record(repeatCodec, repeatRecord(signed));
}

function readBoot(reader: SeenReader, sha256: Sha256, path: string): { state: BootState; root: Hash } {
  const { freezes, repeats, size, root, follows, firstSigned, ...rest } = reader.record(bootCodec, path);
  // The note is evidence for people; what counts of it is the size and root above.
  if (reader.packed(`${path}.note`).length > LIMITS.noteBytes) throw malformed(`${path}.note`);
  const packed = reader.packed(`${path}.roots`);
  const leaves = number(size, `${path}.size`);
  if (leaves === 0 || packed.length !== Math.floor(leaves / 256) * 32) throw malformed(`${path}.roots`);
  const roots = Array.from({ length: packed.length / 32 }, (_, at) => hash(packed.slice(at * 32, (at + 1) * 32)));
  const state: BootState = {
    ...newBootState(rest.boot, sha256, roots),
    ...rest,
    size: leaves,
    follows: follows && { ...follows, size: number(follows.size, `${path}.follows`) },
    firstSigned: firstSigned === undefined ? undefined : number(firstSigned, `${path}.firstSigned`),
  };
  for (let index = 0; index < freezes; index++) {
    const { id, scope, from, fromTime, ended, known } = reader.record(freezeCodec, `${path}.freezes[${index}]`);
    state.freezes.restore({
      id: toHex(id),
      scope,
      from: Number(from),
      fromTime,
      ...(ended && { until: Number(ended.at), untilTime: ended.time }),
      ...(known !== undefined && { known: Number(known) }),
    });
  }
  for (let index = 0; index < repeats; index++) {
    const signed = reader.record(repeatCodec, `${path}.repeats[${index}]`);
    state.repeats.restore({ ...signed, sequence: Number(signed.sequence) });
  }
  return { state, root };
}

function writeWallet(writer: SeenWriter, wallet: Wallet): void {
  const { address, owner, imported, retired, succession, lapsed, epoch, policyHash, claims, spends } = wallet;
  if (owner === undefined) throw malformed('wallet');
  const mints = ascending([...spends.tokens], ([mint]) => mint);
  const counts = {
    claims: claims.length,
    mints: mints.length,
    ...(imported && { imported }),
    ...(retired && { retired }),
    ...(succession && { succession }),
    ...(lapsed && { lapsed }),
  };
  writer.record(walletCodec, { wallet: address, owner, epoch, ...(policyHash && { policyHash }), ...counts });
  for (const { released, ...claim } of claims)
    writer.record(claimCodec, { ...claim, ...(released && { released: { ...released, at: BigInt(released.at) } }) });
  writer.packed(packed(spends.main));
  for (const [mint, series] of mints) {
    writer.record(mintCodec, { mint });
    writer.packed(packed(series));
  }
}

function readWallet(reader: SeenReader, path: string): Wallet {
  const record = reader.record(walletCodec, path);
  const { wallet: address, owner, imported = false, retired = false, epoch, policyHash, ...rest } = record;
  const { succession, lapsed = false, ...counts } = rest;
  const claims: Claim[] = [];
  for (let index = 0; index < counts.claims; index++) {
    const { released, ...claim } = reader.record(claimCodec, `${path}.claims[${index}]`);
    if ((claim.source ?? -1) >= index) throw malformed(`${path}.claims[${index}]`);
    claims.push({ ...claim, ...(released && { released: { ...released, at: Number(released.at) } }) });
  }
  if (claims.length === 0) throw malformed(`${path}.claims`);
  const spends = new Spends(series(reader.packed(`${path}.spends`), 2, `${path}.spends`));
  let last = '';
  for (let index = 0; index < counts.mints; index++) {
    const { mint } = reader.record(mintCodec, `${path}.mints[${index}]`);
    last = following(last, mint, `${path}.mints[${index}]`);
    spends.tokens.set(mint, series(reader.packed(`${path}.mints[${index}]`), 1, `${path}.mints[${index}]`));
  }
  const facts = { address, owner, imported, retired, succession, lapsed, epoch, policyHash };
  return { ...facts, claims, spends, limits: undefined };
}

function freezeRecord({ id, scope, from, fromTime, until, untilTime, known }: Freeze) {
  const ended = until === undefined ? {} : { ended: { at: BigInt(until), time: timeMs(untilTime ?? 0) } };
  const first = known === undefined ? {} : { known: BigInt(known) };
  return { id: fromHex(id), scope, from: BigInt(from), fromTime: timeMs(fromTime), ...ended, ...first };
}

function repeatRecord(signed: SignedBefore) {
  return { ...signed, sequence: BigInt(signed.sequence), time: timeMs(signed.time) };
}

function packed(all: Series): Uint8Array {
  const { times, columns } = all.entries();
  const result = new Uint8Array(times.length * 8 * (1 + columns.length));
  const view = new DataView(result.buffer);
  for (let at = 0; at < times.length; at++) view.setBigUint64(at * 8, BigInt(times[at] ?? 0));
  for (const [index, column] of columns.entries())
    for (let at = 0; at < times.length; at++)
      view.setBigUint64(((index + 1) * times.length + at) * 8, column[at] ?? 0n);
  return result;
}

function series(bytes: Uint8Array, columns: number, path: string): Series {
  const count = bytes.length / (8 * (1 + columns));
  if (!Number.isInteger(count)) throw malformed(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const times = new Float64Array(count);
  for (let at = 0; at < count; at++) {
    const value = Number(view.getBigUint64(at * 8));
    if (!Number.isSafeInteger(value) || value < (times[at - 1] ?? 0)) throw malformed(path);
    times[at] = value;
  }
  const amounts = Array.from({ length: columns }, (_, index) => {
    const column = new BigUint64Array(count);
    for (let at = 0; at < count; at++) column[at] = view.getBigUint64(((index + 1) * count + at) * 8);
    return column;
  });
  return new Series(columns, { times, columns: amounts });
}

function ascending<T>(items: readonly T[], key: (item: T) => string): readonly T[] {
  return items.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** The one order there is, so that one state has one file. */
function following(last: string, key: string, path: string): string {
  if (key <= last) throw malformed(path);
  return key;
}

function number(value: bigint, path: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed(path);
  return Number(value);
}

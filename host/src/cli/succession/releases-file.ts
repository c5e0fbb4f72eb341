/**
 * What a predecessor gave away, for the successor's host: a line per wallet, behind one that says of whom and for whom.
 *
 *   {"format": "qv/releases-file/v1", "deployment", "predecessor", "successor"}
 *   {"wallet", "release": {"bytes", "signature"}, "state": {"blob", "version"}}
 */
import { existsSync } from 'node:fs';
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { SignedBytes } from '@quantumvault/shared/evidence/leaf.ts';
import type { ReleaseOrder } from '@quantumvault/shared/evidence/succession.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { readState, type SealedState } from '../../admin/succession-json.ts';
import type { AdminCommands } from '../../admin-protocol.ts';
import { signedBytesField } from '../../client/wire.ts';
import { LineFile, readLines } from './line-file.ts';

const FORMAT = 'qv/releases-file/v1';

type Parties = Pick<ReleaseOrder, 'deployment' | 'predecessor' | 'successor'>;

export interface ReleasedWallet {
  readonly wallet: Address;
  readonly release: SignedBytes;
  readonly state: SealedState;
}

/** @throws QvError input_unreadable, field_malformed, json_malformed, … */
export async function* readReleases(path: string): AsyncGenerator<ReleasedWallet> {
  const lines = readLines(path, LIMITS.cliReleaseLineBytes);
  const first = await lines.next();
  if (first.done === true) throw new QvError('field_malformed', { path: 'format', value: 'empty' });
  readHeader(first.value);
  for await (const line of lines) {
    const fields = new JsonFields(parseStrictJson(line));
    const wallet = address(fields.text('wallet'), 'wallet');
    const release = signedBytesField(fields, 'release');
    const state = readState(fields.required('state'), 'state');
    fields.end();
    yield { wallet, release, state };
  }
}

function readHeader(line: Uint8Array): Parties {
  const fields = new JsonFields(parseStrictJson(line));
  if (fields.text('format') !== FORMAT) throw fields.fault('format', `not ${FORMAT}`);
  const [deployment, predecessor, successor] = ['deployment', 'predecessor', 'successor'].map((key) =>
    fields.text(key),
  );
  fields.end();
  return { deployment, predecessor, successor } as Parties;
}

/** Goes on where an earlier call for the same order ended. */
export class ReleasesFile {
  readonly #file: LineFile;
  readonly #known: Set<string>;

  private constructor(file: LineFile, known: Set<string>) {
    this.#file = file;
    this.#known = known;
  }

  /** @throws QvError output_unwritable, also when the file is of another order */
  static async open(path: string, { deployment, predecessor, successor }: Parties): Promise<ReleasesFile> {
    const parties = { deployment, predecessor, successor };
    const known = existsSync(path) ? await walletsIn(path, parties) : undefined;
    const file = await LineFile.open(path);
    if (known === undefined) file.append({ format: FORMAT, ...parties });
    return new ReleasesFile(file, known ?? new Set());
  }

  has(wallet: string): boolean {
    return this.#known.has(wallet);
  }

  get size(): number {
    return this.#known.size;
  }

  add(wallet: string, { release, state }: AdminCommands['release']['result']): void {
    this.#file.append({ wallet, release, state });
    this.#known.add(wallet);
  }

  close(): void {
    this.#file.close();
  }
}

/** Undefined when nothing whole is in there. */
async function walletsIn(path: string, parties: Parties): Promise<Set<string> | undefined> {
  const lines = readLines(path, LIMITS.cliReleaseLineBytes);
  const first = await lines.next();
  if (first.done === true) return undefined;
  const other = new QvError('output_unwritable', { path, value: 'a file of something else' });
  try {
    const found = readHeader(first.value);
    if ((Object.keys(parties) as (keyof Parties)[]).some((key) => found[key] !== parties[key])) throw other;
  } catch {
    throw other;
  } finally {
    await lines.return(undefined);
  }
  const wallets = new Set<string>();
  for await (const { wallet } of readReleases(path)) wallets.add(wallet);
  return wallets;
}

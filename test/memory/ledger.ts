/** The secrets that are looked for so far, and where they are in a snapshot. */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { binaryPatternsOf, patternsOf } from './encodings.ts';
import { isGuarded, type Mapping, mappingAt, type Run, type Snapshot } from './process-memory.ts';
import { type Match, Searcher } from './search.ts';
import type { Secret, SecretKind } from './secrets.ts';

/** One place in memory where a secret stands, whole or in part. */
export interface Occurrence {
  readonly secret: Secret;
  /** Such as `hex, UTF-16`; several where forms coincide. */
  readonly forms: readonly string[];
  /** `whole`, `16-31` … */
  readonly parts: readonly string[];
  readonly address: number;
  readonly length: number;
  readonly mapping: Mapping;
  readonly isGuarded: boolean;
  /** The bytes from there on and some before it, to see in what it stands. */
  readonly surroundings: string;
}

interface Sought {
  readonly secret: Secret;
  readonly form: string;
  readonly part: string;
  readonly length: number;
}

interface Place extends Sought {
  readonly run: Run;
  readonly offset: number;
}

export class Ledger {
  readonly #searcher = new Searcher();
  readonly #sought: Sought[] = [];
  readonly #secrets = new Map<string, Secret>();
  readonly #patterns = new Map<SecretKind, number>();

  /** Secrets that are known already change nothing. */
  add(...secrets: readonly Secret[]): void {
    for (const secret of secrets) {
      const key = `${secret.kind} ${toHex(secret.bytes)}`;
      if (this.#secrets.has(key)) continue;
      this.#secrets.set(key, secret);
      const patterns = secret.isBinary === true ? binaryPatternsOf(secret.bytes) : this.#textPatterns(secret);
      for (const { form, part, bytes } of patterns) {
        this.#searcher.add(bytes);
        this.#sought.push({ secret, form, part, length: bytes.length });
      }
      this.#patterns.set(secret.kind, this.patternsOf(secret.kind) + patterns.length);
    }
  }

  #textPatterns({ bytes, inParts }: Secret) {
    return patternsOf(bytes, inParts);
  }

  get patterns(): number {
    return this.#searcher.patterns;
  }

  get kinds(): readonly SecretKind[] {
    return [...this.#patterns.keys()];
  }

  secretsOf(kind: SecretKind): readonly Secret[] {
    return [...this.#secrets.values()].filter((secret) => secret.kind === kind);
  }

  patternsOf(kind: SecretKind): number {
    return this.#patterns.get(kind) ?? 0;
  }

  /** Every place once: what is found there whole, in parts and in coinciding forms is one occurrence. */
  search(snapshot: Snapshot): readonly Occurrence[] {
    const places = snapshot.runs.flatMap((run) =>
      this.#searcher
        .search(snapshot.bytes, run.offset, run.offset + run.length)
        .map((match) => this.#place(match, run)),
    );
    const grouped: Place[][] = [];
    const open = new Map<Secret, Place[]>();
    for (const place of places) {
      const group = open.get(place.secret);
      const end = group === undefined ? -1 : Math.max(...group.map(({ offset, length }) => offset + length));
      if (group !== undefined && place.run === group[0]?.run && place.offset <= end) group.push(place);
      else {
        const fresh = [place];
        open.set(place.secret, fresh);
        grouped.push(fresh);
      }
    }
    return grouped.map((group) => occurrenceOf(snapshot, group));
  }

  #place({ pattern, offset }: Match, run: Run): Place {
    return { ...(this.#sought[pattern] as Sought), run, offset };
  }
}

function occurrenceOf(snapshot: Snapshot, group: readonly Place[]): Occurrence {
  const [{ secret, run, offset }] = group as [Place];
  const end = Math.max(...group.map((place) => place.offset + place.length));
  const address = run.address + offset - run.offset;
  const mapping = mappingAt(snapshot, address);
  const from = Math.max(run.offset, offset - 32);
  return {
    secret,
    forms: [...new Set(group.map(({ form }) => form))],
    parts: [...new Set(group.map(({ part }) => part))],
    address,
    length: end - offset,
    mapping,
    isGuarded: isGuarded(mapping),
    surroundings: snapshot.bytes.toString('hex', from, Math.min(run.offset + run.length, end + 32)),
  };
}

/** For people: what stands where. */
export function describeOccurrence({ secret, forms, parts, address, mapping, surroundings }: Occurrence): string {
  const region = `${mapping.permissions} ${mapping.name || 'anonymous'} of ${(mapping.end - mapping.start) / 1024} KiB`;
  const where = `${address.toString(16)}, ${(address - mapping.start).toString(16)} into ${region}`;
  return `${secret.kind} of ${secret.of} as ${forms.join(' and ')} (${parts.join(', ')}) at ${where}: ${surroundings}`;
}

/** Looks into the processes of an appliance again and again, for all secrets that there have been until then. */
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import type { Appliance, FullRow, ProcessName } from './appliance.ts';
import { bootKeys } from './boot-keys.ts';
import { describeOccurrence, Ledger, type Occurrence } from './ledger.ts';
import { addressOf, mappingAt, readMemory, type Snapshot } from './process-memory.ts';
import { type Factor, findFactors, modulusOf, privateNumbers } from './recipient-keys.ts';
import {
  contentKey,
  derivedKeys,
  type SecretKind,
  secondSecrets,
  signatureNonce,
  stateBlobKey,
  walletSecrets,
} from './secrets.ts';

/** What there is to say of one kind of secret in one process, all looks together. */
export interface Line {
  readonly process: ProcessName;
  readonly kind: SecretKind;
  looks: number;
  /** The most that were looked for at once, and in how many forms. */
  secrets: number;
  patterns: number;
  bytesRead: number;
  /** Where and while the design allows it. */
  allowed: number;
  found: number;
}

export interface Look {
  readonly bytesRead: number;
  readonly occurrences: readonly Occurrence[];
  readonly allowed: readonly Occurrence[];
  /** What should not be there, in words. */
  readonly leaks: readonly string[];
  /** Places where a prime of the newest recipient key stands: that one may be there. */
  readonly currentPrimes: number;
}

/** @param at milliseconds since 1970, shortly before the process was stopped */
export type IsAllowed = (occurrence: Occurrence, process: ProcessName, at: number) => boolean;

export class Examination {
  readonly ledger = new Ledger();
  readonly lines: Line[] = [];
  readonly #appliance: Appliance;
  readonly #isAllowed: IsAllowed;
  readonly #seeds = new Map<string, Uint8Array>();
  readonly #executionKeys = new Map<string, Uint8Array>();
  readonly #secondKeys = new Map<string, Uint8Array>();
  /** Made when a wallet was re-wrapped, and not yet seen to open its row. */
  readonly #freshKeys = new Map<string, Uint8Array>();
  /** Wallets whose row had a policy when its keys were checked against it. */
  readonly #complete = new Set<string>();
  /** A prime of each modulus whose private half was seen while that was allowed. */
  readonly #primes = new Map<bigint, bigint>();
  #moduli: readonly bigint[] = [];
  #recordsSeen = 0;
  #signedSeen = 0;

  constructor(appliance: Appliance, isAllowed: IsAllowed = () => false) {
    this.#appliance = appliance;
    this.#isAllowed = isAllowed;
  }

  /** Recipient keys that KMS has sealed for, and of how many of them the private numbers are known. */
  get recipients(): { readonly seen: number; readonly known: number } {
    return { seen: this.#moduli.length, known: this.#primes.size };
  }

  async look(process: ProcessName): Promise<Look> {
    this.#learn();
    const at = Date.now();
    const snapshot = await readMemory(this.#appliance.pidOf(process));
    if (process === 'enclave' && this.ledger.secretsOf('boot key').length === 0) {
      this.ledger.add(...bootKeys(snapshot, await this.#appliance.attested()));
    }
    const occurrences = this.ledger.search(snapshot);
    const allowed = new Map<object, Occurrence>();
    const others: Occurrence[] = [];
    for (const occurrence of occurrences) {
      // Once each: a second copy is one too many, wherever it stands.
      const isFirst = !allowed.has(occurrence.secret);
      if (isFirst && this.#isAllowed(occurrence, process, at)) allowed.set(occurrence.secret, occurrence);
      else others.push(occurrence);
    }
    const factors = findFactors(snapshot.bytes, this.#moduli);
    const newest = this.#moduli.at(-1);
    const current = factors.filter(({ modulus }) => process === 'enclave' && modulus === newest);
    const replaced = factors.filter((factor) => !current.includes(factor));
    // From its replacement on all its numbers are looked for, wherever they stand.
    for (const { modulus, prime } of factors) this.#primes.set(modulus, prime);
    this.#count(process, snapshot.bytes.length, [...allowed.values()], others, replaced.length);
    const leaks = [...others.map(describeOccurrence), ...replaced.map((factor) => describeFactor(snapshot, factor))];
    return {
      bytesRead: snapshot.bytes.length,
      occurrences,
      allowed: [...allowed.values()],
      leaks: leaks.map((leak) => `${process}: ${leak}`),
      currentPrimes: current.length,
    };
  }

  #count(
    process: ProcessName,
    bytesRead: number,
    allowed: readonly Occurrence[],
    found: readonly Occurrence[],
    replacedPrimes: number,
  ): void {
    for (const kind of new Set<SecretKind>([...this.ledger.kinds, 'recipient key'])) {
      const line = this.#lineOf(process, kind);
      const isRecipient = kind === 'recipient key';
      line.looks++;
      line.bytesRead += bytesRead;
      // Of those whose numbers are not known, the primes are looked for.
      line.secrets = isRecipient ? Math.max(0, this.#moduli.length - 1) : this.ledger.secretsOf(kind).length;
      line.patterns = this.ledger.patternsOf(kind);
      line.allowed += allowed.filter(({ secret }) => secret.kind === kind).length;
      line.found += found.filter(({ secret }) => secret.kind === kind).length + (isRecipient ? replacedPrimes : 0);
    }
  }

  #lineOf(process: ProcessName, kind: SecretKind): Line {
    const known = this.lines.find((line) => line.process === process && line.kind === kind);
    if (known !== undefined) return known;
    const fresh = { process, kind, looks: 0, secrets: 0, patterns: 0, bytesRead: 0, allowed: 0, found: 0 };
    this.lines.push(fresh);
    return fresh;
  }

  /** What KMS, the database and the replies say by now. */
  #learn(): void {
    this.#learnFromKms();
    this.#learnFromRows();
    const { signed, importBoxKeys } = this.#appliance;
    this.ledger.add(
      ...importBoxKeys.map(
        (bytes, index) => ({ kind: 'key of an import’s box', of: `import ${index}`, bytes }) as const,
      ),
    );
    for (const { wallet, message, signature } of signed.slice(this.#signedSeen)) {
      const seed = this.#seeds.get(wallet);
      if (seed === undefined) throw new Error(`a signature for ${wallet}, whose seed is not known`);
      this.ledger.add(...signatureNonce(wallet, seed, message, signature));
    }
    this.#signedSeen = signed.length;
    for (const modulus of this.#moduli.slice(0, -1)) {
      const prime = this.#primes.get(modulus);
      if (prime !== undefined) this.ledger.add(...privateNumbers(modulus.toString(16).slice(0, 16), modulus, prime));
    }
  }

  #learnFromKms(): void {
    const records = this.#appliance.records();
    const moduli = new Set(this.#moduli);
    for (const [index, record] of records.entries()) {
      if (index < this.#recordsSeen) continue;
      moduli.add(modulusOf(record.spki));
      this.ledger.add(contentKey(`${record.operation} ${index}`, record));
      const wallet = record.context['qv:wallet'];
      // The fleet's row key is for the host (design 4).
      if (wallet === undefined) continue;
      const keys = record.context['qv:purpose'] === 'execution-key-second' ? this.#secondKeys : this.#executionKeys;
      const known = keys.get(wallet);
      if (known === undefined) keys.set(wallet, record.secret);
      else if (record.operation === 'GenerateDataKey' && !record.altered) this.#freshKeys.set(wallet, record.secret);
      else if (equalBytes(record.secret, this.#freshKeys.get(wallet) ?? known)) continue;
      else if (!equalBytes(known, record.secret)) this.#learnForeignKey(wallet, record.secret);
    }
    this.#moduli = [...moduli];
    this.#recordsSeen = records.length;
  }

  /** A key that KMS was made to seal in place of the right one. */
  #learnForeignKey(wallet: string, bytes: Uint8Array): void {
    const row = this.#appliance.rows().find((candidate) => candidate.wallet === wallet);
    this.ledger.add({ kind: 'execution key', of: `${wallet}, another`, bytes });
    if (row !== undefined) this.ledger.add(...derivedKeys(`${wallet}, another`, bytes, row.salt));
  }

  /** The key that a row was re-wrapped under; one that came to nothing is looked for, too. */
  #learnFreshKey(row: FullRow): void {
    const fresh = this.#freshKeys.get(row.wallet);
    if (fresh === undefined) return;
    try {
      walletSecrets(row, fresh);
      this.#executionKeys.set(row.wallet, fresh);
      this.#complete.delete(row.wallet);
    } catch {
      this.ledger.add({ kind: 'execution key', of: `${row.wallet}, unused`, bytes: fresh });
    }
    this.#freshKeys.delete(row.wallet);
  }

  #learnFromRows(): void {
    for (const row of this.#appliance.rows()) {
      this.#learnFreshKey(row);
      const executionKey = this.#executionKeys.get(row.wallet);
      if (executionKey === undefined) continue;
      this.ledger.add(stateBlobKey(row, executionKey));
      if (this.#complete.has(row.wallet)) continue;
      const { secrets, seed } = walletSecrets(row, executionKey);
      this.#seeds.set(row.wallet, seed);
      this.ledger.add(...secrets);
      const secondKey = this.#secondKeys.get(row.wallet);
      if (row.second !== undefined && secondKey !== undefined)
        this.ledger.add(...secondSecrets(row, row.second.sealed, secondKey, executionKey));
      if (row.policy !== undefined) this.#complete.add(row.wallet);
    }
  }
}

function describeFactor(snapshot: Snapshot, { modulus, offset }: Factor): string {
  const address = addressOf(snapshot, offset);
  const { permissions, name } = mappingAt(snapshot, address);
  const key = modulus.toString(16).slice(0, 16);
  return `prime of recipient key ${key} at ${address.toString(16)} in ${permissions} ${name || 'anonymous'}`;
}

/** Faults that tests inject, and what was called. Reached through the admin socket only, never through the AWS API. */
import type { EnvelopeOptions } from './envelope.ts';
import type { KmsErrorName } from './errors.ts';

export type Fault =
  /** Reads the request and never answers. */
  | { readonly kind: 'hang' }
  /** Answers as usual after a while. */
  | { readonly kind: 'latency'; readonly milliseconds: number }
  /** Ends the connection before, or after, the call was carried out. */
  | { readonly kind: 'drop'; readonly when: 'before' | 'after' }
  /** Refuses with an AWS error: ThrottlingException, KMSInternalException, AccessDeniedException … */
  | { readonly kind: 'refuse'; readonly error: KmsErrorName; readonly message?: string }
  /** Answers 200 with a body that is no JSON. */
  | { readonly kind: 'garbage' }
  /** Writes a wrong or unusual envelope. */
  | { readonly kind: 'envelope'; readonly options: EnvelopeOptions }
  /** Seals other bytes than those asked for. */
  | { readonly kind: 'otherSecret' }
  /** Sends the plaintext beside the envelope, or leaves the empty `Plaintext` out. */
  | { readonly kind: 'plaintext'; readonly as: 'leaked' | 'absent' }
  /** Leaves `CiphertextForRecipient` out. */
  | { readonly kind: 'noEnvelope' }
  /** Names another key in the answer. */
  | { readonly kind: 'keyId'; readonly keyId: string };

export interface FaultRule {
  /** Operation names, `Decrypt`; all of them when absent. */
  readonly operations?: readonly string[];
  /** Calls that name this key; all of them when absent. */
  readonly keyArn?: string;
  /** How many calls it hits; all of them when absent. */
  readonly times?: number;
  readonly fault: Fault;
}

export interface CallRecord {
  readonly operation: string;
  readonly principalArn: string | null;
  readonly keyArn: string | null;
  readonly encryptionContext: Readonly<Record<string, string>>;
  /** The enclave named by a verified attestation document. */
  readonly moduleId: string | null;
  /** `ok` or an error name. */
  readonly outcome: string;
}

export interface OperationCounts {
  readonly calls: number;
  readonly ok: number;
  readonly attested: number;
  readonly errors: Readonly<Record<string, number>>;
}

const REMEMBERED_CALLS = 1000;

export class Faults {
  #rules: { readonly rule: FaultRule; left: number }[] = [];

  set(rules: readonly FaultRule[]): void {
    this.#rules = rules.map((rule) => ({ rule, left: rule.times ?? Number.POSITIVE_INFINITY }));
  }

  /** The faults for one call; each rule that applies counts it. */
  take(operation: string, keyId: string | undefined): readonly Fault[] {
    const hits = this.#rules.filter(
      ({ rule, left }) =>
        left > 0 &&
        (rule.operations === undefined || rule.operations.includes(operation)) &&
        (rule.keyArn === undefined || rule.keyArn === keyId),
    );
    for (const hit of hits) hit.left -= 1;
    return hits.map(({ rule }) => rule.fault);
  }
}

export class CallLog {
  #records: CallRecord[] = [];

  add(record: CallRecord): void {
    this.#records.push(record);
    if (this.#records.length > REMEMBERED_CALLS) this.#records.shift();
  }

  clear(): void {
    this.#records = [];
  }

  last(count: number): readonly CallRecord[] {
    return this.#records.slice(-count);
  }

  counts(): Readonly<Record<string, OperationCounts>> {
    const counts: Record<string, OperationCounts> = {};
    for (const { operation, outcome, moduleId } of this.#records) {
      const before = counts[operation] ?? { calls: 0, ok: 0, attested: 0, errors: {} };
      const errors =
        outcome === 'ok' ? before.errors : { ...before.errors, [outcome]: (before.errors[outcome] ?? 0) + 1 };
      counts[operation] = {
        calls: before.calls + 1,
        ok: before.ok + (outcome === 'ok' ? 1 : 0),
        attested: before.attested + (moduleId === null ? 0 : 1),
        errors,
      };
    }
    return counts;
  }
}

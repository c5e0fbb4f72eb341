/** One execution, and what has to hold for every target: see `examine`. */
import { isDeepStrictEqual } from 'node:util';
import { ERRORS, QvError } from '@quantumvault/shared/errors.ts';
import { beginRun, isAccepted, type Target } from './target.ts';

export type Outcome =
  | { readonly kind: 'accepted'; readonly value: unknown }
  | { readonly kind: 'refused'; readonly code: string; readonly path: string | undefined }
  | { readonly kind: 'violation'; readonly what: string; readonly error: unknown };

const MARGIN = 32;
const CANARY = 0xa5;
/** Beside what grows with the input. */
const CONSTANT_WEIGHT = 64 * 1024;

/**
 * Runs the target on bytes that lie inside a larger buffer, between canaries, as frames lie inside chunks. A violation is:
 * anything thrown but a QvError with one of the target's codes; input or canaries changed; a prototype extended; a
 * result much larger than its input; and, with `twice`, another answer for the same bytes in a buffer of their own.
 */
export async function examine(target: Target, input: Uint8Array, twice: boolean): Promise<Outcome> {
  const whole = new Uint8Array(input.length + 2 * MARGIN).fill(CANARY);
  whole.set(input, MARGIN);
  // Nor may anything be hung onto it, as some decoders do.
  const lent = Object.preventExtensions(whole.subarray(MARGIN, MARGIN + input.length));
  const outcome = await execute(target, lent);
  if (outcome.kind === 'violation') return outcome;
  const violation = (what: string): Outcome => ({ kind: 'violation', what, error: undefined });
  if (Buffer.compare(whole.subarray(MARGIN, MARGIN + input.length), input) !== 0)
    return violation('the input was changed');
  for (const edge of [whole.subarray(0, MARGIN), whole.subarray(MARGIN + input.length)])
    if (edge.some((byte) => byte !== CANARY)) return violation('bytes beside the input were changed');
  const polluted = pollution(twice);
  if (polluted !== undefined) return violation(`prototype polluted: ${polluted}`);
  if (!twice) return outcome;
  if (outcome.kind === 'accepted') {
    const allowed = CONSTANT_WEIGHT + (target.growth ?? 64) * input.length;
    if (weight(outcome.value, allowed) > allowed)
      return violation(`the result is larger than ${allowed} for ${input.length} bytes`);
  }
  if (target.deterministic === false) return outcome;
  const again = await execute(target, Uint8Array.from(input));
  if (!sameOutcome(outcome, again))
    return violation(`another answer the second time: ${shown(outcome)}, then ${shown(again)}`);
  return outcome;
}

async function execute(target: Target, input: Uint8Array): Promise<Outcome> {
  beginRun();
  try {
    const result = target.run(input);
    return { kind: 'accepted', value: result instanceof Promise ? await result : result };
  } catch (error) {
    // By name, since a mutant has a module graph, and so a QvError, of its own.
    if (!(error instanceof Error) || (error.name !== 'QvError' && !(error instanceof QvError)))
      return { kind: 'violation', what: describe(error), error };
    const { code, facts } = error as QvError;
    if (!Object.hasOwn(ERRORS, code)) return { kind: 'violation', what: `code ${code} is not in the table`, error };
    if (isAccepted()) return { kind: 'violation', what: `${code} (${facts.path}) behind what was accepted`, error };
    if (!target.codes.includes(code))
      return { kind: 'violation', what: `unexpected code ${code} (${facts.path})`, error };
    const odd = [facts.path, facts.value].find((fact) => fact !== undefined && typeof fact !== 'string');
    if (odd !== undefined) return { kind: 'violation', what: `a fact of ${code} is no text`, error };
    return { kind: 'refused', code, path: facts.path };
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message.slice(0, 300)}` : `thrown: ${String(error)}`;
}

function shown(outcome: Outcome): string {
  return outcome.kind === 'refused'
    ? `refused with ${outcome.code}`
    : outcome.kind === 'violation'
      ? outcome.what
      : outcome.kind;
}

function sameOutcome(a: Outcome, b: Outcome): boolean {
  if (a.kind === 'accepted' && b.kind === 'accepted') return isDeepStrictEqual(a.value, b.value);
  if (a.kind === 'refused' && b.kind === 'refused') return a.code === b.code && a.path === b.path;
  return false;
}

const PROTOTYPES: readonly object[] = [
  Object.prototype,
  Array.prototype,
  Function.prototype,
  String.prototype,
  Number.prototype,
  Map.prototype,
  Set.prototype,
  Uint8Array.prototype,
  Object.getPrototypeOf(Uint8Array.prototype) as object,
  Buffer.prototype,
  Error.prototype,
  Promise.prototype,
];
const KNOWN = PROTOTYPES.map((prototype) => Reflect.ownKeys(prototype).length);

/** The cheap half of it each time. */
function pollution(inFull: boolean): string | undefined {
  for (const key in {}) return key;
  if (!inFull) return undefined;
  for (const [index, prototype] of PROTOTYPES.entries())
    if (Reflect.ownKeys(prototype).length !== KNOWN[index]) return Object.prototype.toString.call(prototype);
  return undefined;
}

/** Bytes, characters and members of a value, down to its leaves; stops when there are more than `enough`. */
function weight(value: unknown, enough: number): number {
  let sum = 0;
  const seen = new Set<object>();
  const rest: unknown[] = [value];
  while (rest.length > 0 && sum <= enough) {
    const next = rest.pop();
    sum += 8;
    if (typeof next === 'string') sum += next.length;
    if (typeof next === 'bigint') sum += next.toString(16).length;
    if (typeof next !== 'object' || next === null || seen.has(next)) continue;
    seen.add(next);
    if (ArrayBuffer.isView(next)) sum += next.byteLength;
    else if (next instanceof Map) rest.push(...next.keys(), ...next.values());
    else if (next instanceof Set) rest.push(...next);
    else rest.push(...Object.values(next));
  }
  return sum;
}

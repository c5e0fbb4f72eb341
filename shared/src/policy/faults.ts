/**
 * Everything that is wrong with a policy document, not only what the parser stumbles over first. The parser stays as
 * it is: each part is parsed inside a document whose other parts are known to be right.
 *
 * One fault is named per part: a field of the document, an entry of `tokens`, an instruction of `programs`.
 */
import { QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { SYSTEM_PROGRAM, TOKEN_PROGRAM } from '../solana/programs.ts';
import { at } from './fields.ts';
import { POLICY_FEATURES, parsePolicy } from './parse.ts';

export interface Fault {
  /** Empty for the document as a whole. */
  readonly path: string;
  readonly why: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** Right in every part; any address does. */
const RIGHT: Fields = {
  version: 1,
  wallet: SYSTEM_PROGRAM,
  owner: SYSTEM_PROGRAM,
  epoch: 1,
  validFrom: '2000-01-01T00:00:00Z',
  validUntil: '2100-01-01T00:00:00Z',
  requesters: [SYSTEM_PROGRAM],
  transaction: { versions: [], lookupTables: {}, durableNonce: false, maxInstructions: 0 },
  fees: { maxLamports: '0' },
  sol: { maxPerTransaction: '0', destinations: [] },
  tokens: [],
  programs: [],
};

/** Empty exactly if parsePolicy takes the document, whatever parts of the format it uses. */
export function policyFaults(value: unknown): readonly Fault[] {
  const whole = faultOf(value);
  if (whole === undefined) return [];
  if (!isObject(value)) return [whole];
  const tokens = tokensNaming(value['tokens']);
  const found = [
    ...Object.keys(RIGHT)
      .filter((key) => !Object.hasOwn(value, key))
      .map((key) => ({ path: key, why: 'missing' })),
    ...Object.keys(value).flatMap((key) => {
      const part = faultOf({ ...RIGHT, tokens, [key]: value[key] });
      if (key === 'programs') return [...programFaults(value[key], tokens), part];
      if (key !== 'tokens') return [part];
      return [...entryFaults(value[key], key, (entry) => ({ ...RIGHT, tokens: [entry] })), part];
    }),
    // What only shows in the document as a whole, such as a validity that ends before it begins.
    whole,
  ];
  // A list repeats what its entries said already.
  const paths = new Set<string>();
  return found.filter((fault): fault is Fault => {
    if (fault === undefined || paths.has(fault.path)) return false;
    paths.add(fault.path);
    return true;
  });
}

function faultOf(document: unknown): Fault | undefined {
  try {
    parsePolicy(document, { support: POLICY_FEATURES });
    return undefined;
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    return { path: error.facts.path ?? '', why: error.facts.value ?? '' };
  }
}

/** Faults of each entry by itself. `document` has the entry at index 0 of the list at `path`. */
function entryFaults(list: unknown, path: string, document: (entry: unknown) => unknown): (Fault | undefined)[] {
  if (!Array.isArray(list)) return [];
  return list.map((entry, index) => moved(faultOf(document(entry)), at(path, 0), at(path, index)));
}

function programFaults(list: unknown, tokens: unknown): (Fault | undefined)[] {
  if (!Array.isArray(list)) return [];
  const document = (program: unknown): unknown => ({ ...RIGHT, tokens, programs: [program] });
  const inside = list.flatMap((program: unknown, index) => {
    if (!isObject(program)) return [];
    // The first program's path, because it stands alone in its document.
    const path = at(at('programs', 0), 'instructions');
    const faults = entryFaults(program['instructions'], path, (entry) =>
      document({ ...program, instructions: [entry] }),
    );
    return faults.map((fault) => moved(fault, at('programs', 0), at('programs', index)));
  });
  return [...inside, ...entryFaults(list, 'programs', document)];
}

function moved(fault: Fault | undefined, from: string, to: string): Fault | undefined {
  if (fault === undefined || !fault.path.startsWith(from)) return fault;
  return { ...fault, path: to + fault.path.slice(from.length) };
}

/** Rules may name the mints of `tokens`, and should not be blamed for what else is wrong there. */
function tokensNaming(list: unknown): readonly unknown[] {
  const entries = Array.isArray(list) ? list.filter(isObject) : [];
  const mints = [...new Set(entries.map((entry) => entry['mint']))].slice(0, LIMITS.policyTokens);
  const rules = mints.map((mint) => ({
    mint,
    tokenProgram: TOKEN_PROGRAM,
    decimals: 0,
    maxPerTransaction: '0',
    destinations: [],
  }));
  return rules.filter((rule) => faultOf({ ...RIGHT, tokens: [rule] }) === undefined);
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Policy documents (design 7): JSON in, a typed and frozen Policy out, and its canonical bytes. The format is closed:
 * what is not named here is an error with its path, and so is a rule that constrains nothing.
 *
 * An absent destination list is an error; an empty one, or "0", is legal and means nobody, nothing.
 */
import type { Address, TimeMs } from '../brands.ts';
import { deepFreeze } from '../deep-freeze.ts';
import { QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import type { MessageVersion } from '../solana/message.ts';
import { TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from '../solana/programs.ts';
import {
  addresses,
  addressField,
  amount,
  at,
  flag,
  integer,
  invalid,
  list,
  oneOf,
  record,
  time,
  uniqueList,
} from './fields.ts';
import { type ProgramRule, parseName, parsePrograms } from './program-rules.ts';

/** At most `max` base units in any `seconds` seconds. */
export interface Window {
  readonly seconds: number;
  readonly max: bigint;
}

export interface LookupTable {
  readonly table: Address;
  /** The table's entries in order. A table may hold an address twice, so a snapshot may too. */
  readonly addresses: readonly Address[];
}

export interface TransactionRule {
  readonly versions: readonly MessageVersion[];
  readonly lookupTables: readonly LookupTable[];
  readonly durableNonce: false;
  /** Top-level instructions, ComputeBudget included. */
  readonly maxInstructions: number;
}

export interface FeeRule {
  readonly maxLamports: bigint;
  readonly window?: Window;
}

export interface SolRule {
  /** Lamports, without the fee. */
  readonly maxPerTransaction: bigint;
  readonly window?: Window;
  readonly destinations: readonly Address[];
}

export interface TokenRule {
  readonly mint: Address;
  readonly tokenProgram: Address;
  readonly decimals: number;
  readonly maxPerTransaction: bigint;
  readonly window?: Window;
  /** Owners; tokens go to the account derived from owner, mint and token program. */
  readonly destinations: readonly Address[];
}

export interface RateRule {
  readonly perMinute: number;
  readonly perDay: number;
}

/** Either the enclave verifies the source's Ed25519 key, or only the host verifies it, which the statement says. */
export type SignalSource =
  | { readonly name: string; readonly hostVerified: true }
  | { readonly name: string; readonly key: Address };

export interface SignalRule {
  readonly required: boolean;
  readonly sources: readonly SignalSource[];
  readonly maxAgeSeconds: number;
  readonly signaturesPerSignal: number;
}

export interface Policy {
  readonly version: 1;
  readonly wallet: Address;
  readonly owner: Address;
  readonly epoch: number;
  readonly validFrom: TimeMs;
  /** Exclusive. */
  readonly validUntil: TimeMs;
  readonly requesters: readonly Address[];
  readonly signals?: SignalRule;
  readonly transaction: TransactionRule;
  readonly fees: FeeRule;
  readonly sol: SolRule;
  readonly tokens: readonly TokenRule[];
  readonly programs: readonly ProgramRule[];
  readonly rate?: RateRule;
}

/** The parts of the format that an engine may not enforce yet. A policy that uses such a part is refused. */
export const POLICY_FEATURES = ['lookupTables', 'tokens', 'programs', 'windows', 'rate', 'signals'] as const;
export type PolicyFeature = (typeof POLICY_FEATURES)[number];

/** What the enclave enforces today: all of it. A part that is added to the format starts outside of this list. */
export const ENCLAVE_FEATURES: readonly PolicyFeature[] = POLICY_FEATURES;

export interface ParseOptions {
  readonly support?: readonly PolicyFeature[];
}

const U32_MAX = 0xffff_ffff;
const VERSIONS: readonly MessageVersion[] = ['legacy', '0', '1'];
const TABLE_ADDRESSES = 256;

/**
 * @param value a policy as strict JSON gives it
 * @throws QvError policy_invalid with the path at fault; policy_unsupported with the path that is not enforced yet
 */
export function parsePolicy(value: unknown, options: ParseOptions = {}): Policy {
  const fields = record(
    value,
    '',
    [
      'version',
      'wallet',
      'owner',
      'epoch',
      'validFrom',
      'validUntil',
      'requesters',
      'transaction',
      'fees',
      'sol',
      'tokens',
      'programs',
    ],
    ['signals', 'rate'],
  );
  if (fields['version'] !== 1) throw invalid('version', 'must be 1');
  const validFrom = time(fields['validFrom'], 'validFrom');
  const validUntil = time(fields['validUntil'], 'validUntil');
  if (validUntil <= validFrom) throw invalid('validUntil', 'is not after validFrom');
  const tokens = uniqueList(fields['tokens'], 'tokens', parseToken, (rule) => rule.mint, 0, LIMITS.policyTokens);
  const destinations = tokens.reduce((sum, rule) => sum + rule.destinations.length, 0);
  if (destinations > LIMITS.policyTokenDestinations) throw invalid('tokens', 'has too many destinations in all');
  const policy: Policy = {
    version: 1,
    wallet: addressField(fields['wallet'], 'wallet'),
    owner: addressField(fields['owner'], 'owner'),
    epoch: integer(fields['epoch'], 'epoch', 1, U32_MAX),
    validFrom,
    validUntil,
    requesters: addresses(fields['requesters'], 'requesters', 1, LIMITS.requesters),
    ...(fields['signals'] !== undefined && { signals: parseSignals(fields['signals'], 'signals') }),
    transaction: parseTransaction(fields['transaction'], 'transaction'),
    fees: parseFees(fields['fees'], 'fees'),
    sol: parseSol(fields['sol'], 'sol'),
    tokens,
    programs: parsePrograms(
      fields['programs'],
      'programs',
      tokens.map((rule) => rule.mint),
    ),
    ...(fields['rate'] !== undefined && { rate: parseRate(fields['rate'], 'rate') }),
  };
  refuseUnsupported(policy, options.support ?? ENCLAVE_FEATURES);
  return deepFreeze(policy);
}

function parseTransaction(value: unknown, path: string): TransactionRule {
  const fields = record(value, path, ['versions', 'lookupTables', 'durableNonce', 'maxInstructions']);
  if (fields['durableNonce'] !== false) throw invalid(at(path, 'durableNonce'), 'must be false in version 1');
  return {
    versions: uniqueList(
      fields['versions'],
      at(path, 'versions'),
      (entry, entryPath) => oneOf(entry, entryPath, VERSIONS),
      (version) => version,
    ),
    lookupTables: parseTables(fields['lookupTables'], at(path, 'lookupTables')),
    durableNonce: false,
    maxInstructions: integer(fields['maxInstructions'], at(path, 'maxInstructions'), 0, LIMITS.transactionInstructions),
  };
}

function parseTables(value: unknown, path: string): readonly LookupTable[] {
  const keys = typeof value === 'object' && value !== null ? Object.keys(value) : [];
  const fields = record(value, path, [], keys);
  return keys.sort().map((key) => ({
    table: addressField(key, at(path, key)),
    addresses: list(fields[key], at(path, key), addressField, 0, TABLE_ADDRESSES),
  }));
}

function parseWindow(value: unknown, path: string): { readonly window?: Window } {
  if (value === undefined) return {};
  const fields = record(value, path, ['seconds', 'max']);
  const seconds = integer(fields['seconds'], at(path, 'seconds'), 1, LIMITS.policyWindowSeconds);
  return { window: { seconds, max: amount(fields['max'], at(path, 'max')) } };
}

function parseFees(value: unknown, path: string): FeeRule {
  const fields = record(value, path, ['maxLamports'], ['window']);
  return {
    maxLamports: amount(fields['maxLamports'], at(path, 'maxLamports')),
    ...parseWindow(fields['window'], at(path, 'window')),
  };
}

function parseSol(value: unknown, path: string): SolRule {
  const fields = record(value, path, ['maxPerTransaction', 'destinations'], ['window']);
  return {
    maxPerTransaction: amount(fields['maxPerTransaction'], at(path, 'maxPerTransaction')),
    ...parseWindow(fields['window'], at(path, 'window')),
    destinations: addresses(fields['destinations'], at(path, 'destinations')),
  };
}

function parseToken(value: unknown, path: string): TokenRule {
  const fields = record(
    value,
    path,
    ['mint', 'tokenProgram', 'decimals', 'maxPerTransaction', 'destinations'],
    ['window'],
  );
  return {
    mint: addressField(fields['mint'], at(path, 'mint')),
    tokenProgram: oneOf(fields['tokenProgram'], at(path, 'tokenProgram'), [TOKEN_PROGRAM, TOKEN_2022_PROGRAM]),
    decimals: integer(fields['decimals'], at(path, 'decimals'), 0, 255),
    maxPerTransaction: amount(fields['maxPerTransaction'], at(path, 'maxPerTransaction')),
    ...parseWindow(fields['window'], at(path, 'window')),
    destinations: addresses(fields['destinations'], at(path, 'destinations')),
  };
}

function parseRate(value: unknown, path: string): RateRule {
  const fields = record(value, path, ['perMinute', 'perDay']);
  return {
    perMinute: integer(fields['perMinute'], at(path, 'perMinute'), 0, U32_MAX),
    perDay: integer(fields['perDay'], at(path, 'perDay'), 0, U32_MAX),
  };
}

function parseSignals(value: unknown, path: string): SignalRule {
  const fields = record(value, path, ['required', 'sources', 'maxAgeSeconds', 'signaturesPerSignal']);
  return {
    required: flag(fields['required'], at(path, 'required')),
    sources: uniqueList(fields['sources'], at(path, 'sources'), parseSource, (source) => source.name),
    maxAgeSeconds: integer(fields['maxAgeSeconds'], at(path, 'maxAgeSeconds'), 1, LIMITS.policyWindowSeconds),
    signaturesPerSignal: integer(fields['signaturesPerSignal'], at(path, 'signaturesPerSignal'), 1, U32_MAX),
  };
}

function parseSource(value: unknown, path: string): SignalSource {
  const byHost = typeof value === 'object' && value !== null && Object.hasOwn(value, 'hostVerified');
  const fields = record(value, path, ['name', byHost ? 'hostVerified' : 'key']);
  const name = parseName(fields['name'], at(path, 'name'));
  if (!byHost) return { name, key: addressField(fields['key'], at(path, 'key')) };
  if (fields['hostVerified'] !== true) throw invalid(at(path, 'hostVerified'), 'must be true where it is given');
  return { name, hostVerified: true };
}

/** A limit that nobody enforces must not look like one. */
function refuseUnsupported(policy: Policy, support: readonly PolicyFeature[]): void {
  const tokenWindow = policy.tokens.findIndex((rule) => rule.window !== undefined);
  const uses: readonly [PolicyFeature, boolean, string][] = [
    ['lookupTables', policy.transaction.lookupTables.length > 0, 'transaction.lookupTables'],
    ['tokens', policy.tokens.length > 0, 'tokens'],
    ['programs', policy.programs.length > 0, 'programs'],
    ['windows', policy.fees.window !== undefined, 'fees.window'],
    ['windows', policy.sol.window !== undefined, 'sol.window'],
    ['windows', tokenWindow >= 0, `tokens[${tokenWindow}].window`],
    ['rate', policy.rate !== undefined, 'rate'],
    ['signals', policy.signals !== undefined, 'signals'],
  ];
  for (const [feature, used, path] of uses)
    if (used && !support.includes(feature)) throw new QvError('policy_unsupported', { path });
}

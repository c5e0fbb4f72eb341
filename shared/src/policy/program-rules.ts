/**
 * The `programs` part of a policy (design 7): which instructions of which programs, recognised by their data and
 * accounts. A rule must constrain something, and may only count mints that the policy limits.
 */
import type { Address } from '../brands.ts';
import { LIMITS } from '../limits.ts';
import { FORBIDDEN_PROGRAMS, LIGHTHOUSE_PROGRAM, UNDERSTOOD_PROGRAMS } from '../solana/programs.ts';
import {
  addresses,
  addressField,
  amount,
  at,
  integer,
  invalid,
  list,
  oneOf,
  record,
  text,
  uniqueList,
} from './fields.ts';

export type IntegerType = 'u8' | 'u16' | 'u32' | 'u64';
export const INTEGER_BYTES: Readonly<Record<IntegerType, number>> = { u8: 1, u16: 2, u32: 4, u64: 8 };

/** Bytes at `offset` that must be exactly these. */
export interface DataEquals {
  readonly kind: 'equals';
  readonly offset: number;
  /** Lower-case hex. */
  readonly equals: string;
}

/** A little-endian integer at `offset`. */
export interface DataInteger {
  readonly kind: 'integer';
  readonly offset: number;
  readonly type: IntegerType;
  readonly min?: bigint;
  readonly max?: bigint;
  /** The value counts as outflow of this mint. */
  readonly spends?: Address;
  /** The value is the least the wallet gets of this mint. */
  readonly receives?: Address;
  /** Base units received per base unit spent, at least: a decimal string. */
  readonly minPerSpent?: string;
}

export type DataRule = DataEquals | DataInteger;

export type AccountRule =
  | { readonly kind: 'oneOf'; readonly index: number; readonly oneOf: readonly Address[] }
  | { readonly kind: 'wallet'; readonly index: number }
  | { readonly kind: 'walletTokenAccount'; readonly index: number; readonly mint: Address };

export interface InstructionRule {
  readonly name: string;
  readonly data: readonly DataRule[];
  readonly accounts: readonly AccountRule[];
  readonly minAccounts: number;
  readonly maxAccounts: number;
  /**
   * The instruction is allowed only between assertions of this program on what each account of the wallet passed to it
   * holds; the difference counts as outflow (`judge-bracket.ts`).
   */
  readonly bracketedBy?: Address;
}

export interface ProgramRule {
  readonly program: Address;
  readonly instructions: readonly InstructionRule[];
}

const NAME = /^[A-Za-z0-9._-]+$/;
const HEX = /^(?:[0-9a-f]{2})+$/;
const RATIO = /^(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,18})?$/;
/** Instruction data cannot be longer than a transaction. */
const LAST_OFFSET = LIMITS.transactionV1Bytes;
const LAST_ACCOUNT = 254;

/** @param mints the mints that the policy's `tokens` limits. @throws QvError policy_invalid */
export function parsePrograms(value: unknown, path: string, mints: readonly Address[]): readonly ProgramRule[] {
  const programs = uniqueList(
    value,
    path,
    (entry, entryPath) => parseProgram(entry, entryPath, mints),
    (rule) => rule.program,
    0,
    LIMITS.policyPrograms,
  );
  // Its other instructions write and close accounts that the wallet pays for: beside brackets, no rule may add them.
  const isBracketed = programs.some(({ instructions }) => instructions.some((rule) => rule.bracketedBy !== undefined));
  const asserting = programs.findIndex(({ program }) => program === LIGHTHOUSE_PROGRAM);
  if (isBracketed && asserting >= 0)
    throw invalid(at(at(path, asserting), 'program'), 'asserts the brackets of other rules');
  return programs;
}

function parseProgram(value: unknown, path: string, mints: readonly Address[]): ProgramRule {
  const fields = record(value, path, ['program', 'instructions']);
  const program = addressField(fields['program'], at(path, 'program'));
  if (UNDERSTOOD_PROGRAMS.includes(program)) throw invalid(at(path, 'program'), 'is judged by built-in rules');
  if (FORBIDDEN_PROGRAMS.includes(program)) throw invalid(at(path, 'program'), 'is never allowed');
  const instructions = uniqueList(
    fields['instructions'],
    at(path, 'instructions'),
    (entry, entryPath) => parseInstruction(entry, entryPath, mints),
    (rule) => rule.name,
    0,
    LIMITS.policyInstructionRules,
  );
  return { program, instructions };
}

function parseInstruction(value: unknown, path: string, mints: readonly Address[]): InstructionRule {
  const fields = record(value, path, ['name', 'data', 'accounts', 'minAccounts', 'maxAccounts'], ['bracketedBy']);
  const name = parseName(fields['name'], at(path, 'name'));
  const data = list(
    fields['data'],
    at(path, 'data'),
    (entry, entryPath) => parseData(entry, entryPath, mints),
    0,
    LIMITS.policyDataRules,
  );
  const accounts = uniqueList(
    fields['accounts'],
    at(path, 'accounts'),
    (entry, entryPath) => parseAccount(entry, entryPath, mints),
    (rule) => rule.index,
    0,
    LIMITS.policyAccountRules,
  );
  if (data.length === 0 && accounts.length === 0) throw invalid(path, 'constrains neither data nor accounts');
  const minAccounts = integer(fields['minAccounts'], at(path, 'minAccounts'), 0, LAST_ACCOUNT + 1);
  const maxAccounts = integer(fields['maxAccounts'], at(path, 'maxAccounts'), minAccounts, LAST_ACCOUNT + 1);
  for (const [index, rule] of accounts.entries())
    if (rule.index >= maxAccounts) throw invalid(at(at(path, 'accounts'), index), 'lies beyond maxAccounts');
  requirePrices(data, at(path, 'data'));
  const bracketedBy =
    fields['bracketedBy'] === undefined
      ? undefined
      : oneOf(fields['bracketedBy'], at(path, 'bracketedBy'), [LIGHTHOUSE_PROGRAM]);
  return { name, data, accounts, minAccounts, maxAccounts, ...(bracketedBy !== undefined && { bracketedBy }) };
}

export function parseName(value: unknown, path: string): string {
  const name = text(value, path);
  if (!NAME.test(name) || name.length > LIMITS.policyNameCharacters)
    throw invalid(path, `must be 1 to ${LIMITS.policyNameCharacters} of A-Z a-z 0-9 . _ -`);
  return name;
}

function parseData(value: unknown, path: string, mints: readonly Address[]): DataRule {
  const isEquals = typeof value === 'object' && value !== null && Object.hasOwn(value, 'equals');
  if (isEquals) {
    const fields = record(value, path, ['offset', 'equals']);
    const equals = text(fields['equals'], at(path, 'equals'));
    if (!HEX.test(equals)) throw invalid(at(path, 'equals'), 'must be lower-case hex of at least one byte');
    return { kind: 'equals', offset: parseOffset(fields['offset'], path), equals };
  }
  return parseInteger(value, path, mints);
}

function parseInteger(value: unknown, path: string, mints: readonly Address[]): DataInteger {
  const fields = record(value, path, ['offset', 'type'], ['min', 'max', 'spends', 'receives', 'minPerSpent']);
  const type = oneOf(fields['type'], at(path, 'type'), ['u8', 'u16', 'u32', 'u64']);
  const most = (1n << BigInt(8 * INTEGER_BYTES[type])) - 1n;
  const bound = (key: 'min' | 'max'): bigint | undefined => {
    if (fields[key] === undefined) return undefined;
    const parsed = amount(fields[key], at(path, key));
    if (parsed > most) throw invalid(at(path, key), `does not fit ${type}`);
    return parsed;
  };
  const mint = (key: 'spends' | 'receives'): Address | undefined => {
    if (fields[key] === undefined) return undefined;
    return listedMint(fields[key], at(path, key), mints);
  };
  const min = bound('min');
  const max = bound('max');
  const spends = mint('spends');
  const receives = mint('receives');
  const minPerSpent =
    fields['minPerSpent'] === undefined ? undefined : text(fields['minPerSpent'], at(path, 'minPerSpent'));
  if (minPerSpent !== undefined && (!RATIO.test(minPerSpent) || !/[1-9]/.test(minPerSpent)))
    throw invalid(at(path, 'minPerSpent'), 'must be a decimal string above zero');
  if (minPerSpent !== undefined && receives === undefined) throw invalid(at(path, 'receives'), 'missing');
  if (spends !== undefined && receives !== undefined) throw invalid(path, 'both spends and receives');
  if (min !== undefined && max !== undefined && min > max) throw invalid(at(path, 'max'), 'is below min');
  // A minimum of zero and a maximum of the type's largest value say nothing.
  const bounded = (min ?? 0n) > 0n || (max ?? most) < most;
  if (!bounded && spends === undefined && minPerSpent === undefined) throw invalid(path, 'constrains nothing');
  return {
    kind: 'integer',
    offset: parseOffset(fields['offset'], path),
    type,
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
    ...(spends !== undefined && { spends }),
    ...(receives !== undefined && { receives }),
    ...(minPerSpent !== undefined && { minPerSpent }),
  };
}

const parseOffset = (value: unknown, path: string): number => integer(value, at(path, 'offset'), 0, LAST_OFFSET);

function listedMint(value: unknown, path: string, mints: readonly Address[]): Address {
  const mint = addressField(value, path);
  if (!mints.includes(mint)) throw invalid(path, 'is no mint of tokens');
  return mint;
}

/** A price is received per spent: there must be exactly one amount spent that it can refer to. */
function requirePrices(data: readonly DataRule[], path: string): void {
  const spends = data.filter((rule) => rule.kind === 'integer' && rule.spends !== undefined).length;
  for (const [index, rule] of data.entries())
    if (rule.kind === 'integer' && rule.minPerSpent !== undefined && spends !== 1)
      throw invalid(at(at(path, index), 'minPerSpent'), 'needs exactly one data rule that spends');
}

function parseAccount(value: unknown, path: string, mints: readonly Address[]): AccountRule {
  const isList = typeof value === 'object' && value !== null && Object.hasOwn(value, 'oneOf');
  const fields = record(value, path, isList ? ['index', 'oneOf'] : ['index', 'is'], isList ? [] : ['mint']);
  const index = integer(fields['index'], at(path, 'index'), 0, LAST_ACCOUNT);
  if (isList) return { kind: 'oneOf', index, oneOf: addresses(fields['oneOf'], at(path, 'oneOf')) };
  const kind = oneOf(fields['is'], at(path, 'is'), ['wallet', 'walletTokenAccount']);
  if (kind === 'walletTokenAccount') return { kind, index, mint: listedMint(fields['mint'], at(path, 'mint'), mints) };
  if (fields['mint'] !== undefined) throw invalid(at(path, 'mint'), 'belongs to walletTokenAccount');
  return { kind, index };
}

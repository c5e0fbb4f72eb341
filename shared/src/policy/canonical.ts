/**
 * The bytes of a policy that are hashed and MACed: canonical CBOR of the document with text keys, amounts and times
 * as the strings they are in JSON, and the purpose beside them (design 5).
 */

import type { Hash } from '../brands.ts';
import { equalBytes } from '../bytes.ts';
import { type CborValue, decodeCbor, encodeCbor } from '../cbor.ts';
import { QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { formatTime } from '../rfc3339.ts';
import { sha256 } from '../sha256.ts';
import { invalid } from './fields.ts';
import { type ParseOptions, type Policy, parsePolicy } from './parse.ts';
import type { AccountRule, DataRule } from './program-rules.ts';

export const POLICY_PURPOSE = 'qv/policy/v1';

type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

/** The document again, in the spelling that parsePolicy reads: amounts and times as strings. */
export function policyJson(policy: Policy): { readonly [key: string]: Json } {
  const { transaction, programs, ...rest } = policy;
  return {
    ...(plain(rest) as { readonly [key: string]: Json }),
    validFrom: formatTime(policy.validFrom),
    validUntil: formatTime(policy.validUntil),
    transaction: {
      ...(plain(transaction) as { readonly [key: string]: Json }),
      lookupTables: Object.fromEntries(transaction.lookupTables.map(({ table, addresses }) => [table, addresses])),
    },
    programs: programs.map(({ program, instructions }) => ({
      program,
      instructions: instructions.map((rule) => ({
        ...rule,
        data: rule.data.map(dataJson),
        accounts: rule.accounts.map(accountJson),
      })),
    })),
  };
}

/** Typed values whose JSON has the same shape; only amounts change their form. */
function plain(value: unknown): Json {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  return value as Json;
}

function dataJson(rule: DataRule): Json {
  const { kind: _, ...fields } = rule;
  return plain(fields);
}

function accountJson(rule: AccountRule): Json {
  if (rule.kind === 'oneOf') return { index: rule.index, oneOf: rule.oneOf };
  if (rule.kind === 'wallet') return { index: rule.index, is: 'wallet' };
  return { index: rule.index, is: 'walletTokenAccount', mint: rule.mint };
}

/** Canonical CBOR (RFC 8949 section 4.2.1). Equal policies have equal bytes. @throws QvError policy_too_large */
export function policyBytes(policy: Policy): Uint8Array {
  const bytes = encodeCbor(cborOf({ purpose: POLICY_PURPOSE, ...policyJson(policy) }));
  if (bytes.length > LIMITS.policyBytes) throw new QvError('policy_too_large', { value: String(bytes.length) });
  return bytes;
}

/**
 * Reads back what policyBytes wrote, and nothing else.
 * @throws QvError cbor_malformed, policy_too_large, policy_invalid, policy_unsupported
 */
export function policyFromBytes(bytes: Uint8Array, options: ParseOptions = {}): Policy {
  if (bytes.length > LIMITS.policyBytes) throw new QvError('policy_too_large', { value: String(bytes.length) });
  const document = jsonOf(decodeCbor(bytes));
  if (typeof document !== 'object' || Array.isArray(document)) throw invalid('', 'must be an object');
  const { purpose, ...fields } = document as { readonly [key: string]: Json };
  if (purpose !== POLICY_PURPOSE) throw invalid('purpose', 'is not that of a policy');
  const policy = parsePolicy(fields, options);
  // Strict CBOR has one spelling already; this holds even if the reader above ever became more forgiving.
  if (!equalBytes(policyBytes(policy), bytes)) throw invalid('', 'is not in canonical form');
  return policy;
}

/** SHA-256 of the canonical bytes: what statements, receipts and the sealed state name. */
export function policyHash(bytes: Uint8Array): Hash {
  return sha256(bytes);
}

/** JSON as CBOR. Every number of a policy is an integer below 2^32. */
export function cborOf(value: Json): CborValue {
  if (Array.isArray(value)) return (value as readonly Json[]).map(cborOf);
  if (typeof value === 'object') return new Map(Object.entries(value).map(([key, inner]) => [key, cborOf(inner)]));
  return value as string | number | boolean;
}

function jsonOf(value: CborValue): Json {
  if (value === null || value instanceof Uint8Array) throw invalid('', 'holds null or bytes');
  if (value instanceof Map) {
    // fromEntries defines own properties, so a key like __proto__ is a field (and refused as unknown), not a prototype.
    return Object.fromEntries(
      [...value].map(([key, inner]) => {
        if (typeof key !== 'string') throw invalid('', 'has a key that is no text');
        return [key, jsonOf(inner as CborValue)];
      }),
    );
  }
  return Array.isArray(value) ? (value as readonly CborValue[]).map(jsonOf) : (value as string | number | boolean);
}

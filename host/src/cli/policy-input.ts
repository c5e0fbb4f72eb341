/** Policies, earlier spends and signals as the `qv policy` commands take them: strict JSON, in a file or inline. */
import { type Address, address, type TimeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import {
  POLICY_FEATURES,
  type Policy,
  type PolicyFeature,
  parsePolicy,
  policyBytes,
} from '@quantumvault/shared/policy/policy.ts';
import {
  NOTHING_SPENT,
  type Reservation,
  reserve,
  type Signal,
  type SpendState,
} from '@quantumvault/shared/policy/state.ts';
import { parseTime } from '@quantumvault/shared/rfc3339.ts';
import { jsonInput } from './text-input.ts';

const AMOUNT = /^(?:0|[1-9][0-9]{0,19})$/;

/**
 * @param support everything the format has unless given: what an enclave may refuse can still be judged and explained
 * @throws QvError json_malformed, input_unreadable, policy_invalid, policy_unsupported, policy_too_large
 */
export async function readPolicy(source: string, support: readonly PolicyFeature[] = POLICY_FEATURES): Promise<Policy> {
  const policy = parsePolicy(await jsonInput(source, source), { support });
  // Only canonical bytes have a limit, and what exceeds it can never be enabled.
  policyBytes(policy);
  return policy;
}

/** @throws QvError usage_invalid */
export function timeOption(name: string, text: string): TimeMs {
  const time = parseTime(text);
  if (time === undefined) throw new QvError('usage_invalid', { value: `--${name} must be like 2026-11-22T12:00:00Z` });
  return time;
}

/**
 * What the wallet signed before, as the enclave would remember it. A list of
 * `{"at": "2026-11-22T11:59:30Z", "lamportsOut": "50000000", "fee": "5000", "tokens": {"<mint>": "1"}, "signal": {…}}`,
 * of which only `at` is required: amounts are 0 unless given, and the fee is that of one signature.
 * @throws QvError field_malformed with the path at fault, base58_malformed
 */
export function spendState(prior: JsonValue): SpendState {
  if (!Array.isArray(prior)) throw new QvError('field_malformed', { path: 'prior', value: 'not a list' });
  return (prior as readonly JsonValue[])
    .map((entry, index) => readSpend(entry, `prior[${index}]`))
    .sort((a, b) => a.at - b.at)
    .reduce((state, { at, reservation }) => reserve(state, reservation, at), NOTHING_SPENT);
}

function readSpend(value: JsonValue, path: string): { readonly at: TimeMs; readonly reservation: Reservation } {
  const fields = new JsonFields(value, path);
  const at = timeField(fields, 'at');
  const signal = fields.optional('signal');
  const reservation = {
    lamportsOut: amountField(fields, 'lamportsOut', '0'),
    feeLamports: amountField(fields, 'fee', String(LIMITS.lamportsPerSignature)),
    tokens: tokensField(fields),
    ...(signal !== undefined && { signal: signalOf(signal, fields.path('signal')) }),
  };
  fields.end();
  return { at, reservation };
}

/**
 * A signal as the enclave would have verified it: `{"source": "alpha", "id": "4711", "at": "2026-11-22T11:59:30Z",
 * "verifiedBy": "enclave"}`. `verifiedBy` is `host` unless given: only the enclave checks keys.
 * @throws QvError field_malformed with the path at fault
 */
export function signalOf(value: JsonValue, path = 'signal'): Signal {
  const fields = new JsonFields(value, path);
  const verifiedBy = fields.optional('verifiedBy') ?? 'host';
  if (verifiedBy !== 'host' && verifiedBy !== 'enclave') throw fields.fault('verifiedBy', 'neither host nor enclave');
  const signal: Signal = {
    source: fields.text('source'),
    id: fields.text('id'),
    at: timeField(fields, 'at'),
    verifiedBy,
  };
  fields.end();
  return signal;
}

function timeField(fields: JsonFields, key: string): TimeMs {
  const time = parseTime(fields.text(key));
  if (time === undefined) throw fields.fault(key, 'not a time like 2026-11-22T12:00:00Z');
  return time;
}

function amountField(fields: JsonFields, key: string, absent: string): bigint {
  const value = fields.optional(key) ?? absent;
  if (typeof value !== 'string' || !AMOUNT.test(value)) throw fields.fault(key, 'not a decimal string');
  return BigInt(value);
}

function tokensField(fields: JsonFields): ReadonlyMap<Address, bigint> {
  const value = fields.optional('tokens') ?? {};
  const tokens = new JsonFields(value, fields.path('tokens'));
  return new Map(
    Object.keys(value).map((mint) => [address(mint, tokens.path(mint)), amountField(tokens, mint, '0')] as const),
  );
}

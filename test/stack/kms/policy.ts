/**
 * Key policies: default deny, an explicit deny wins (AWS IAM user guide, "Policy evaluation logic").
 *
 * Subset: Effect, Principal, Action and Resource, each as text or list, and the condition operators below, with
 * `IfExists`, `ForAllValues:` and `ForAnyValue:`. What is not understood makes the policy malformed, never ignored.
 * How key policy, identity policy and grants decide together: authorize.ts.
 */
import type { JsonObject, JsonValue } from '@quantumvault/shared/json.ts';
import { parseStrictJson } from '@quantumvault/shared/json.ts';
import { KmsError } from './errors.ts';

type Operator = (actual: string, wanted: string) => boolean;

const POSITIVE: Readonly<Record<string, Operator>> = {
  StringEquals: (actual, wanted) => actual === wanted,
  StringEqualsIgnoreCase: (actual, wanted) => actual.toLowerCase() === wanted.toLowerCase(),
  StringLike: (actual, wanted) => glob(wanted, false).test(actual),
  ArnEquals: arnLike,
  // "ArnEquals and ArnLike behave identically" (IAM user guide).
  ArnLike: arnLike,
  Bool: (actual, wanted) => actual.toLowerCase() === wanted.toLowerCase(),
};
/** True when the positive operator is true for none of the wanted values; also when the key is absent. */
const NEGATIVE: Readonly<Record<string, Operator | undefined>> = {
  StringNotEquals: POSITIVE['StringEquals'],
  StringNotEqualsIgnoreCase: POSITIVE['StringEqualsIgnoreCase'],
  StringNotLike: POSITIVE['StringLike'],
  ArnNotEquals: arnLike,
  ArnNotLike: arnLike,
};

/** Each of the six parts between colons by itself, with wildcards. */
function arnLike(actual: string, wanted: string): boolean {
  const [have, want] = [arnParts(actual), arnParts(wanted)];
  return want.length === 6 && want.every((part, index) => glob(part, false).test(have[index] ?? ''));
}

function arnParts(arn: string): readonly string[] {
  const parts = arn.split(':');
  return [...parts.slice(0, 5), parts.slice(5).join(':')];
}

/** Condition keys in lower case, because AWS compares their names without case; absent keys are not listed. */
export type ConditionFacts = ReadonlyMap<string, readonly string[]>;

export interface AccessRequest {
  /** `kms:Decrypt` */
  readonly action: string;
  readonly principalArn: string;
  readonly keyArn: string;
  readonly facts: ConditionFacts;
}

export type Verdict = 'allowed' | 'explicit deny' | 'no allow';

interface Condition {
  readonly key: string;
  readonly holds: (actual: readonly string[] | undefined) => boolean;
}

interface Statement {
  readonly effect: 'Allow' | 'Deny';
  readonly principals: readonly string[];
  readonly actions: readonly RegExp[];
  readonly resources: readonly RegExp[];
  readonly conditions: readonly Condition[];
}

export type Policy = readonly Statement[];

const malformed = (why: string): KmsError => new KmsError('MalformedPolicyDocumentException', why);

function glob(pattern: string, ignoreCase: boolean): RegExp {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replace(/\*/g, '[^]*').replace(/\?/g, '[^]')}$`, ignoreCase ? 'i' : '');
}

/** A key policy; `identity`: one of a user or role, whose statements have no principal, because it is whose policy it is. */
export function parsePolicy(text: string, kind: 'key' | 'identity' = 'key'): Policy {
  let value: JsonValue;
  try {
    value = parseStrictJson(Buffer.from(text));
  } catch (error) {
    throw new KmsError('MalformedPolicyDocumentException', 'not JSON', { cause: error });
  }
  const policy = object(value, 'the policy');
  onlyKeys(policy, ['Version', 'Id', 'Statement']);
  if (policy['Version'] !== undefined && policy['Version'] !== '2012-10-17') throw malformed('Version');
  const statements = policy['Statement'];
  const list = Array.isArray(statements) ? (statements as readonly JsonValue[]) : [statements];
  if (list.length === 0) throw malformed('no statement');
  return list.map((statement) => parseStatement(statement, kind));
}

function parseStatement(value: JsonValue | undefined, kind: 'key' | 'identity'): Statement {
  const statement = object(value, 'a statement');
  const isKey = kind === 'key';
  onlyKeys(statement, ['Sid', 'Effect', ...(isKey ? ['Principal'] : []), 'Action', 'Resource', 'Condition']);
  const effect = statement['Effect'];
  if (effect !== 'Allow' && effect !== 'Deny') throw malformed('Effect');
  const conditions = statement['Condition'] === undefined ? {} : object(statement['Condition'], 'Condition');
  return {
    effect,
    principals: isKey ? parsePrincipals(statement['Principal']) : ['*'],
    actions: texts(statement['Action'], 'Action').map((action) => glob(action, true)),
    resources: texts(statement['Resource'], 'Resource').map((resource) => glob(resource, false)),
    conditions: Object.entries(conditions).flatMap(([operator, keys]) =>
      Object.entries(object(keys, operator)).map(([key, wanted]) => ({
        key: key.toLowerCase(),
        holds: parseOperator(operator, texts(wanted, key)),
      })),
    ),
  };
}

function parsePrincipals(value: JsonValue | undefined): readonly string[] {
  if (value === '*') return ['*'];
  const principal = object(value, 'Principal');
  onlyKeys(principal, ['AWS']);
  return texts(principal['AWS'], 'Principal');
}

function parseOperator(spelled: string, wanted: readonly string[]): Condition['holds'] {
  const [, set, bare = '', ifExists] = /^(ForAllValues:|ForAnyValue:)?([A-Za-z]+?)(IfExists)?$/.exec(spelled) ?? [];
  if (bare === 'Null') {
    const absent = wanted.map((text) => text.toLowerCase() === 'true');
    return (actual) => absent.includes(actual === undefined);
  }
  const positive = POSITIVE[bare];
  const operator = positive ?? NEGATIVE[bare];
  if (operator === undefined) throw malformed(`condition operator ${spelled}`);
  const matches = (actual: string): boolean =>
    wanted.some((text) => operator(actual, text)) === (positive !== undefined);
  const whenAbsent = ifExists !== undefined || set === 'ForAllValues:' || (set === undefined && positive === undefined);
  return (actual) => {
    if (actual === undefined) return whenAbsent;
    // A negated operator without a set operator asks that no value is among the wanted ones.
    const every = set === 'ForAllValues:' || (set === undefined && positive === undefined);
    return every ? actual.every(matches) : actual.some(matches);
  };
}

function object(value: JsonValue | undefined, what: string): JsonObject {
  if (value === undefined || value === null || typeof value !== 'object' || Array.isArray(value)) throw malformed(what);
  return value as JsonObject;
}

function texts(value: JsonValue | undefined, what: string): readonly string[] {
  const list = Array.isArray(value) ? (value as readonly JsonValue[]) : [value];
  if (list.length === 0) throw malformed(what);
  return list.map((item) => {
    if (typeof item === 'boolean') return String(item);
    if (typeof item !== 'string') throw malformed(what);
    return item;
  });
}

function onlyKeys(value: JsonObject, known: readonly string[]): void {
  for (const key of Object.keys(value)) if (!known.includes(key)) throw malformed(`element ${key}`);
}

/** `as`: the names under which the principal is looked for; all of its names by default. */
export function evaluate(policy: Policy, request: AccessRequest, as = principalNames(request.principalArn)): Verdict {
  const matching = policy.filter((statement) => applies(statement, request, as));
  if (matching.some((statement) => statement.effect === 'Deny')) return 'explicit deny';
  return matching.length > 0 ? 'allowed' : 'no allow';
}

function applies(statement: Statement, request: AccessRequest, names: readonly string[]): boolean {
  return (
    statement.principals.some((principal) => names.includes(principal)) &&
    statement.actions.some((action) => action.test(request.action)) &&
    statement.resources.some((resource) => resource.test(request.keyArn)) &&
    statement.conditions.every((condition) => condition.holds(request.facts.get(condition.key)))
  );
}

const SESSION = /^arn:(aws[a-z-]*):sts::(\d{12}):assumed-role\/([^/]+)\/[^/]+$/;

/** The role behind a role session, as `aws:PrincipalArn` has it; every other principal itself. */
export function roleOf(arn: string): string {
  const [, partition, account, role] = SESSION.exec(arn) ?? [];
  return role === undefined ? arn : `arn:${partition}:iam::${account}:role/${role}`;
}

export function accountOf(arn: string): string {
  return arn.split(':')[4] ?? '';
}

/** How a policy names the principal and nobody else of its account: itself, the role behind a session, everybody. */
export function ownNames(arn: string): readonly string[] {
  return ['*', arn, roleOf(arn)];
}

/** Those, and its whole account. */
function principalNames(arn: string): readonly string[] {
  const account = accountOf(arn);
  return [...ownNames(arn), account, `arn:aws:iam::${account}:root`];
}

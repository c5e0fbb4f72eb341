/**
 * A KMS key policy as statements, and whether one of them applies to a question (IAM user guide, "Policy evaluation
 * logic", "Condition operators").
 *
 * Subset: every element that a key policy may have, and the condition operators below. What this file cannot decide is
 * `unknown`, never a guess: whoever asks takes it for the worse. So a condition on a key that the caller chooses, or an
 * operator that is not listed here, neither bounds what an Allow gives nor makes a Deny hold.
 */
import { JsonFields, type JsonObject, type JsonValue } from '@quantumvault/shared/json.ts';

/** Whose call it is, for what, and the image that its attestation names; no image: not attested. */
export interface Question {
  /** An ARN, as `aws:PrincipalArn` has it; undefined: an AWS service, whose calls have none. */
  readonly principal: string | undefined;
  /** `kms:Decrypt` */
  readonly action: string;
  /** PCR0, lower-case hex. */
  readonly image: string | undefined;
}

export type Truth = boolean | 'unknown';

interface Condition {
  readonly operator: string;
  /** In lower case: AWS compares the names of condition keys without case. */
  readonly key: string;
  readonly wanted: readonly string[];
}

interface Listed {
  /** NotPrincipal, NotAction, NotResource. */
  readonly isNegated: boolean;
  readonly values: readonly string[];
}

export interface Statement {
  /** Its Sid, or its place: `Statement[2]`. */
  readonly name: string;
  readonly effect: 'Allow' | 'Deny';
  /** ARNs, accounts or `*`; services and federations as `Service:…`, which none of our questions comes from. */
  readonly principals: Listed;
  readonly actions: Listed;
  readonly resources: Listed;
  readonly conditions: readonly Condition[];
}

const VERSIONS = ['2012-10-17', '2008-10-17'];

/** @throws QvError field_malformed naming the element */
export function parseKeyPolicy(document: JsonValue): readonly Statement[] {
  const fields = new JsonFields(document, 'policy');
  const version = fields.optional('Version');
  if (version !== undefined && !VERSIONS.includes(String(version))) throw fields.fault('Version', 'unknown');
  fields.optional('Id');
  const listed = fields.required('Statement');
  fields.end();
  const statements = Array.isArray(listed) ? (listed as readonly JsonValue[]) : [listed];
  if (statements.length === 0) throw fields.fault('Statement', 'none');
  return statements.map((statement, index) => readStatement(statement, `Statement[${index}]`));
}

function readStatement(value: JsonValue, path: string): Statement {
  const fields = new JsonFields(value, path);
  const sid = fields.optional('Sid');
  const effect = fields.text('Effect');
  if (effect !== 'Allow' && effect !== 'Deny') throw fields.fault('Effect', 'neither Allow nor Deny');
  const statement: Statement = {
    name: typeof sid === 'string' && sid !== '' ? sid : path,
    effect,
    principals: either(fields, 'Principal', principalsOf),
    actions: either(fields, 'Action', textsOf),
    resources: either(fields, 'Resource', textsOf),
    conditions: conditionsOf(fields),
  };
  fields.end();
  return statement;
}

type Reader = (fields: JsonFields, key: string) => readonly string[];

function either(fields: JsonFields, key: string, read: Reader): Listed {
  const negated = `Not${key}`;
  const [has, hasNegated] = [fields.optional(key), fields.optional(negated)];
  if ((has === undefined) === (hasNegated === undefined)) throw fields.fault(key, `one of ${key} and ${negated}`);
  const isNegated = has === undefined;
  return { isNegated, values: read(fields, isNegated ? negated : key) };
}

function principalsOf(fields: JsonFields, key: string): readonly string[] {
  const value = fields.required(key);
  if (value === '*') return ['*'];
  const kinds = new JsonFields(value, fields.path(key));
  return Object.keys(value as JsonObject).flatMap((kind) =>
    textsOf(kinds, kind).map((text) => (kind === 'AWS' ? text : `${kind}:${text}`)),
  );
}

function conditionsOf(fields: JsonFields): readonly Condition[] {
  const value = fields.optional('Condition');
  if (value === undefined) return [];
  const operators = new JsonFields(value, fields.path('Condition'));
  return operators.keys().flatMap((operator) => {
    const keys = new JsonFields(operators.required(operator), operators.path(operator));
    return keys.keys().map((key) => ({ operator, key: key.toLowerCase(), wanted: textsOf(keys, key) }));
  });
}

function textsOf(fields: JsonFields, key: string): readonly string[] {
  const value = fields.required(key);
  const list = Array.isArray(value) ? (value as readonly JsonValue[]) : [value];
  if (list.length === 0) throw fields.fault(key, 'empty');
  return list.map((item) => {
    if (typeof item === 'boolean' || typeof item === 'number') return String(item);
    if (typeof item !== 'string') throw fields.fault(key, 'not text');
    return item;
  });
}

/** Both name PCR0. */
export const IMAGE_KEYS = ['kms:recipientattestation:imagesha384', 'kms:recipientattestation:pcr0'];
const ATTESTED_PCR = /^kms:recipientattestation:pcr\d+$/;

/** Whether it applies. @param keyArn the key whose policy it is, where that is known */
export function applies(statement: Statement, question: Question, keyArn?: string): Truth {
  const { principals, actions, resources, conditions } = statement;
  const parts: Truth[] = [
    inverted(principals.isNegated, names(principals.values, question.principal)),
    inverted(
      actions.isNegated,
      actions.values.some((action) => glob(action, true).test(question.action)),
    ),
    inverted(resources.isNegated, isThisKey(resources.values, keyArn)),
    ...conditions.map((condition) => holds(condition, question)),
  ];
  if (parts.includes(false)) return false;
  return parts.includes('unknown') ? 'unknown' : true;
}

const inverted = (isNegated: boolean, truth: Truth): Truth => (isNegated && truth !== 'unknown' ? !truth : truth);

export const accountOf = (arn: string): string => arn.split(':')[4] ?? '';

/** An account stands for everybody in it, as far as its IAM policies say. A session of a role is less than the role. */
function names(values: readonly string[], principal: string | undefined): Truth {
  if (principal === undefined) return values.includes('*') || (values.some(isNoArn) ? 'unknown' : false);
  const account = accountOf(principal);
  const root = `arn:${principal.split(':')[1]}:iam::${account}:root`;
  if (values.some((value) => value === '*' || value === principal || value === account || value === root)) return true;
  return values.some((value) => isSessionOf(value, principal)) ? 'unknown' : false;
}

/** A service, a federation, or an account, which services may act for. */
const isNoArn = (value: string): boolean => !value.startsWith('arn:');

const SESSION = /^arn:aws[a-z-]*:sts::(\d{12}):assumed-role\/([^/]+)\//;

function isSessionOf(value: string, principal: string): boolean {
  const [, account, role] = SESSION.exec(value) ?? [];
  return role !== undefined && account === accountOf(principal) && principal.split('/').at(-1) === role;
}

/** In a key policy `*` is the key itself; a pattern that might not mean it is not relied upon. */
function isThisKey(values: readonly string[], keyArn: string | undefined): Truth {
  return values.some((value) => value === '*' || value === keyArn) ? true : 'unknown';
}

type Operator = (actual: string, wanted: string) => boolean;
const equals: Operator = (actual, wanted) => actual === wanted;
const equalsIgnoringCase: Operator = (actual, wanted) => actual.toLowerCase() === wanted.toLowerCase();
const like: Operator = (actual, wanted) => glob(wanted, false).test(actual);
const arnLike: Operator = (actual, wanted) => {
  const [have, want] = [parts(actual), parts(wanted)];
  return want.length === 6 && want.every((part, index) => glob(part, false).test(have[index] ?? ''));
};

const OPERATORS: Readonly<Record<string, { readonly operator: Operator; readonly isNegated: boolean } | undefined>> = {
  StringEquals: { operator: equals, isNegated: false },
  StringEqualsIgnoreCase: { operator: equalsIgnoringCase, isNegated: false },
  StringLike: { operator: like, isNegated: false },
  // "ArnEquals and ArnLike behave identically" (IAM user guide).
  ArnEquals: { operator: arnLike, isNegated: false },
  ArnLike: { operator: arnLike, isNegated: false },
  StringNotEquals: { operator: equals, isNegated: true },
  StringNotEqualsIgnoreCase: { operator: equalsIgnoringCase, isNegated: true },
  StringNotLike: { operator: like, isNegated: true },
  ArnNotEquals: { operator: arnLike, isNegated: true },
  ArnNotLike: { operator: arnLike, isNegated: true },
};

function holds({ operator: spelled, key, wanted }: Condition, question: Question): Truth {
  const actual = factOf(key, question);
  if (actual === 'unknown' || wanted.some((text) => text.includes('${'))) return 'unknown';
  // Whom it fits nobody can list, and so nobody asks for all of them.
  if (key === 'aws:principalarn' && wanted.some((text) => !text.startsWith('arn:'))) return 'unknown';
  const [, set, bare = '', ifExists] = /^(ForAllValues:|ForAnyValue:)?([A-Za-z]+?)(IfExists)?$/.exec(spelled) ?? [];
  if (bare === 'Null') return wanted.some((text) => (text.toLowerCase() === 'true') === (actual === undefined));
  const known = OPERATORS[bare];
  if (known === undefined) return 'unknown';
  const { operator, isNegated } = known;
  if (actual === undefined) {
    // An absent key fits every negated operator, whatever ends in IfExists, and every value of none.
    return ifExists !== undefined || set === 'ForAllValues:' || (set === undefined && isNegated);
  }
  return wanted.some((text) => operator(actual, text)) !== isNegated;
}

/** What is known of a condition key. Undefined: the call does not have it. */
function factOf(key: string, { principal, image }: Question): string | undefined | 'unknown' {
  if (IMAGE_KEYS.includes(key)) return image;
  if (key === 'aws:principalarn') return principal;
  if (ATTESTED_PCR.test(key) && image === undefined) return undefined;
  return 'unknown';
}

export function glob(pattern: string, ignoreCase: boolean): RegExp {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replace(/\*/g, '[^]*').replace(/\?/g, '[^]')}$`, ignoreCase ? 'i' : '');
}

function parts(arn: string): readonly string[] {
  const split = arn.split(':');
  return [...split.slice(0, 5), split.slice(5).join(':')];
}

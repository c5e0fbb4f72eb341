/**
 * Which images can open keys under a key policy, and everything in it that goes beyond that. It asks the policy rather
 * than looking for patterns: for everybody whom it names, and somebody whom it does not, for every operation, with every
 * image that it names, with one that it does not, in debug mode and without attestation. What cannot be decided counts
 * as allowed (statements.ts). Grants and IAM policies are not in a key policy: so what has to be refused must be denied.
 */
import { toHex } from '@quantumvault/shared/bytes.ts';
import type { JsonValue } from '@quantumvault/shared/json.ts';
import { accountOf, applies, glob, IMAGE_KEYS, parseKeyPolicy, type Question, type Statement } from './statements.ts';

export interface KeyPolicyExpectations {
  /** PCR0 in lower-case hex of each image that may open keys; no other may. */
  readonly images: readonly string[];
  /** PCR0s that may not be named anywhere any more. */
  readonly retired: readonly string[];
  readonly instanceRole: string;
  readonly breakGlass: string;
  readonly keyArn?: string;
}

/** Meanings never change. */
export const FAULTS = {
  image_missing: 'an image that should open keys cannot',
  image_unexpected: 'an image that is not among the expected ones can open keys',
  image_retired: 'the policy still names a retired image',
  image_any: 'an image that nobody named can open keys',
  image_debug: 'an enclave in debug mode, whose memory its host can read, can open keys',
  image_pattern: 'images are named by a pattern, or in upper case, so that others may fit than were meant',
  use_unattested: 'keys can be opened without attestation',
  use_by_others: 'somebody else than the instance role can open keys',
  operation_unattested: 'an operation that gives key material away, or plants it, and asks for no image',
  power_elsewhere: 'somebody else than the break-glass role can change or end the key',
  power_missing: 'the break-glass role cannot change the policy: only AWS support could ever again',
  principal_account: 'a whole account is allowed something, so that its IAM policies decide',
  principal_anybody: 'everybody is allowed something',
  principal_other: 'something else than a role, a user or an account is allowed something',
  grant_open: 'a grant, now or later, would go past the policy: nothing denies it',
  grant_exists: 'a grant on the key exists; no grant knows attestation',
  operation_unknown: 'an operation that this check does not know is allowed',
} as const;

export type Fault = keyof typeof FAULTS;

export interface Finding {
  readonly fault: Fault;
  /** The image, principal or operation, or several of these. */
  readonly what: string;
  /** The statements that allow it. */
  readonly statements: readonly string[];
}

export interface KeyPolicyReport {
  /** PCR0 of each image that can open keys, of those that the policy or the caller names. */
  readonly images: readonly string[];
  readonly findings: readonly Finding[];
}

const USE = ['kms:Decrypt', 'kms:GenerateDataKey'];
/** KMS attests DeriveSharedSecret and GenerateDataKeyPair, too; the enclave has no use for them. */
const UNATTESTED = [
  'Encrypt',
  'ReEncryptFrom',
  'ReEncryptTo',
  'CreateGrant',
  'DeriveSharedSecret',
  'GenerateDataKeyWithoutPlaintext',
  'GenerateDataKeyPair',
  'GenerateDataKeyPairWithoutPlaintext',
].map(named);
/** Of keys of another kind, which this one can never become. */
const OTHER_KINDS = ['Sign', 'Verify', 'GenerateMac', 'VerifyMac'].map(named);
const POWERS = [
  'PutKeyPolicy',
  'ScheduleKeyDeletion',
  'CancelKeyDeletion',
  'DisableKey',
  'EnableKey',
  'ReplicateKey',
  'UpdatePrimaryRegion',
  'ImportKeyMaterial',
  'DeleteImportedKeyMaterial',
].map(named);
const HARMLESS = [
  'CreateAlias',
  'DeleteAlias',
  'DescribeKey',
  'DisableKeyRotation',
  'EnableKeyRotation',
  'GetKeyPolicy',
  'GetKeyRotationStatus',
  'GetParametersForImport',
  'GetPublicKey',
  'ListGrants',
  'ListKeyPolicies',
  'ListKeyRotations',
  'ListResourceTags',
  'RetireGrant',
  'RevokeGrant',
  'RotateKeyOnDemand',
  'TagResource',
  'UntagResource',
  'UpdateAlias',
  'UpdateKeyDescription',
].map(named);
const KNOWN = [...USE, ...UNATTESTED, ...OTHER_KINDS, ...POWERS, ...HARMLESS];

const PCR0 = /^[0-9a-f]{96}$/;
export const DEBUG_PCR0 = '0'.repeat(96);

function named(operation: string): string {
  return `kms:${operation}`;
}

/** For people: whoever is named nowhere. */
const STRANGER = 'somebody who is not named';

/**
 * One of each kind of caller, whom nobody can have named. A denial that is for roles alone, say, leaves users to whatever
 * grants there are. Undefined is an AWS service.
 */
function strangers(): readonly (string | undefined)[] {
  const name = toHex(crypto.getRandomValues(new Uint8Array(8)));
  const account = String(crypto.getRandomValues(new BigUint64Array(1))[0])
    .padStart(12, '0')
    .slice(-12);
  const place = `:${account}:`;
  return [
    `arn:aws:iam:${place}role/${name}`,
    `arn:aws:iam:${place}user/${name}`,
    `arn:aws:iam:${place}root`,
    `arn:aws:sts:${place}federated-user/${name}`,
    undefined,
  ];
}

/** @throws QvError field_malformed: no key policy */
export function checkKeyPolicy(document: JsonValue, expected: KeyPolicyExpectations): KeyPolicyReport {
  const asked = new Inquiry(parseKeyPolicy(document), expected);
  asked.whoUses();
  asked.whoElseDoes(UNATTESTED, 'operation_unattested');
  asked.whoElseDoes(OTHER_KINDS, 'operation_unattested');
  // Whoever uses the key and can change its policy lets any image in.
  const { breakGlass, instanceRole } = expected;
  asked.whoElseDoes(POWERS, 'power_elsewhere', breakGlass === instanceRole ? undefined : breakGlass);
  asked.whatIsMissing();
  asked.whatIsRetired();
  asked.howStatementsAreWritten();
  asked.whatGrantsCould();
  return asked.report();
}

/** One policy, and what was found out about it so far. */
class Inquiry {
  readonly #policy: readonly Statement[];
  readonly #expected: KeyPolicyExpectations;
  readonly #findings: Finding[] = [];
  readonly #opens = new Set<string>();
  /** Nobody can have named it. */
  readonly #fresh = toHex(crypto.getRandomValues(new Uint8Array(48)));
  readonly #images: readonly string[];
  readonly #strangers = strangers();
  readonly #people: readonly (string | undefined)[];

  constructor(policy: readonly Statement[], expected: KeyPolicyExpectations) {
    this.#policy = policy;
    this.#expected = expected;
    const named = new Set([...imagesIn(policy), ...expected.images, ...expected.retired]);
    this.#images = [...named].filter((image) => image !== DEBUG_PCR0);
    const { instanceRole, breakGlass } = expected;
    this.#people = [...new Set([instanceRole, breakGlass, ...this.#strangers, ...peopleIn(policy)])];
  }

  report(): KeyPolicyReport {
    return { images: this.#images.filter((image) => this.#opens.has(image)), findings: this.#findings };
  }

  whoUses(): void {
    const { images, instanceRole } = this.#expected;
    for (const principal of this.#people)
      for (const action of USE) {
        this.#add(
          'use_unattested',
          `${action} by ${this.#named(principal)}`,
          this.#allowing({ principal, action, image: undefined }),
        );
        this.#add('image_any', action, this.#allowing({ principal, action, image: this.#fresh }));
        this.#add('image_debug', action, this.#allowing({ principal, action, image: DEBUG_PCR0 }));
        for (const image of this.#images) {
          const by = this.#allowing({ principal, action, image });
          if (by.length === 0) continue;
          if (action === 'kms:Decrypt') this.#opens.add(image);
          if (principal !== instanceRole) this.#add('use_by_others', this.#named(principal), by);
          if (!images.includes(image)) this.#add('image_unexpected', image, by);
        }
      }
  }

  /** Whatever is attested: attestation bounds none of these. */
  whoElseDoes(actions: readonly string[], fault: Fault, except?: string): void {
    for (const principal of this.#people.filter((one) => one === undefined || one !== except))
      for (const action of actions) {
        const by = [undefined, this.#fresh, ...this.#images].flatMap((image) =>
          this.#allowing({ principal, action, image }),
        );
        this.#add(fault, `${action} by ${this.#named(principal)}`, [...new Set(by)]);
      }
  }

  whatIsMissing(): void {
    const { images, instanceRole, breakGlass } = this.#expected;
    for (const image of images)
      if (USE.some((action) => this.#allowing({ principal: instanceRole, action, image }).length === 0))
        this.#find('image_missing', image);
    const change = { principal: breakGlass, action: 'kms:PutKeyPolicy', image: undefined };
    const isAllowed = this.#policy.some((one) => one.effect === 'Allow' && this.#applies(one, change) === true);
    const isDenied = this.#policy.some((one) => one.effect === 'Deny' && this.#applies(one, change) !== false);
    if (!isAllowed || isDenied) this.#find('power_missing', breakGlass);
  }

  whatIsRetired(): void {
    for (const image of this.#expected.retired) {
      const by = this.#policy.filter((one) => imagesIn([one]).includes(image)).map(({ name }) => name);
      this.#add('image_retired', image, by);
    }
  }

  howStatementsAreWritten(): void {
    for (const { name, effect, principals, actions, conditions } of this.#policy) {
      if (conditions.some(isPattern)) this.#find('image_pattern', name);
      if (effect === 'Deny') continue;
      if (principals.isNegated || principals.values.includes('*')) this.#find('principal_anybody', name);
      for (const value of principals.values) {
        if (ACCOUNT.test(value)) this.#find('principal_account', `${value} in ${name}`);
        else if (value !== '*' && !value.startsWith('arn:')) this.#find('principal_other', `${value} in ${name}`);
      }
      const unknown = actions.isNegated ? [] : actions.values.filter((action) => !isKnown(action));
      for (const action of unknown) this.#find('operation_unknown', `${action} in ${name}`);
    }
  }

  /** A grant goes past every Allow, and is stopped by a Deny alone. */
  whatGrantsCould(): void {
    // Named by a denial as the exception: no Allow lets it in, and nothing keeps a grant from doing so.
    const others = this.#images.filter((image) => !this.#expected.images.includes(image) && !this.#opens.has(image));
    for (const principal of this.#people)
      for (const image of [undefined, this.#fresh, DEBUG_PCR0, ...others])
        for (const action of [...USE, ...UNATTESTED])
          if (!this.#isDenied({ principal, action, image }))
            this.#find('grant_open', image !== undefined && others.includes(image) ? `${action} as ${image}` : action);
  }

  /** Where it would go through, by which statements: what is not known makes an Allow apply, and no Deny. */
  #allowing(question: Question): readonly string[] {
    if (this.#isDenied(question)) return [];
    return this.#policy
      .filter((one) => one.effect === 'Allow' && this.#applies(one, question) !== false)
      .map(({ name }) => name);
  }

  #isDenied(question: Question): boolean {
    return this.#policy.some((one) => one.effect === 'Deny' && this.#applies(one, question) === true);
  }

  #applies(statement: Statement, question: Question) {
    return applies(statement, question, this.#expected.keyArn);
  }

  #named(principal: string | undefined): string {
    return principal === undefined || this.#strangers.includes(principal) ? STRANGER : principal;
  }

  #add(fault: Fault, what: string, statements: readonly string[]): void {
    if (statements.length > 0) this.#find(fault, what, statements);
  }

  #find(fault: Fault, what: string, statements: readonly string[] = []): void {
    if (!this.#findings.some((known) => known.fault === fault && known.what === what))
      this.#findings.push({ fault, what, statements });
  }
}

const ACCOUNT = /^(?:\d{12}|arn:aws[a-z-]*:iam::\d{12}:root)$/;

const isKnown = (pattern: string): boolean => KNOWN.some((known) => glob(pattern, true).test(known));

/** A value that is no PCR0 says nothing, or names more images than one; in upper case, only where case does not count. */
function isPattern({ key, operator, wanted }: Statement['conditions'][number]): boolean {
  if (!IMAGE_KEYS.includes(key) || operator === 'Null') return false;
  const ignoresCase = operator.includes('IgnoreCase');
  return operator.includes('Like') || wanted.some((text) => !PCR0.test(ignoresCase ? text.toLowerCase() : text));
}

/** Every PCR0 that a condition names, in whatever statement, as lower-case hex. */
function imagesIn(policy: readonly Statement[]): readonly string[] {
  return policy
    .flatMap(({ conditions }) => conditions.filter(({ key }) => IMAGE_KEYS.includes(key)))
    .flatMap(({ wanted }) => wanted.map((text) => text.toLowerCase()).filter((text) => PCR0.test(text)));
}

/** Whoever is named, and for each account that is, somebody in it. Sessions stand for their roles. */
function peopleIn(policy: readonly Statement[]): readonly string[] {
  const named = policy.flatMap(({ principals, conditions }) => [
    ...principals.values,
    ...conditions.filter(({ key }) => key === 'aws:principalarn').flatMap(({ wanted }) => wanted),
  ]);
  return named.flatMap((value) => {
    if (/^\d{12}$/.test(value)) return [`arn:aws:iam::${value}:role/somebody`];
    if (!value.startsWith('arn:')) return [];
    const [, role] = /:assumed-role\/([^/]+)\//.exec(value) ?? [];
    const place = `arn:${value.split(':')[1]}:iam::${accountOf(value)}`;
    if (role !== undefined) return [`${place}:role/${role}`];
    return value.endsWith(':root') ? [`${place}:role/somebody`, value] : [value];
  });
}

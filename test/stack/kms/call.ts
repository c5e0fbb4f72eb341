/** One authenticated call: its parameters, its facts for the key policy, and the checks every operation shares. */
import { randomBytes } from 'node:crypto';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { authorize } from './authorize.ts';
import { sealForRecipient } from './envelope.ts';
import { KmsError } from './errors.ts';
import type { Fault } from './faults.ts';
import type { EncryptionContext, Grant, KeyStore, KmsKey } from './keys.ts';
import type { Parameters } from './parameters.ts';
import { accountOf, type Policy, parsePolicy, roleOf, type Verdict } from './policy.ts';
import { type Recipient, readRecipient } from './recipient.ts';
import type { Principal } from './sigv4.ts';

export type Answer = Readonly<Record<string, unknown>>;

export interface CallInput {
  readonly operation: string;
  readonly principal: Principal;
  readonly parameters: Parameters;
  readonly keys: KeyStore;
  /** Of the other Regions, for replicas. */
  readonly otherRegions: ReadonlyMap<string, KeyStore>;
  readonly nsmRootDer: Uint8Array;
  readonly unsafeAcceptUnsignedDocuments: boolean | undefined;
  readonly now: number;
  /** By which attestation documents are judged. */
  readonly moduleNow: number;
  readonly faults: readonly Fault[];
  readonly onSealed?: OnSealed | undefined;
}

/** Everything secret about one answer to a recipient. */
export interface Sealed {
  readonly operation: string;
  readonly context: EncryptionContext;
  /** Whether a fault spoilt the envelope. */
  readonly altered: boolean;
  /** What the envelope holds. */
  readonly secret: Uint8Array;
  /** The key the envelope is encrypted under. */
  readonly contentKey: Uint8Array;
  /** DER SubjectPublicKeyInfo that the attestation document named. */
  readonly spki: Uint8Array;
  readonly envelope: Uint8Array;
}

/** Told of each envelope before it is answered. */
export type OnSealed = (sealed: Sealed) => void;

/** What the call log keeps; filled in while the call goes on, so that refusals are described too. */
export interface CallTrace {
  keyArn: string | null;
  encryptionContext: EncryptionContext;
  moduleId: string | null;
}

export class Call {
  readonly input: CallInput;
  readonly parameters: Parameters;
  readonly trace: CallTrace = { keyArn: null, encryptionContext: new Map(), moduleId: null };

  constructor(input: CallInput) {
    this.input = input;
    this.parameters = input.parameters;
  }

  context(member = 'EncryptionContext'): EncryptionContext {
    const context = this.parameters.textMap(member);
    this.trace.encryptionContext = context;
    return context;
  }

  async recipient(): Promise<Recipient | undefined> {
    const { nsmRootDer: rootCertificateDer, unsafeAcceptUnsignedDocuments, moduleNow: now } = this.input;
    const trust = { rootCertificateDer, unsafeAcceptUnsignedDocuments, now };
    const recipient = await readRecipient(this.parameters, trust);
    this.trace.moduleId = recipient?.moduleId ?? null;
    return recipient;
  }

  /** Encrypt and ReEncrypt answer to no recipient: a policy condition on one could otherwise be believed there. */
  refuseRecipient(): void {
    if (this.parameters.has('Recipient')) {
      throw new KmsError('ValidationException', `Recipient is not supported by ${this.input.operation}`);
    }
  }

  /** The key of a parameter, when its policy allows the action. */
  authorizedKey(
    action: string,
    facts: { context?: EncryptionContext; recipient?: Recipient | undefined } = {},
  ): KmsKey {
    const key = this.findKey(this.parameters.text('KeyId'));
    this.authorize(key, action, facts);
    return key;
  }

  /** The caller's account: where his keys are made, and whose keys bare ids name. */
  get accountId(): string {
    return accountOf(this.input.principal.arn);
  }

  findKey(name: string): KmsKey {
    return this.input.keys.find(name, this.accountId);
  }

  authorize(
    key: KmsKey,
    action: string,
    facts: { context?: EncryptionContext; recipient?: Recipient | undefined } = {},
  ): void {
    this.trace.keyArn = key.arn;
    const verdict = this.verdict(parsePolicy(key.policy), key.arn, action, { ...facts, grants: key.grants });
    if (verdict === 'allowed') return;
    // AWS's wording, as callers and logs see it.
    const why =
      verdict === 'explicit deny'
        ? 'with an explicit deny in a resource-based policy'
        : `because no resource-based policy allows the ${action} action`;
    throw new KmsError(
      'AccessDeniedException',
      `User: ${this.input.principal.arn} is not authorized to perform: ${action} on resource: ${key.arn} ${why}`,
    );
  }

  verdict(
    policy: Policy,
    keyArn: string,
    action: string,
    facts: {
      context?: EncryptionContext;
      recipient?: Recipient | undefined;
      grants?: readonly Grant[] | undefined;
    } = {},
  ): Verdict {
    const { arn, identityPolicy } = this.input.principal;
    const conditions = new Map<string, readonly string[]>(facts.recipient?.facts);
    conditions.set('aws:principalarn', [roleOf(arn)]);
    conditions.set('aws:securetransport', ['true']);
    conditions.set('kms:calleraccount', [accountOf(arn)]);
    for (const [name, value] of facts.context ?? []) {
      conditions.set(`kms:encryptioncontext:${name.toLowerCase()}`, [value]);
    }
    if (facts.context !== undefined && facts.context.size > 0) {
      conditions.set('kms:encryptioncontextkeys', [...facts.context.keys()]);
    }
    const request = { action, principalArn: arn, keyArn, facts: conditions };
    return authorize({ ...request, keyPolicy: policy, identityPolicy, grants: facts.grants });
  }

  /** After every other check, as AWS: the caller was allowed, and nothing is done. */
  stopIfDryRun(): void {
    if (this.parameters.flag('DryRun')) {
      throw new KmsError('DryRunOperationException', 'The request would have succeeded, but the DryRun option is set.');
    }
  }

  /** `Plaintext` for a plain call; an envelope and an empty `Plaintext` for an attested one. */
  secretMembers(secret: Uint8Array, recipient: Recipient | undefined): Answer {
    if (recipient === undefined) return { Plaintext: toBase64(secret) };
    const { faults, onSealed, operation } = this.input;
    const sealed = faults.some((fault) => fault.kind === 'otherSecret')
      ? new Uint8Array(randomBytes(secret.length))
      : secret;
    const options = faults.flatMap((fault) => (fault.kind === 'envelope' ? [fault.options] : []));
    const contentKey = new Uint8Array(randomBytes(32));
    const { spki } = recipient;
    const envelope = sealForRecipient(sealed, spki, Object.assign({}, ...options), contentKey);
    const { encryptionContext: context } = this.trace;
    onSealed?.({ operation, context, altered: options.length > 0, secret: sealed, contentKey, spki, envelope });
    const plaintext = faults.find((fault) => fault.kind === 'plaintext');
    return {
      ...(plaintext?.as === 'absent' ? {} : { Plaintext: plaintext?.as === 'leaked' ? toBase64(secret) : '' }),
      ...(faults.some((fault) => fault.kind === 'noEnvelope') ? {} : { CiphertextForRecipient: toBase64(envelope) }),
    };
  }

  keyIdMember(key: KmsKey): string {
    const fault = this.input.faults.find((candidate) => candidate.kind === 'keyId');
    return fault?.keyId ?? key.arn;
  }
}

/** A key that can be used for cryptography now. */
export function requireEnabled(key: KmsKey): KmsKey {
  if (key.state === 'Disabled') throw new KmsError('DisabledException', `${key.arn} is disabled.`);
  if (key.state === 'PendingDeletion')
    throw new KmsError('KMSInvalidStateException', `${key.arn} is pending deletion.`);
  return key;
}

/**
 * The instance role's credentials from EC2's instance metadata service, looked at again and again, because they are
 * replaced every few hours. The host's clock only makes it look more often: one that is wrong misses none.
 *
 * What is handed out last stays until something newer was read whole, also beyond its expiry: EC2 prolongs expired
 * ones when it cannot make new ones, and whether they still count is for KMS to say.
 */
import { createHash } from 'node:crypto';
import { codeOf, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { CredentialBytes } from '@quantumvault/shared/protocol/message-parts.ts';
import { formatTime, parseTime } from '@quantumvault/shared/rfc3339.ts';
import {
  CREDENTIAL_CHARACTERS,
  type Credentials,
  type CredentialsSource,
  credentialPart,
  wipeCredentials,
} from '../credentials.ts';
import type { Log } from '../log.ts';
import { EC2_METADATA, type MetadataEndpoint, withMetadata } from './metadata.ts';

const PATH = '/latest/meta-data/iam/security-credentials/';
/** Names of roles (IAM User Guide, "IAM and AWS STS quotas"). */
const ROLE = /^[A-Za-z0-9_+=,.@-]{1,64}$/;

interface Reading {
  /** SHA-256 of the service's answer: what did not change is not parsed again, which would leave strings behind. */
  readonly stamp: string;
  /** Undefined when it is the answer that was known. */
  readonly body: CredentialBytes | undefined;
}

export interface InstanceRoleOptions {
  /** Default EC2_METADATA. */
  readonly endpoint?: MetadataEndpoint;
  /** Milliseconds since 1970 by the host's clock. */
  readonly now?: () => number;
  /** Default pauseMilliseconds. */
  readonly pause?: (failures: number, lifeMilliseconds: number) => number;
}

export class InstanceRoleCredentials implements CredentialsSource {
  readonly #log: Log;
  readonly #endpoint: MetadataEndpoint;
  readonly #now: () => number;
  readonly #pause: (failures: number, lifeMilliseconds: number) => number;
  readonly #closing = new AbortController();
  #current: Credentials | undefined;
  #stamp = '';
  #fault: ErrorCode | undefined;
  #complaint = '';
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  /** Begins to look at once. Never throws: a host without credentials still has a stop button to serve. */
  constructor(
    log: Log,
    { endpoint = EC2_METADATA, now = Date.now, pause = pauseMilliseconds }: InstanceRoleOptions = {},
  ) {
    this.#log = log;
    this.#endpoint = endpoint;
    this.#now = now;
    this.#pause = pause;
    void this.refresh();
  }

  get current(): Credentials | undefined {
    return this.#current;
  }

  get fault(): ErrorCode | undefined {
    return this.#fault;
  }

  /** One look now, or the one that is under way. */
  refresh(): Promise<void> {
    this.#running ??= this.#look().finally(() => {
      this.#running = undefined;
      this.#schedule();
    });
    return this.#running;
  }

  async #look(): Promise<void> {
    try {
      const { stamp, body } = await readInstanceRole(this.#endpoint, this.#closing.signal, this.#stamp);
      // Ended meanwhile: nobody would wipe them later.
      if (this.#closing.signal.aborted) {
        if (body !== undefined) wipeCredentials(body);
        return;
      }
      if (this.#fault !== undefined) this.#log.info({}, 'instance metadata answers again');
      this.#fault = undefined;
      this.#failures = 0;
      this.#complaint = '';
      if (body !== undefined) this.#replace(stamp, body);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.#failures++;
      this.#fault = codeOf(error);
      // Once per reason, and none of what was received.
      const reason = error instanceof QvError ? { code: error.code, ...error.facts } : { code: codeOf(error) };
      if (JSON.stringify(reason) === this.#complaint) return;
      this.#complaint = JSON.stringify(reason);
      this.#log.warn({ ...reason, has: this.#current !== undefined }, 'no newer credentials from instance metadata');
    }
  }

  #replace(stamp: string, body: CredentialBytes): void {
    if (this.#current !== undefined) wipeCredentials(this.#current.body);
    this.#current = { version: (this.#current?.version ?? 0) + 1, body };
    this.#stamp = stamp;
    const { expiresAt } = body;
    const facts = { version: this.#current.version, expiresAt: expiresAt && formatTime(expiresAt) };
    if (expiresAt !== undefined && expiresAt <= this.#now())
      this.#log.warn(facts, 'credentials of the instance role have expired already, or this clock is wrong');
    else this.#log.info(facts, 'credentials of the instance role');
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#closing.signal.aborted) return;
    const lifeMilliseconds = (this.#current?.body.expiresAt ?? Number.POSITIVE_INFINITY) - this.#now();
    this.#timer = setTimeout(() => void this.refresh(), this.#pause(this.#failures, lifeMilliseconds)).unref();
  }

  close(): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
    if (this.#current !== undefined) wipeCredentials(this.#current.body);
    this.#current = undefined;
  }
}

/** Up to half of it is taken off at random, so that a fleet that was started at once does not ask at once. */
export function pauseMilliseconds(failures: number, lifeMilliseconds: number, random = Math.random()): number {
  const full =
    failures > 0
      ? Math.min(LIMITS.metadataRetryMilliseconds * 2 ** (failures - 1), LIMITS.metadataRetryMaxMilliseconds)
      : lifeMilliseconds < LIMITS.metadataHurryMilliseconds
        ? LIMITS.metadataHurryPollMilliseconds
        : LIMITS.metadataPollMilliseconds;
  return full * (1 - random / 2);
}

/**
 * @param known stamp of the answer that was read last
 * @throws QvError metadata_unavailable, metadata_refused, metadata_invalid, instance_role_missing
 */
async function readInstanceRole(endpoint: MetadataEndpoint, signal: AbortSignal, known: string): Promise<Reading> {
  return withMetadata(endpoint, signal, async (metadata) => {
    const role = await metadata.get(PATH, LIMITS.metadataTextBytes, (bytes) => Buffer.from(bytes).toString('latin1'));
    // No profile is 404; one without a role is an empty list.
    if (role === undefined || role.trim() === '') throw new QvError('instance_role_missing');
    if (!ROLE.test(role.trimEnd())) throw new QvError('metadata_invalid', { path: 'role' });
    const reading = await metadata.get(PATH + role.trimEnd(), LIMITS.credentialsBytes, (bytes) => {
      const stamp = createHash('sha256').update(bytes).digest('hex');
      return { stamp, body: stamp === known ? undefined : parseAnswer(bytes) };
    });
    if (reading === undefined) throw new QvError('instance_role_missing');
    return reading;
  });
}

/** Fields that EC2 may add are let through. @throws QvError metadata_invalid naming the field; instance_role_missing */
function parseAnswer(bytes: Uint8Array): CredentialBytes {
  try {
    const fields = new JsonFields(parseStrictJson(bytes));
    const code = fields.text('Code');
    if (code !== 'Success')
      throw new QvError('instance_role_missing', { value: code.replace(/[^A-Za-z]/g, '').slice(0, 64) });
    const expiresAt = parseTime(fields.text('Expiration'));
    if (expiresAt === undefined) throw fields.fault('Expiration', 'not RFC 3339 in UTC with whole seconds');
    return {
      accessKeyId: credentialPart(fields, 'AccessKeyId', CREDENTIAL_CHARACTERS.accessKeyId),
      secretAccessKey: credentialPart(fields, 'SecretAccessKey', CREDENTIAL_CHARACTERS.secretAccessKey),
      sessionToken: credentialPart(fields, 'Token', CREDENTIAL_CHARACTERS.sessionToken),
      expiresAt,
    };
  } catch (error) {
    if (!(error instanceof QvError) || error.code === 'instance_role_missing') throw error;
    throw new QvError('metadata_invalid', { path: error.facts.path ?? 'credentials' }, { cause: error });
  }
}

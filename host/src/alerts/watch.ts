/**
 * What is worth an alert, seen from the host: freezes that come and go, however they came; bursts of denials; rows that
 * fail their MAC; who may follow an owner; and what keeps the enclave from signing. It looks on and is asked by nobody,
 * so that it can hold nothing up.
 */
import type { Address, TimeMs } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import type { Leaf, SuccessionKind } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type CredentialsSource, stateOfCredentials } from '../credentials.ts';
import type { EnclaveSession } from '../enclave/session.ts';
import type { Freezes } from '../freeze.ts';
import { instant } from '../freeze-record.ts';
import type { Denial, IncidentListener } from '../incidents.ts';
import type { FreezeRecord } from '../store/store.ts';
import { successionJson } from '../successor-json.ts';
import { type Alert, type AlertType, alertOf } from './alert.ts';
import type { DenialBurst } from './config.ts';

export interface WatchDeps {
  readonly deployment: string;
  readonly session: Pick<EnclaveSession, 'status'>;
  readonly freezes: Pick<Freezes, 'held'>;
  readonly credentials: CredentialsSource;
  readonly burst: DenialBurst;
  readonly now: () => TimeMs;
  readonly raise: (alert: Alert) => void;
}

export const TROUBLES = ['enclave', 'attestation', 'time', 'credentials', 'kms'] as const;
export type Trouble = (typeof TROUBLES)[number];

/** One condition: since when it is as it is, and whether that was told. */
interface Condition {
  readonly what: string;
  readonly began: TimeMs;
  last: TimeMs;
  told: boolean;
}

interface Burst {
  readonly times: TimeMs[];
  readonly rules: Map<string, number>;
  quietUntil: number;
}

const SUCCESSION_ALERTS: Readonly<Record<SuccessionKind, AlertType>> = {
  'successor-named': 'successor.named',
  'takeover-claimed': 'takeover.claimed',
  'takeover-cancelled': 'takeover.cancelled',
  'owner-changed': 'owner.changed',
};

export class AlertWatch implements IncidentListener {
  readonly #deps: WatchDeps;
  #frozen: ReadonlyMap<string, FreezeRecord> = new Map();
  readonly #conditions = new Map<Trouble, Condition>();
  readonly #bursts = new Map<Address, Burst>();
  readonly #tampered = new Map<string, TimeMs>();
  #kmsFailures: { readonly boot: string; readonly count: bigint } | undefined;

  constructor(deps: WatchDeps) {
    this.#deps = deps;
  }

  /** One look, to be taken every LIMITS.alertWatchMilliseconds. */
  look(): void {
    this.#lookAtFreezes();
    const found = this.#troubles();
    for (const trouble of TROUBLES) this.#follow(trouble, found.get(trouble));
  }

  #raise(type: AlertType, at: TimeMs, data: Readonly<Record<string, unknown>>, subject: string): void {
    this.#deps.raise(alertOf(this.#deps.deployment, type, at, data, subject));
  }

  /** After a restart those that hold are told again, under the same ids. */
  #lookAtFreezes(): void {
    const nameOf = ({ scope, latchedAt }: FreezeRecord): string => `${scope} ${latchedAt}`;
    const held = new Map(this.#deps.freezes.held.map((record) => [nameOf(record), record]));
    for (const [name, record] of held) {
      if (this.#frozen.has(name)) continue;
      const { scope, reason, latchedAt } = record;
      this.#raise('freeze.latched', latchedAt, { scope, reason, since: instant(latchedAt) }, name);
    }
    const now = this.#deps.now();
    for (const [name, { scope, latchedAt, freezeId }] of this.#frozen) {
      if (held.has(name)) continue;
      const data = { scope, since: instant(latchedAt), ...(freezeId && { freezeId: toHex(freezeId) }) };
      this.#raise('freeze.ended', now, data, name);
    }
    this.#frozen = held;
  }

  #troubles(): ReadonlyMap<Trouble, string> {
    const { session, credentials, now } = this.#deps;
    const { status } = session;
    const found = new Map<Trouble, string>();
    const credentialsState = stateOfCredentials(credentials, status?.time ?? now());
    if (credentialsState !== 'valid') found.set('credentials', credentialsState);
    else if (credentials.fault !== undefined) found.set('credentials', credentials.fault);
    if (status === undefined) return found.set('enclave', 'unreachable');
    if (status.phase === 'booting') found.set('enclave', 'booting');
    const { attestationAgeSeconds = 0, timeAgeSeconds = 0, boot = '', kmsFailures } = status;
    if (attestationAgeSeconds > LIMITS.attestationMaxAgeSeconds)
      found.set('attestation', `${attestationAgeSeconds} s old`);
    if (timeAgeSeconds > LIMITS.trustedTimeMaxAgeSeconds) found.set('time', `${timeAgeSeconds} s old`);
    if (kmsFailures === undefined) return found;
    const before = this.#kmsFailures?.boot === boot ? this.#kmsFailures.count : kmsFailures;
    if (kmsFailures > before) found.set('kms', `${kmsFailures - before} failed calls`);
    this.#kmsFailures = { boot, count: kmsFailures };
    return found;
  }

  /** Told once it has lasted, and ended once it has been away for as long; failing calls of KMS are told at once. */
  #follow(trouble: Trouble, what: string | undefined): void {
    const now = this.#deps.now();
    const { troubleMilliseconds } = LIMITS;
    let condition = this.#conditions.get(trouble);
    if (what !== undefined) {
      condition ??= { what, began: now, last: now, told: false };
      condition.last = now;
      this.#conditions.set(trouble, condition);
      if (!condition.told && (trouble === 'kms' || now - condition.began >= troubleMilliseconds)) {
        condition.told = true;
        this.#tell('trouble.began', trouble, condition, { what });
      }
      return;
    }
    if (condition === undefined) return;
    if (!condition.told) {
      this.#conditions.delete(trouble);
    } else if (now - condition.last >= troubleMilliseconds) {
      this.#conditions.delete(trouble);
      this.#tell('trouble.ended', trouble, condition, { until: instant(condition.last) });
    }
  }

  #tell(type: AlertType, trouble: Trouble, { began }: Condition, more: Readonly<Record<string, unknown>>): void {
    this.#raise(type, this.#deps.now(), { trouble, since: instant(began), ...more }, `${trouble} ${began}`);
  }

  /** Once for each burst: then that wallet is quiet for the window's length. */
  denied({ at, wallet, rule }: Denial): void {
    const { count, seconds } = this.#deps.burst;
    const since = at - seconds * 1000;
    const burst: Burst = this.#bursts.get(wallet) ?? { times: [], rules: new Map(), quietUntil: 0 };
    // The one not heard of for longest makes room.
    this.#bursts.delete(wallet);
    this.#bursts.set(wallet, burst);
    for (const oldest of this.#bursts.keys()) {
      if (this.#bursts.size <= LIMITS.watchedWallets) break;
      this.#bursts.delete(oldest);
    }
    if (at < burst.quietUntil) return;
    while (burst.times[0] !== undefined && burst.times[0] <= since) burst.times.shift();
    if (burst.times.length === 0) burst.rules.clear();
    burst.times.push(at);
    burst.rules.set(rule, (burst.rules.get(rule) ?? 0) + 1);
    if (burst.times.length < count) return;
    const rules = Object.fromEntries(burst.rules);
    this.#raise('denials.burst', at, { wallet, count, seconds, rules }, `${wallet} ${at}`);
    this.#bursts.set(wallet, { times: [], rules: new Map(), quietUntil: at + seconds * 1000 });
  }

  /** Once in a while for each wallet: an edited row is found at each request. */
  tampered(wallet: string | undefined): void {
    const subject = wallet ?? '';
    const now = this.#deps.now();
    const last = this.#tampered.get(subject);
    if (last !== undefined && now - last < LIMITS.tamperingRepeatMilliseconds) return;
    this.#tampered.delete(subject);
    this.#tampered.set(subject, now);
    for (const oldest of this.#tampered.keys()) {
      if (this.#tampered.size <= LIMITS.watchedWallets) break;
      this.#tampered.delete(oldest);
    }
    this.#raise('tampering.found', now, { wallet: wallet ?? null }, `${subject} ${now}`);
  }

  /** Under one id, however often a leaf is come by: from the enclave's reply, or from its log. */
  succession(leaf: Leaf): void {
    const type = SUCCESSION_ALERTS[leaf.kind as SuccessionKind];
    const { change = 0, successor = null, takeover = null } = successionJson(leaf) ?? {};
    const newOwner = leaf.kind === 'owner-changed' ? { newOwner: leaf.actor } : {};
    const data = { wallet: leaf.wallet, owner: leaf.succession?.owner, ...newOwner, change, successor, takeover };
    this.#raise(type, leaf.time, data, `${leaf.boot} ${leaf.sequence}`);
  }
}

/**
 * The configured sources, and what it takes for one of their webhooks to become a signal: the right address and
 * certificate, a time that is near, and a signature or secret. Nothing here answers HTTP; see routes/webhooks.ts.
 */
import type { KeyObject } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { type Client, isWithin } from '../client-address.ts';
import { ed25519Key } from '../ed25519.ts';
import type { Log } from '../log.ts';
import type { UnsealedSignal } from '../row-mac.ts';
import type { StandardSource, TradingViewSource, WebhookSource } from './config.ts';
import { readSharedSecret, readTextSecret, SecretsFile } from './secrets-file.ts';
import type { Delivery } from './signals.ts';
import { asymmetricSignature, isSymmetricallySigned, parseStandardHeaders, type StandardHeaders } from './standard.ts';
import { derivedId, readAlert } from './tradingview.ts';
import { Turns } from './turns.ts';

interface Configured {
  readonly source: WebhookSource;
  readonly secrets: SecretsFile | undefined;
  readonly keys: readonly KeyObject[];
}

/** A webhook of which everything before its body is in order. */
export interface Admitted extends Configured {
  /** Of kind `standard`. */
  readonly headers?: StandardHeaders;
  /** What a refusal of it costs, in units of RefusalPace. */
  readonly cost: number;
}

export interface Verified {
  readonly signal: UnsealedSignal;
  readonly delivery: Delivery;
}

/** An Ed25519 verification, in units of RefusalPace. */
const VERIFICATION_COST = 2;

export class Webhooks {
  readonly #sources = new Map<string, Configured>();
  readonly #verifications = new Turns(LIMITS.webhookVerifications, LIMITS.authentications);

  /** @throws QvError config_invalid when a file of secrets is not usable */
  constructor(sources: readonly WebhookSource[], log: Log) {
    try {
      for (const [index, source] of sources.entries()) this.#add(source, `webhooks[${index}].secretsFile`, log);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #add(source: WebhookSource, field: string, log: Log): void {
    const readLine = source.kind === 'standard' ? readSharedSecret : readTextSecret;
    const { secretsFile: path } = source;
    const secrets = path === undefined ? undefined : new SecretsFile(path, { field, readLine, log });
    const keys = source.kind === 'standard' ? source.keys.map(ed25519Key) : [];
    this.#sources.set(source.name, { source, secrets, keys });
  }

  /**
   * Before the body is read.
   * @throws QvError webhook_source_unknown, webhook_address_forbidden, webhook_certificate_mismatch, request_id_malformed,
   * request_timestamp_malformed, request_stale, webhook_signature_malformed
   */
  admit(name: string, client: Client, headers: IncomingHttpHeaders, now: TimeMs): Admitted {
    const configured = this.#sources.get(name);
    if (configured === undefined) throw new QvError('webhook_source_unknown');
    const { source, keys } = configured;
    const { addresses } = source;
    if (addresses !== undefined && !isWithin(addresses, client.bytes)) throw new QvError('webhook_address_forbidden');
    if (source.kind === 'tradingview') {
      requireCertificate(source, client, headers);
      return { ...configured, cost: 1 };
    }
    const parsed = parseStandardHeaders(headers);
    requireNear(source, parsed.timestamp, now);
    return { ...configured, headers: parsed, cost: 1 + VERIFICATION_COST * keys.length * parsed.asymmetric.length };
  }

  /**
   * @param body with the media type that it came with
   * @throws QvError webhook_signature_invalid, webhook_secret_invalid, json_malformed, field_malformed, body_too_large,
   * overloaded
   */
  async verify(admitted: Admitted, body: Uint8Array, isJson: boolean, now: TimeMs): Promise<Verified> {
    const { source, headers, secrets } = admitted;
    const expiresAt = timeMs(now + source.keepSeconds * 1000);
    if (source.kind === 'tradingview') {
      const { content, id } = readAlert(source, secrets?.current ?? [], body, isJson);
      const signal = {
        source: source.name,
        id: id ?? derivedId(content, now),
        // It says no time, so the time of its arrival has to do.
        at: timeMs(Math.floor(now / 1000) * 1000),
        receivedAt: now,
        expiresAt,
        body: content,
        bodyHash: sha256(content),
      };
      return { signal, delivery: { once: true, ...(id === undefined && { repeatSeconds: source.repeatSeconds }) } };
    }
    if (headers === undefined) throw new QvError('internal');
    const signature = await this.#signature(admitted, headers, body);
    if (signature === undefined && !isSymmetricallySigned(secrets?.current ?? [], headers, body))
      throw new QvError('webhook_signature_invalid');
    // Nobody here reads it, but whoever does is to read the same in it as its source.
    if (isJson) parseStrictJson(body);
    const { id, timestamp: at } = headers;
    const facts = { source: source.name, id, at, receivedAt: now, expiresAt, body, bodyHash: sha256(body) };
    return { signal: { ...facts, ...(signature && { signature }) }, delivery: { once: false } };
  }

  #signature({ keys }: Admitted, headers: StandardHeaders, body: Uint8Array) {
    if (keys.length === 0 || headers.asymmetric.length === 0) return undefined;
    return this.#verifications.run(() => asymmetricSignature(keys, headers, body));
  }

  close(): void {
    for (const { secrets } of this.#sources.values()) secrets?.close();
    this.#sources.clear();
  }
}

/** Only a proxy's word counts: anybody can send the header. */
function requireCertificate({ certificate }: TradingViewSource, client: Client, headers: IncomingHttpHeaders): void {
  if (certificate === undefined) return;
  if (!client.isThroughProxy || headers[certificate.header] !== certificate.name)
    throw new QvError('webhook_certificate_mismatch');
}

/** @throws QvError request_stale */
function requireNear({ toleranceSeconds }: StandardSource, timestamp: TimeMs, now: TimeMs): void {
  const age = (now - timestamp) / 1000;
  if (age > toleranceSeconds || age < -LIMITS.requestMaxFutureSeconds)
    throw new QvError('request_stale', { path: 'webhook-timestamp' });
}

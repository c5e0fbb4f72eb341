/** Webhook sources for tests: their secrets, and what they send. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { signWebhook } from '@quantumvault/host/webhooks/standard.ts';
import { type Address, addressOf, timeMs } from '@quantumvault/shared/brands.ts';
import { toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { Secret } from '@quantumvault/shared/secret.ts';

export const SECRET = new Uint8Array(32).fill(11);
export const TEXT_SECRET = 'correct-horse-battery-staple';

export const secretLine = (secret: Uint8Array): string => `whsec_${toBase64(secret)}\n`;

/** A source with an Ed25519 key. */
export interface Keyed {
  readonly address: Address;
  readonly sign: (content: Uint8Array) => string;
}

export function keyed(): Keyed {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  return {
    address: addressOf(Uint8Array.from(raw)),
    sign: (content) => `v1a,${sign(null, content, privateKey).toString('base64')}`,
  };
}

export interface Webhook {
  readonly body: string;
  readonly headers: Record<string, string>;
}

export interface Facts {
  readonly id: string;
  readonly body?: string;
  /** Seconds since 1970; default now. */
  readonly timestamp?: number;
  readonly headers?: Record<string, string>;
}

const seconds = (given: number | undefined): number => given ?? Math.floor(Date.now() / 1000);

export function symmetric({ id, body = '{"side":"buy"}', timestamp, headers }: Facts, secret = SECRET): Webhook {
  const signed = signWebhook([Secret.take(Uint8Array.from(secret))], {
    id,
    timestamp: timeMs(seconds(timestamp) * 1000),
    body,
  });
  return { body, headers: { 'content-type': 'application/json', ...signed, ...headers } };
}

export function asymmetric(by: Keyed, { id, body = '{"side":"buy"}', timestamp, headers }: Facts): Webhook {
  const at = String(seconds(timestamp));
  const signature = by.sign(utf8(`${id}.${at}.${body}`));
  const signed = { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature };
  return { body, headers: { 'content-type': 'application/json', ...signed, ...headers } };
}

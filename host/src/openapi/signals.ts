/** POST /v1/webhooks/:source. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { WEBHOOK_ROUTE } from '../routes/webhooks.ts';
import { RECORDED, ROW_KEY, STRICT_JSON } from './codes.ts';
import { WEBHOOK_ID, WEBHOOK_TIMESTAMP } from './fields.ts';
import type { Operation } from './operation.ts';
import { closed, ref } from './schemas.ts';

const ACCEPTED = {
  'application/json': {
    schema: closed({
      signal: { ...ref('RequestId'), description: 'What signing requests cite.' },
      verified: {
        enum: ['enclave-verifiable', 'host'],
        description:
          '`enclave-verifiable`: kept with an Ed25519 signature, which the enclave verifies again under the key that ' +
          'the policy names. `host`: what a policy calls `hostVerified`, the word of this host alone.',
      },
    }),
  },
};

export const SIGNALS: readonly Operation[] = [
  {
    method: 'post',
    route: WEBHOOK_ROUTE,
    id: 'receiveWebhook',
    tag: 'signals',
    summary: 'Takes a signal from a source',
    description:
      'Sources of kind `standard` send Standard Webhooks: `webhook-signature` holds up to ' +
      `${LIMITS.webhookSignatures} signatures \`v1,<base64>\` (HMAC-SHA-256) or \`v1a,<base64>\` (Ed25519) over ` +
      '`id.timestamp.body`, separated by spaces, of which one has to hold. Sources of kind `tradingview` send no such ' +
      'fields: their secret is in the body, as a member of the JSON object or as the first line of the text. A signal ' +
      'that comes again is acknowledged without effect. When very many are refused, some are closed without an answer.',
    parameters: [
      {
        name: 'source',
        in: 'path',
        required: true,
        description: 'The name of the source in the host’s configuration.',
        schema: { type: 'string', pattern: '^[A-Za-z0-9._-]{1,64}$' },
      },
      { ...WEBHOOK_ID, required: false, description: 'Of kind `standard`: the id of the signal.' },
      {
        ...WEBHOOK_TIMESTAMP,
        required: false,
        description: 'Of kind `standard`: whole seconds since 1970, within the tolerance of the source.',
      },
    ],
    security: [{ webhookSignature: [] }, {}],
    body: {
      description: `At most ${LIMITS.signalBodyBytes} bytes.`,
      content: {
        'application/json': { schema: { description: 'Any strict JSON.' }, example: { side: 'buy' } },
        'text/plain': { schema: { type: 'string', maxLength: LIMITS.signalBodyBytes } },
      },
    },
    replies: {
      200: { description: 'Stored, now or before.', content: ACCEPTED },
      202: { description: 'Taken, of kind `tradingview`; the database has yet to store it.', content: ACCEPTED },
    },
    codes: [
      ...STRICT_JSON,
      'webhook_source_unknown',
      'webhook_address_forbidden',
      'webhook_certificate_mismatch',
      'request_id_malformed',
      'request_timestamp_malformed',
      'request_stale',
      'webhook_signature_malformed',
      'webhook_signature_invalid',
      'webhook_secret_invalid',
      'signal_id_reused',
      'signals_full',
      ...ROW_KEY,
      ...RECORDED,
    ],
  },
];

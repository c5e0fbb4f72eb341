/** POST /v1/sign and /v1/sign/batch. */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { BATCH_PURPOSE, SIGN_PURPOSE } from '@quantumvault/shared/protocol/sign-request.ts';
import { HELD, POLICY, RECORDED, ROW, STRICT_JSON, TRANSACTION } from './codes.ts';
import { REQUEST_TIMEOUT, WEBHOOK_ID, WEBHOOK_TIMESTAMP } from './fields.ts';
import type { Operation, Schema } from './operation.ts';
import { closed, ref, text } from './schemas.ts';

const HEAD: Readonly<Record<string, Schema>> = {
  audience: text('The name of the deployment.', { examples: ['trading-eu'] }),
  wallet: ref('Address'),
  signal: { ...ref('RequestId'), description: 'The signal that triggers this request, where the policy asks for one.' },
  dryRun: {
    type: 'boolean',
    default: false,
    description: 'Judge only: nothing is signed, written or spent, and no signal is used up.',
  },
};
const OPTIONAL = ['signal', 'dryRun'];
const transaction = { ...ref('Base64'), description: 'A wire transaction: signature slots, then the message.' };

const HOW =
  'Signed by a requester of the policy: `webhook-signature` holds one `v1a` Ed25519 signature over ' +
  '`id.timestamp.body`, the three joined by full stops, the body byte by byte as it is sent. ' +
  'Repeating the same id and body is always safe: it is decided once. Another body under the same id is 422, ' +
  'a request that is still being worked on 409, and a freeze holds back stored replies, too: 423.';

const CODES: readonly ErrorCode[] = [
  ...STRICT_JSON,
  'request_id_malformed',
  'request_timestamp_malformed',
  'request_signature_malformed',
  'request_stale',
  'request_signature_invalid',
  'purpose_mismatch',
  'audience_mismatch',
  'base58_malformed',
  'base64_malformed',
  ...ROW,
  'frozen',
  'wallet_retired',
  'wallet_without_policy',
  'wallet_mismatch',
  'request_in_flight',
  'request_id_reused',
  'request_ids_full',
  'signal_missing',
  'signal_ambiguous',
  'signal_stale',
  'signal_signature_invalid',
  'policy_denied',
  ...TRANSACTION,
  ...POLICY,
  'policy_mac_invalid',
  'policy_not_current',
  'sealed_seed_invalid',
  'witnesses_unavailable',
  ...HELD,
  ...RECORDED,
];

const COMMON = {
  method: 'post',
  tag: 'signing',
  parameters: [WEBHOOK_ID, WEBHOOK_TIMESTAMP, REQUEST_TIMEOUT],
  security: [{ requestSignature: [] }],
} as const;

export const SIGNING: readonly Operation[] = [
  {
    ...COMMON,
    route: '/v1/sign',
    id: 'sign',
    summary: 'Signs one transaction, or judges it',
    description: `${HOW} A denial is 403 \`policy_denied\` with the rule, the value that broke it, and a signed receipt.`,
    body: {
      description: `At most ${LIMITS.requestBodyBytes} bytes of strict JSON.`,
      content: {
        'application/json': {
          schema: closed({ purpose: { const: SIGN_PURPOSE }, ...HEAD, transaction }, OPTIONAL),
          example: {
            purpose: SIGN_PURPOSE,
            audience: 'trading-eu',
            wallet: '9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin',
            transaction: 'AQAAAA==',
            dryRun: false,
          },
        },
      },
    },
    replies: {
      200: {
        description: 'The signature and its receipt; the verdict, when it was a dry run.',
        content: { 'application/json': { schema: { oneOf: [ref('SignReply'), ref('SignVerdict')] } } },
      },
    },
    codes: CODES,
  },
  {
    ...COMMON,
    route: '/v1/sign/batch',
    id: 'signBatch',
    summary: 'Signs several transactions of one wallet, all or none',
    description:
      `${HOW} The transactions are judged in order, each with what those before it leave. A denial names the first one ` +
      'that was denied (`index`) and has a verdict on each (`verdicts`).',
    body: {
      description:
        `1 to ${LIMITS.batchTransactions} transactions of together at most ${LIMITS.batchTransactionBytes} bytes; ` +
        `at most ${LIMITS.batchBodyBytes} bytes of strict JSON.`,
      content: {
        'application/json': {
          schema: closed(
            {
              purpose: { const: BATCH_PURPOSE },
              ...HEAD,
              transactions: { type: 'array', minItems: 1, maxItems: LIMITS.batchTransactions, items: transaction },
            },
            OPTIONAL,
          ),
          example: {
            purpose: BATCH_PURPOSE,
            audience: 'trading-eu',
            wallet: '9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin',
            transactions: ['AQAAAA==', 'AQAAAA=='],
          },
        },
      },
    },
    replies: {
      200: {
        description: 'A signature and a receipt for each; a verdict on each, when it was a dry run.',
        content: { 'application/json': { schema: { oneOf: [ref('BatchReply'), ref('BatchVerdict')] } } },
      },
    },
    codes: CODES,
  },
];

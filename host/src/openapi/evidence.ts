/** Attestation, receipts and the published log. */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { ROLES } from '../reads/tokens-file.ts';
import { STORE, TOKEN_OF_WALLET } from './codes.ts';
import type { Operation, Parameter, Schema } from './operation.ts';
import { closed, ref, text } from './schemas.ts';

const BOOT: Parameter = {
  name: 'boot',
  in: 'path',
  required: true,
  description: 'Which log: one per boot.',
  schema: ref('BootId'),
};
const TILE: Parameter = {
  name: 'tile',
  in: 'path',
  required: true,
  description:
    'The rest of a path of C2SP tlog-tiles, with its slashes as they are: `<L>/<N>` or `entries/<N>`, and `.p/<W>` ' +
    'behind it for a partial tile.',
  schema: { type: 'string', pattern: '^(?:entries|[0-9]{1,2})/(?:x[0-9]{3}/){0,6}[0-9]{3}(?:\\.p/[0-9]{1,3})?$' },
};
const query = (name: string, description: string, schema: Schema, required = false): Parameter => ({
  name,
  in: 'query',
  required,
  description,
  schema,
});

const NOTE = { 'text/plain': { schema: text('A signed note (C2SP tlog-checkpoint), with cosignatures.') } };
const BYTES = { 'application/octet-stream': {} };
/** Whoever sees only some wallets is not shown what is of all. */
const OF_ALL: readonly ErrorCode[] = [...TOKEN_OF_WALLET, ...STORE];
const READS: readonly ErrorCode[] = ['log_unknown', ...OF_ALL];
const TILE_READS: readonly ErrorCode[] = ['log_tile_path_malformed', 'log_unpublished', ...READS];
const COMMON = { method: 'get', tag: 'evidence', security: [{}, { apiToken: ['auditor'] }] } as const;

export const EVIDENCE: readonly Operation[] = [
  {
    ...COMMON,
    route: '/v1/attestation',
    id: 'getAttestation',
    security: [{}, { apiToken: ROLES }],
    summary: 'The enclave’s attestation document over a nonce of the caller’s',
    parameters: [
      query(
        'nonce',
        `${LIMITS.callerNonceMinBytes} to ${LIMITS.callerNonceMaxBytes} bytes in lower-case hex, drawn for this request.`,
        { type: 'string', pattern: `^(?:[0-9a-f]{2}){${LIMITS.callerNonceMinBytes},${LIMITS.callerNonceMaxBytes}}$` },
        true,
      ),
      query(
        'boot',
        'The boot that is to prove itself: another one than that behind this host is asked for at the other hosts of the deployment, during an upgrade.',
        ref('BootId'),
      ),
    ],
    replies: {
      200: {
        description: 'To be verified: `qv verify`, the SDK, or the page at `/verify`.',
        content: {
          'application/json': {
            schema: closed({
              document: { ...ref('Base64'), description: 'COSE_Sign1 as the Nitro Secure Module made it.' },
              boot: ref('BootId'),
              bootRecord: { ...ref('Receipt'), description: 'Leaf 0 of this boot.' },
            }),
          },
        },
      },
    },
    codes: [
      'field_malformed',
      'hex_malformed',
      'base58_malformed',
      'boot_unknown',
      'enclave_unavailable',
      'enclave_not_ready',
      'deadline_exceeded',
      'nsm_failed',
    ],
  },
  {
    ...COMMON,
    route: '/v1/receipts/:requestId',
    id: 'getReceipt',
    summary: 'The decision about one request, as a file that verifies offline',
    parameters: [
      {
        name: 'requestId',
        in: 'path',
        required: true,
        description: 'The `webhook-id` of the signing request.',
        schema: ref('RequestId'),
      },
      query('wallet', 'Tells requests of one id apart.', ref('Address')),
      query('requester', 'Tells requests of one id apart.', ref('Address')),
      query('index', 'Which transaction of a signed batch; the first is 0.', {
        type: 'string',
        pattern: '^(?:0|[1-9]|[12][0-9]|3[01])$',
        default: '0',
      }),
    ],
    replies: {
      200: {
        description: 'The receipt with its proof.',
        content: { 'application/json': { schema: ref('ReceiptFile') } },
      },
    },
    codes: [
      'request_id_malformed',
      'field_malformed',
      'base58_malformed',
      'receipt_unknown',
      'receipt_ambiguous',
      'log_unpublished',
      ...OF_ALL,
    ],
  },
  {
    ...COMMON,
    route: '/v1/log/boots',
    id: 'listLogs',
    summary: 'The logs there are: one per start of the enclave',
    replies: {
      200: {
        description: 'The oldest first.',
        content: {
          'application/json': {
            schema: closed({
              boots: {
                type: 'array',
                maxItems: LIMITS.logBoots,
                items: closed({ boot: ref('BootId'), size: { ...ref('Decimal'), description: 'Leaves published.' } }),
              },
            }),
          },
        },
      },
    },
    codes: OF_ALL,
  },
  {
    ...COMMON,
    route: '/v1/log/checkpoint',
    id: 'getNewestCheckpoint',
    summary: 'The checkpoint of the newest log',
    replies: { 200: { description: 'As it was published last.', content: NOTE } },
    codes: READS,
  },
  {
    ...COMMON,
    route: '/v1/log/:boot/checkpoint',
    id: 'getCheckpoint',
    summary: 'The checkpoint of one log',
    parameters: [BOOT],
    replies: { 200: { description: 'As it was published last.', content: NOTE } },
    codes: ['base58_malformed', ...READS],
  },
  {
    ...COMMON,
    route: '/v1/log/tile/*',
    id: 'getNewestTile',
    summary: 'Hashes or entries of the newest log',
    parameters: [TILE],
    replies: { 200: { description: 'Up to 256 hashes of 32 bytes, or entries.', content: BYTES } },
    codes: TILE_READS,
  },
  {
    ...COMMON,
    route: '/v1/log/:boot/tile/*',
    id: 'getTile',
    summary: 'Hashes or entries of one log',
    parameters: [BOOT, TILE],
    replies: { 200: { description: 'Up to 256 hashes of 32 bytes, or entries. Never changes.', content: BYTES } },
    codes: ['base58_malformed', ...TILE_READS],
  },
  {
    ...COMMON,
    route: '/v1/log/policies/:hash',
    id: 'getLoggedPolicy',
    summary: 'A policy that leaves name by its hash',
    parameters: [
      { name: 'hash', in: 'path', required: true, description: 'SHA-256 of its bytes.', schema: ref('Sha256') },
    ],
    replies: { 200: { description: 'Its canonical bytes. Never changes.', content: { 'application/cbor': {} } } },
    codes: ['hex_malformed', ...READS],
  },
];

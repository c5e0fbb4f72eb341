/** What backends, auditors and support staff read with an API token. */
import { LEAF_KINDS } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { ROLES } from '../reads/tokens-file.ts';
import { HELD, ROW, ROW_KEY, STORE } from './codes.ts';
import type { Operation, Parameter, Schema } from './operation.ts';
import { closed, orNull, ref, SUCCESSION_MEMBERS, text } from './schemas.ts';

const query = (name: string, description: string, schema: Schema): Parameter => ({
  name,
  in: 'query',
  required: false,
  description,
  schema,
});
const LIMIT = query('limit', `Entries at most: 1 to ${LIMITS.pageEntries}, which is the default.`, {
  type: 'string',
  pattern: '^[1-9][0-9]{0,5}$',
});
const CURSOR = text('Where the next page begins.', { pattern: '^(?:0|[1-9][0-9]{0,14})-[1-9][0-9]{0,14}$' });
const PLACE = { boot: ref('BootId'), sequence: { ...ref('Decimal'), description: 'The leaf’s number in its log.' } };
const FACTS: Readonly<Record<string, Schema>> = {
  wallet: ref('Address'),
  requester: { ...ref('Address'), description: 'Who asked: of freezes and policies the owner, where it was one.' },
  requestId: ref('RequestId'),
  rule: text('Of a denial.'),
  value: text('Of a denial; of key failures the code.'),
  lamportsOut: ref('Decimal'),
  feeLamports: ref('Decimal'),
  tokens: { type: 'array', items: closed({ mint: ref('Address'), amount: ref('Decimal') }) },
  scope: text('Of freezes: `fleet`, `wallet:<address>` or `requester:<key>`.'),
  reason: text('Of freezes.'),
  by: text('Of freezes: who ordered it.'),
  freezeId: text('16 bytes in lower-case hex.', { pattern: '^[0-9a-f]{32}$' }),
  messageHash: ref('Sha256'),
  policyHash: ref('Sha256'),
  signatureHash: ref('Sha256'),
  stateVersion: ref('Decimal'),
  repeats: { ...ref('Decimal'), description: 'The sequence of the signature that this one repeats.' },
  predecessor: { ...ref('BootId'), description: 'Of a boot that took over: from which.' },
  successor: { ...ref('BootId'), description: 'Of a release: to which boot.' },
  succession: {
    ...closed(SUCCESSION_MEMBERS),
    description: 'Of whatever says who may follow the owner: how that stands from then on.',
  },
  ownerBefore: {
    ...ref('Address'),
    description: 'Of those, too: who owned the wallet until then, and still unless it changed.',
  },
};
const COMMON = { method: 'get', tag: 'reads', security: [{ apiToken: ROLES }] } as const;
const BOUND = 'A token that names wallets sees those alone.';

export const READS: readonly Operation[] = [
  {
    ...COMMON,
    route: '/v1/wallets',
    id: 'listWallets',
    summary: 'The wallets that the token may see',
    description: `In ascending order of their addresses. ${BOUND}`,
    parameters: [query('after', '`next` of the page before.', ref('Address')), LIMIT],
    replies: {
      200: {
        description: 'One page.',
        content: {
          'application/json': {
            schema: closed({
              wallets: {
                type: 'array',
                maxItems: LIMITS.pageEntries,
                items: {
                  oneOf: [
                    ref('Wallet'),
                    closed({ wallet: ref('Address'), fault: { enum: ['row_tampered', 'wallet_unknown'] } }),
                  ],
                },
              },
              next: orNull(ref('Address'), 'For `after`; null on the last page.'),
            }),
          },
        },
      },
    },
    codes: ['field_malformed', 'base58_malformed', ...ROW_KEY],
  },
  {
    ...COMMON,
    route: '/v1/wallets/:wallet/budgets',
    id: 'getBudgets',
    summary: 'What the policy of a wallet leaves of each window and rate',
    description: `A picture of the moment: what counts is judged when something is signed. ${BOUND}`,
    parameters: [
      { name: 'wallet', in: 'path', required: true, description: 'The address of the wallet.', schema: ref('Address') },
    ],
    replies: {
      200: {
        description: 'As the enclave that holds the wallet knows it.',
        content: {
          'application/json': {
            schema: closed({
              wallet: ref('Address'),
              policyHash: ref('Sha256'),
              time: { ...ref('Instant'), description: 'The enclave’s trusted time.' },
              budgets: {
                type: 'array',
                items: closed({
                  rule: text('As a path into the policy.'),
                  seconds: { type: 'integer', minimum: 1, description: 'The length of the window.' },
                  limit: ref('Decimal'),
                  spent: ref('Decimal'),
                  remaining: ref('Decimal'),
                  freesAt: orNull(ref('Instant'), 'When something of it is free again; null when nothing is spent.'),
                }),
              },
            }),
          },
        },
      },
    },
    codes: ['field_malformed', 'wallet_without_policy', 'policy_not_current', ...ROW, ...HELD],
  },
  {
    ...COMMON,
    route: '/v1/decisions',
    id: 'listDecisions',
    summary: 'What was decided, newest first',
    description:
      'For looking; what proves a decision is its receipt, or the log. A page may be short, or empty, and still have a ' +
      `\`next\`. ${BOUND} It has to name one of them.`,
    parameters: [
      query('wallet', 'Of this wallet alone.', ref('Address')),
      query('requester', 'Of this requester alone.', ref('Address')),
      query('kind', 'Of this kind alone.', { enum: LEAF_KINDS }),
      query('from', 'Not before this time.', ref('Time')),
      query('to', 'Before this time.', ref('Time')),
      query('cursor', '`next` of the page before.', CURSOR),
      LIMIT,
    ],
    replies: {
      200: {
        description: 'One page.',
        content: {
          'application/json': {
            schema: closed({
              decisions: {
                type: 'array',
                maxItems: LIMITS.pageEntries,
                items: {
                  oneOf: [
                    closed(
                      { ...PLACE, time: ref('Instant'), kind: { enum: LEAF_KINDS }, ...FACTS },
                      Object.keys(FACTS),
                    ),
                    closed({ ...PLACE, fault: { const: 'row_tampered' } }),
                  ],
                },
              },
              next: orNull(CURSOR, 'For `cursor`; null on the last page.'),
            }),
          },
        },
      },
    },
    codes: ['field_malformed', 'base58_malformed', 'api_wallet_forbidden', ...STORE],
  },
  {
    ...COMMON,
    route: '/v1/freezes',
    id: 'listFreezes',
    summary: 'What this host holds frozen',
    description: `The fleet first. ${BOUND}`,
    replies: {
      200: {
        description: 'All are counted; the first are listed.',
        content: {
          'application/json': {
            schema: closed({
              count: { type: 'integer', minimum: 0 },
              freezes: {
                type: 'array',
                maxItems: LIMITS.statusFreezes,
                items: closed({
                  scope: text('`fleet`, `wallet:<address>` or `requester:<key>`.'),
                  reason: text('Of the first order for this scope.'),
                  since: ref('Instant'),
                  boot: orNull(ref('BootId'), 'That acknowledged the newest order; null until one did.'),
                  freezeId: orNull(
                    { type: 'string', pattern: '^[0-9a-f]{32}$' },
                    'What a resume has to name; null until an enclave gave one.',
                  ),
                }),
              },
            }),
          },
        },
      },
    },
    codes: ['field_malformed'],
  },
];

/** What the host sends by itself: alerts, as OpenAPI's `webhooks`. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { ALERT_TYPES, type AlertType } from '../alerts/alert.ts';
import { TROUBLES } from '../alerts/watch.ts';
import { TRACE_PARAMETERS, WEBHOOK_ID, WEBHOOK_TIMESTAMP } from './fields.ts';
import type { Schema } from './operation.ts';
import { closed, orNull, ref, SUCCESSION_MEMBERS, text } from './schemas.ts';

const SINCE = { ...ref('Instant'), description: 'Since when.' };
const TROUBLE = { trouble: { enum: TROUBLES }, since: SINCE };
const SCOPE = text('`fleet`, `wallet:<address>` or `requester:<key>`.');

const SUCCESSION = {
  wallet: ref('Address'),
  owner: { ...ref('Address'), description: 'Before it.' },
  ...SUCCESSION_MEMBERS,
};

/** By type, the members of `data` besides `deployment`; those that may be absent are named. */
const DATA: Readonly<Record<AlertType, readonly [Readonly<Record<string, Schema>>, (readonly string[])?]>> = {
  'freeze.latched': [{ scope: SCOPE, reason: text('Of the first order for this scope.'), since: SINCE }],
  'freeze.ended': [
    { scope: SCOPE, since: SINCE, freezeId: text('16 bytes in lower-case hex.', { pattern: '^[0-9a-f]{32}$' }) },
    ['freezeId'],
  ],
  'denials.burst': [
    {
      wallet: ref('Address'),
      count: { type: 'integer', minimum: 1, description: 'So many denials …' },
      seconds: { type: 'integer', minimum: 1, description: '… within so long.' },
      rules: {
        type: 'object',
        description: 'How many by each rule that denied.',
        additionalProperties: { type: 'integer', minimum: 1 },
      },
    },
  ],
  'trouble.began': [{ ...TROUBLE, what: text('For people.') }],
  'trouble.ended': [{ ...TROUBLE, until: { ...ref('Instant'), description: 'When it was last seen.' } }],
  'successor.named': [SUCCESSION],
  'takeover.claimed': [SUCCESSION],
  'takeover.cancelled': [SUCCESSION],
  'owner.changed': [{ ...SUCCESSION, newOwner: ref('Address') }],
  'tampering.found': [{ wallet: orNull(ref('Address'), 'Whose row fails its MAC; null where it is not known.') }],
};

export const ALERT_SCHEMA: Schema = {
  oneOf: (Object.keys(ALERT_TYPES) as AlertType[]).map((type) => {
    const [members, optional] = DATA[type];
    const data = closed({ deployment: text('The name of the deployment.'), ...members }, optional);
    const timestamp = { ...ref('Instant'), description: 'When it happened.' };
    return { ...closed({ type: { const: type }, timestamp, data }), title: type };
  }),
  description: 'What happened, in the form that Standard Webhooks recommends.',
};

export const ALERT_WEBHOOK = {
  operationId: 'alert',
  tags: ['alerts'],
  summary: 'Tells an endpoint of the configuration what happened',
  description:
    'Signed as Standard Webhooks says, with a `v1` signature for each secret of the endpoint; verify one of them, and ' +
    'drop what has an id that you have. Tried again with growing pauses until a 2xx, for a day at most. What waits is in ' +
    'memory: whoever has to know for certain asks, too.',
  security: [{ webhookSignature: [] }],
  parameters: [
    { ...WEBHOOK_ID, description: 'The same for one thing that happened, however often it is told.' },
    { ...WEBHOOK_TIMESTAMP, description: 'Whole seconds since 1970, of this attempt.' },
    ...Object.keys(TRACE_PARAMETERS).map((name) => ({ $ref: `#/components/parameters/${name}` })),
  ],
  requestBody: {
    description: 'JSON.',
    required: true,
    content: { 'application/json': { schema: ref('Alert') } },
  },
  responses: {
    '2XX': { description: `Taken. The host waits ${LIMITS.alertTimeoutMilliseconds / 1000} s for it.` },
    '4XX': { description: 'Not taken: the host tries again.' },
    '5XX': { description: 'Not taken: the host tries again.' },
  },
} as const;

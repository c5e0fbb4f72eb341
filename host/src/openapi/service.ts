/** Health, the page of auditors, and this description itself. */
import { PHASES } from '@quantumvault/shared/protocol/messages.ts';
import { PAGE_HEADERS } from './fields.ts';
import type { Operation } from './operation.ts';
import { closed, text } from './schemas.ts';

const COMMON = { method: 'get', tag: 'service' } as const;
const PAGE = { 'text/html': { schema: text('One page that loads and sends nothing.') } };

const readiness = (ready: boolean) =>
  closed({
    ready: { const: ready },
    failing: {
      type: 'array',
      ...(ready ? { maxItems: 0 } : { minItems: 1 }),
      uniqueItems: true,
      items: { enum: ['enclave', 'credentials', 'row-key', 'store', 'frozen'] },
    },
    enclave: closed({
      phase: text('The enclave’s phase; `unreachable` when it does not answer.', {
        enum: [...PHASES, 'unreachable'],
      }),
    }),
  });

export const SERVICE: readonly Operation[] = [
  {
    ...COMMON,
    route: '/healthz',
    id: 'getHealth',
    summary: 'Whether the host lives',
    isAlwaysAnswered: true,
    replies: {
      200: { description: 'It does.', content: { 'application/json': { schema: closed({ alive: { const: true } }) } } },
    },
    codes: [],
  },
  {
    ...COMMON,
    route: '/readyz',
    id: 'getReadiness',
    summary: 'Whether the host can sign, and what is missing',
    isAlwaysAnswered: true,
    replies: {
      200: { description: 'Nothing is missing.', content: { 'application/json': { schema: readiness(true) } } },
      503: {
        description: '`failing` names what is missing.',
        content: { 'application/json': { schema: readiness(false) } },
      },
    },
    codes: [],
  },
  {
    ...COMMON,
    route: '/v1/openapi.json',
    id: 'getOpenApi',
    summary: 'This description (OpenAPI 3.1)',
    replies: {
      200: {
        description: 'The document.',
        content: {
          'application/json': {
            schema: { type: 'object', required: ['openapi'], properties: { openapi: { const: '3.1.1' } } },
          },
        },
      },
    },
    codes: [],
  },
  {
    ...COMMON,
    route: '/docs',
    id: 'getReferencePage',
    summary: 'This description as a page to read',
    replies: { 200: { description: 'The page.', content: PAGE, headers: PAGE_HEADERS } },
    codes: [],
  },
  {
    ...COMMON,
    route: '/verify',
    id: 'getVerifyPage',
    summary: 'The page that verifies attestation documents in the browser',
    replies: { 200: { description: 'The page.', content: PAGE, headers: PAGE_HEADERS } },
    codes: [],
  },
];

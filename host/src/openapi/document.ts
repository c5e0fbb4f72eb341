/** The OpenAPI 3.1 document, made of the operations. The same sources give the same bytes: `npm run build:openapi`. */
import { readFileSync } from 'node:fs';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { ALERT_SCHEMA, ALERT_WEBHOOK } from './alerts.ts';
import { COUNTED, EVERY, IN_PATH, inOrder, TOKEN, TOKEN_OF_WALLET, WITH_BODY } from './codes.ts';
import { REPLY_HEADERS, TRACE_PARAMETERS } from './fields.ts';
import { type Content, type Operation, openApiPath, type Parameter, type Schema, TAGS } from './operation.ts';
import { OPERATIONS } from './operations.ts';
import { policySchemas } from './policy-schema.ts';
import { type ErrorEntry, errorTable, problemSchemas, type Refusal, refusals } from './problem-schema.ts';
import { SCHEMAS } from './schemas.ts';

export interface Reference {
  readonly $ref: string;
}

export interface OpenApiOperation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string;
  readonly security: NonNullable<Operation['security']>;
  readonly parameters: readonly (Parameter | Reference)[];
  readonly requestBody?: { readonly description: string; readonly required: true; readonly content: Content };
  readonly responses: Readonly<Record<string, OpenApiResponse>>;
}

export interface OpenApiResponse {
  readonly description: string;
  readonly headers: Readonly<Record<string, Reference | { readonly schema: Schema }>>;
  readonly content: Content;
}

export interface OpenApiDocument {
  readonly openapi: '3.1.1';
  readonly info: {
    readonly title: string;
    readonly version: string;
    readonly summary: string;
    readonly description: string;
  };
  readonly servers: readonly { readonly url: string; readonly description: string }[];
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, OpenApiOperation>>>>;
  readonly webhooks: { readonly alert: { readonly post: typeof ALERT_WEBHOOK } };
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly parameters: typeof TRACE_PARAMETERS;
    readonly headers: typeof REPLY_HEADERS;
    readonly securitySchemes: Readonly<Record<string, Readonly<Record<string, string>>>>;
  };
  readonly 'x-error-codes': readonly ErrorEntry[];
}

const DESCRIPTION = `The HTTP interface of the host. It checks and queues; the enclave behind it judges and signs.

Bodies are strict JSON: duplicate members, unknown members and deep nesting are refused, and only \`application/json\` is taken. Refusals are problems (RFC 9457) with a stable \`code\`; \`retryable\` says whether the same request may succeed later. Each operation lists the codes it answers with; \`x-error-codes\` is the whole table, those of the client SDK and of qv among them.

Requests are counted by address, signing requests by requester and by wallet: \`RateLimit\` and \`RateLimit-Policy\` say what is left. A host that is late refuses early: 503 \`overloaded\` with \`Retry-After\`.`;

const SECURITY_SCHEMES = {
  requestSignature: {
    type: 'apiKey',
    in: 'header',
    name: 'webhook-signature',
    description:
      'One signature of a requester, as Standard Webhooks writes it: `v1a,<base64 of 64 bytes>`, Ed25519 over ' +
      '`<webhook-id>.<webhook-timestamp>.<body>`. Other versions beside it are ignored.',
  },
  apiToken: {
    type: 'http',
    scheme: 'bearer',
    description:
      'An API token, made with `qv init api-token`: `Authorization: Bearer qvt_…`. Roles are listed where they are ' +
      'asked for. Where a token is one of two ways, it is needed when the host’s `publicLog` is false.',
  },
  webhookSignature: {
    type: 'apiKey',
    in: 'header',
    name: 'webhook-signature',
    description: 'Standard Webhooks: signatures `v1,<base64>` or `v1a,<base64>` of the source, separated by spaces.',
  },
};

/** @param operations others than those of the host, for tests */
export function openApiDocument(operations: readonly Operation[] = OPERATIONS): OpenApiDocument {
  const used = inOrder(operations.flatMap(codesOf));
  const paths: Record<string, Record<string, OpenApiOperation>> = {};
  for (const operation of operations) {
    const path = openApiPath(operation.route);
    paths[path] = { ...paths[path], [operation.method]: describe(operation) };
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'QuantumVault Signer',
      version: version(),
      summary: 'A signing appliance for Solana trading bots.',
      description: DESCRIPTION,
    },
    servers: [{ url: '/', description: 'The host that serves this document.' }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    webhooks: { alert: { post: ALERT_WEBHOOK } },
    components: {
      schemas: { ...SCHEMAS, Alert: ALERT_SCHEMA, ...problemSchemas(used), ...policySchemas() },
      parameters: TRACE_PARAMETERS,
      headers: REPLY_HEADERS,
      securitySchemes: SECURITY_SCHEMES,
    },
    'x-error-codes': errorTable(),
  };
}

export function openApiText(): string {
  return `${JSON.stringify(openApiDocument(), undefined, 2)}\n`;
}

/** Everything it refuses with, in the order of the table. */
export function codesOf({ codes, parameters = [], body, security = [], isAlwaysAnswered }: Operation): ErrorCode[] {
  const isGuarded = security.some((scheme) => 'apiToken' in scheme);
  const inPath = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
  return inOrder([
    ...EVERY,
    ...(isAlwaysAnswered ? [] : COUNTED),
    ...(inPath.length > 0 ? IN_PATH : []),
    ...(isGuarded ? TOKEN : []),
    ...(isGuarded && inPath.includes('wallet') ? TOKEN_OF_WALLET : []),
    ...(body === undefined ? [] : WITH_BODY),
    ...codes,
  ]);
}

function describe(operation: Operation): OpenApiOperation {
  const { id, tag, summary, description, security = [], parameters = [], body } = operation;
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    security,
    parameters: [...parameters, ...Object.keys(TRACE_PARAMETERS).map((name) => component('parameters', name))],
    ...(body !== undefined && { requestBody: { ...body, required: true } }),
    responses: responsesOf(operation),
  };
}

function responsesOf(operation: Operation): Record<string, OpenApiResponse> {
  const responses: Record<string, OpenApiResponse> = {};
  for (const [status, { description, content, headers = {} }] of Object.entries(operation.replies)) {
    const own = Object.entries(headers).map(([name, schema]) => [name, { required: true, schema }]);
    const common = headerReferences(operation);
    responses[status] = { description, headers: { ...common, ...Object.fromEntries(own) }, content };
  }
  for (const [status, refusal] of refusals(codesOf(operation))) {
    const reply = responses[status];
    responses[status] = {
      description: reply === undefined ? refusal.description : `${reply.description} ${refusal.description}`,
      headers: headerReferences(operation, refusal),
      content: { ...reply?.content, ...refusal.content },
    };
  }
  return responses;
}

function headerReferences({ isAlwaysAnswered }: Operation, refusal?: Refusal): Record<string, Reference> {
  const names = Object.keys(REPLY_HEADERS).filter((name) => {
    if (name.startsWith('RateLimit')) return !isAlwaysAnswered;
    if (name === 'WWW-Authenticate') return refusal?.isAuthentication === true;
    return name !== 'Retry-After' || refusal?.isRetried === true;
  });
  return Object.fromEntries(names.map((name) => [name, component('headers', name)]));
}

function component(kind: 'parameters' | 'headers', name: string): Reference {
  return { $ref: `#/components/${kind}/${name}` };
}

function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/** Holds replies of a live host against the document: status, header fields, media type and body. */
import { type OpenApiDocument, type OpenApiResponse, openApiDocument } from '@quantumvault/host/openapi/document.ts';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { noteCode } from '../../support/codes-seen.ts';

/** What HTTP itself brings. */
const TRANSPORT_FIELDS = ['connection', 'content-length', 'content-type', 'date', 'keep-alive', 'transfer-encoding'];

const BELOW_ROUTES = ['http_malformed', 'headers_too_large', 'route_unknown'];
const BEFORE_COUNTING = [...BELOW_ROUTES, 'overloaded', 'shutting_down'];
const SAYS_WHEN = ['overloaded', 'rate_limited', 'source_slowed'];

export interface Call {
  readonly id: string;
  readonly status: number;
  /** Of a refusal. */
  readonly code: string | undefined;
}

export interface Sent {
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

export class Contract {
  readonly document: OpenApiDocument = openApiDocument();
  /** What was asked, and how it was answered. */
  readonly calls: Call[] = [];
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  readonly #validators = new Map<string, ValidateFunction>();

  constructor() {
    this.#ajv.addSchema({ $id: 'openapi', ...this.document });
  }

  get ids(): string[] {
    return Object.values(this.document.paths).flatMap((methods) =>
      Object.values(methods).map(({ operationId }) => operationId),
    );
  }

  operation(id: string) {
    for (const [path, methods] of Object.entries(this.document.paths))
      for (const [method, operation] of Object.entries(methods))
        if (operation.operationId === id) return { path, method, operation };
    throw new Error(`no operation ${id}`);
  }

  /** What the document says against an alert; empty when it is as described. */
  alertFaults(alert: unknown): string[] {
    return this.#faults(['components', 'schemas', 'Alert'], alert);
  }

  /** Whether the document takes this body. */
  takes(id: string, body: unknown, type = 'application/json'): boolean {
    const { path, method } = this.operation(id);
    return this.#faults(['paths', path, method, 'requestBody', 'content', type, 'schema'], body).length === 0;
  }

  /**
   * Asks, and holds the reply against the document.
   * @param path as it is sent, with its query
   */
  async call(url: string, id: string, { path, body, headers = {} }: Sent): Promise<Response> {
    const { method } = this.operation(id);
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const type: Record<string, string> = text === undefined ? {} : { 'content-type': 'application/json' };
    const response = await fetch(url + path, {
      method: method.toUpperCase(),
      headers: { ...type, ...headers },
      ...(text !== undefined && { body: text }),
    });
    await this.hold(id, response.clone());
    return response;
  }

  /** @throws Error that says what the document does not say */
  async hold(id: string, response: Response): Promise<void> {
    const { path, method, operation } = this.operation(id);
    const status = String(response.status);
    const text = await response.text();
    const fail = (why: string): never => {
      throw new Error(`${id} answered ${status} ${text.slice(0, 300)}: ${why}`);
    };
    const documented = operation.responses[status] ?? fail('the status is not documented');
    const place = ['paths', path, method, 'responses', status];
    const type = response.headers.get('content-type')?.split(';')[0] ?? '';
    const content = documented.content[type] ?? fail(`${type} is not documented`);
    const faults = [...this.#headerFaults(documented, response)];
    let code: string | undefined;
    if (content.schema !== undefined) {
      const value: unknown = type.endsWith('json') ? JSON.parse(text) : text;
      faults.push(...this.#faults([...place, 'content', type, 'schema'], value));
      code = type === 'application/problem+json' ? String((value as { code: unknown }).code) : undefined;
    }
    // Not required by the document, as what never came to a route is answered without; what a route answers has them.
    if (!BELOW_ROUTES.includes(code ?? ''))
      for (const name of ['cache-control', 'traceresponse'])
        if (!response.headers.has(name)) faults.push(`${name} is missing`);
    const isCounted = 'RateLimit' in documented.headers && !BEFORE_COUNTING.includes(code ?? '');
    if (isCounted && !response.headers.has('ratelimit')) faults.push('RateLimit is missing');
    if (SAYS_WHEN.includes(code ?? '') && !response.headers.has('retry-after')) faults.push('Retry-After is missing');
    if (faults.length > 0) fail(faults.join('; '));
    if (code !== undefined) noteCode(code);
    this.calls.push({ id, status: response.status, code });
  }

  *#headerFaults({ headers }: OpenApiResponse, response: Response): Generator<string> {
    const known = new Set<string>(TRANSPORT_FIELDS);
    for (const [name, given] of Object.entries(headers)) {
      known.add(name.toLowerCase());
      const place = '$ref' in given ? given.$ref.slice(2).split('/') : undefined;
      const header = place === undefined ? given : this.document.components.headers[place.at(-1) ?? ''];
      const value = response.headers.get(name);
      if (value === null && header !== undefined && 'required' in header && header.required) yield `${name} is missing`;
      if (value === null || header === undefined || '$ref' in header) continue;
      const validate = this.#ajv.compile(header.schema as object);
      if (!validate(value)) yield `${name}: ${value} ${said(validate.errors)}`;
    }
    for (const [name, value] of response.headers) if (!known.has(name)) yield `${name}: ${value} is not documented`;
  }

  #faults(place: readonly string[], value: unknown): string[] {
    const pointer = place.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1')).map(encodeURIComponent);
    const $ref = `openapi#/${pointer.join('/')}`;
    let validate = this.#validators.get($ref);
    if (validate === undefined) {
      validate = this.#ajv.compile({ $ref });
      this.#validators.set($ref, validate);
    }
    return validate(value) ? [] : [said(validate.errors)];
  }
}

function said(errors: readonly ErrorObject[] | null | undefined): string {
  return (errors ?? [])
    .map(({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`)
    .join(', ');
}

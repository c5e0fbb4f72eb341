/** Signed requests that the SDK would not write: unknown members, wrong signatures, wrong scopes. */
import { createHash, createHmac } from 'node:crypto';
import { request } from 'node:https';
import type { Principal } from './kms/sigv4.ts';

export interface RawAnswer {
  readonly status: number;
  readonly type: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface RawOptions {
  readonly region?: string;
  readonly service?: string;
  readonly date?: Date;
  /** Changes what is sent after it was signed. */
  readonly tamper?: (headers: Record<string, string>, body: string) => string;
}

export async function rawCall(
  kms: { readonly port: number; readonly caPem: string },
  principal: Principal,
  operation: string,
  parameters: unknown,
  options: RawOptions = {},
): Promise<RawAnswer> {
  const body = typeof parameters === 'string' ? parameters : JSON.stringify(parameters);
  const headers = signedHeaders(`localhost:${kms.port}`, principal, operation, body, options);
  const sent = options.tamper?.(headers, body) ?? body;
  return await new Promise((resolve, reject) => {
    const call = request(
      {
        host: 'localhost',
        servername: 'localhost',
        port: kms.port,
        ca: kms.caPem,
        method: 'POST',
        path: '/',
        headers,
        agent: false,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const answer = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
          const type = String(answer['__type'] ?? '');
          resolve({ status: response.statusCode ?? 0, type, headers: response.headers, body: answer });
        });
      },
    );
    call.on('error', reject);
    call.end(sent);
  });
}

function signedHeaders(
  host: string,
  principal: Principal,
  operation: string,
  body: string,
  options: RawOptions,
): Record<string, string> {
  const timestamp = (options.date ?? new Date()).toISOString().replace(/[-:]|\.\d{3}/g, '');
  const headers: Record<string, string> = {
    'content-type': 'application/x-amz-json-1.1',
    host,
    'x-amz-date': timestamp,
    ...(principal.sessionToken === undefined ? {} : { 'x-amz-security-token': principal.sessionToken }),
    'x-amz-target': `TrentService.${operation}`,
  };
  const date = timestamp.slice(0, 8);
  const scope = [date, options.region ?? 'us-east-1', options.service ?? 'kms', 'aws4_request'];
  const names = Object.keys(headers).join(';');
  const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`);
  const canonical = ['POST', '/', '', lines.join(''), names, sha256(body)].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', timestamp, scope.join('/'), sha256(canonical)].join('\n');
  const signingKey = scope.reduce<Buffer>(
    (key, part) => createHmac('sha256', key).update(part).digest(),
    Buffer.from(`AWS4${principal.secretAccessKey}`),
  );
  const signature = createHmac('sha256', signingKey).update(toSign).digest('hex');
  headers['authorization'] =
    `AWS4-HMAC-SHA256 Credential=${principal.accessKeyId}/${scope.join('/')}, ` +
    `SignedHeaders=${names}, Signature=${signature}`;
  return headers;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

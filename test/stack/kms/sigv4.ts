/** AWS Signature Version 4 (IAM user guide, "Create a signed AWS API request"), the server's side of it. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { KmsError } from './errors.ts';

const ALGORITHM = 'AWS4-HMAC-SHA256';
const SKEW_MILLISECONDS = 5 * 60_000;
const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([A-Za-z0-9]+)\/(\d{8})\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/;

export interface Principal {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Set for temporary credentials; requests must then carry it. */
  readonly sessionToken?: string;
  /** When temporary credentials end, in ISO 8601. */
  readonly expires?: string;
  /** `arn:aws:iam::111122223333:role/name`, or the ARN of a role session. */
  readonly arn: string;
  /** His identity policy as text; without one he is an administrator of his account. */
  readonly identityPolicy?: string;
}

export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
}

export interface Signing {
  readonly region: string;
  /** `kms` unless a test vector is of another. */
  readonly service?: string;
  readonly now: number;
  readonly principals: readonly Principal[];
}

/** The principal whose secret signed the request. */
export function authenticate(request: HttpRequest, signing: Signing): Principal {
  const authorization = request.headers.authorization;
  if (authorization === undefined) {
    throw new KmsError('MissingAuthenticationTokenException', 'Missing Authentication Token');
  }
  const match = AUTHORIZATION.exec(authorization);
  if (match === null) throw new KmsError('IncompleteSignatureException', 'The Authorization header is malformed.');
  const [, accessKeyId = '', date = '', region = '', service = '', signedHeaders = '', signature = ''] = match;
  requireScope({ region, service }, signing);
  const timestamp = requireFresh(request.headers['x-amz-date'], date, signing.now);
  const principal = signing.principals.find((candidate) => candidate.accessKeyId === accessKeyId);
  if (principal === undefined) {
    throw new KmsError('UnrecognizedClientException', 'The security token included in the request is invalid.');
  }
  const scope = `${date}/${region}/${service}/aws4_request`;
  const canonical = canonicalRequest(request, signedHeaders.split(';'));
  const toSign = `${ALGORITHM}\n${timestamp}\n${scope}\n${sha256(canonical)}`;
  const expected = hmac(signingKey(principal.secretAccessKey, date, region, service), toSign);
  if (!timingSafeEqual(expected, Buffer.from(signature, 'hex'))) {
    throw new KmsError(
      'InvalidSignatureException',
      'The request signature we calculated does not match the signature you provided. ' +
        'Check your AWS Secret Access Key and signing method. Consult the service documentation for details.',
    );
  }
  requireSession(request.headers['x-amz-security-token'], principal, signing.now);
  return principal;
}

function requireScope(scope: { region: string; service: string }, signing: Signing): void {
  const { service = 'kms' } = signing;
  if (scope.service !== service) {
    throw new KmsError('InvalidSignatureException', `Credential should be scoped to correct service: '${service}'.`);
  }
  if (scope.region !== signing.region) {
    throw new KmsError('InvalidSignatureException', 'Credential should be scoped to a valid region. ');
  }
}

function requireFresh(header: string | string[] | undefined, scopeDate: string, now: number): string {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(typeof header === 'string' ? header : '');
  if (parts === null) throw new KmsError('IncompleteSignatureException', 'X-Amz-Date is missing or malformed.');
  const [timestamp, year, month, day, hour, minute, second] = parts;
  if (!timestamp.startsWith(scopeDate)) {
    throw new KmsError('InvalidSignatureException', 'Date in Credential scope does not match the date of the request');
  }
  const signedAt = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(signedAt) || now - signedAt > SKEW_MILLISECONDS) {
    throw new KmsError('InvalidSignatureException', `Signature expired: ${timestamp} is too old (5 min.)`);
  }
  if (signedAt - now > SKEW_MILLISECONDS) {
    throw new KmsError('InvalidSignatureException', `Signature not yet current: ${timestamp} is too late (5 min.)`);
  }
  return timestamp;
}

function requireSession(token: string | string[] | undefined, principal: Principal, now: number): void {
  const expected = Buffer.from(principal.sessionToken ?? '');
  const given = Buffer.from(typeof token === 'string' ? token : '');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new KmsError('UnrecognizedClientException', 'The security token included in the request is invalid.');
  }
  if (principal.expires !== undefined && Date.parse(principal.expires) <= now) {
    throw new KmsError('ExpiredTokenException', 'The security token included in the request is expired');
  }
}

function canonicalRequest(request: HttpRequest, signedHeaders: readonly string[]): string {
  requireEverythingSigned(request.headers, signedHeaders);
  const payloadHash = sha256(request.body);
  const declared = request.headers['x-amz-content-sha256'];
  if (declared !== undefined && declared !== payloadHash) {
    throw new KmsError('InvalidSignatureException', 'x-amz-content-sha256 is not the hash of the body');
  }
  const headers = signedHeaders.map((name) => {
    const value = request.headers[name] ?? '';
    const text = Array.isArray(value) ? value.join(',') : value;
    return `${name}:${text.trim().replace(/ +/g, ' ')}\n`;
  });
  const [path = '/', query = ''] = request.path.split('?');
  return [request.method, path, query, headers.join(''), signedHeaders.join(';'), payloadHash].join('\n');
}

/** An unsigned host or x-amz header could be changed on the way. */
function requireEverythingSigned(headers: IncomingHttpHeaders, signedHeaders: readonly string[]): void {
  const needed = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
  for (const name of needed) {
    if (!signedHeaders.includes(name)) {
      throw new KmsError('InvalidSignatureException', `'${name}' must be a 'SignedHeader' in the AWS Authorization.`);
    }
  }
}

function signingKey(secret: string, date: string, region: string, service: string): Buffer {
  return [date, region, service, 'aws4_request'].reduce<Buffer>(hmac, Buffer.from(`AWS4${secret}`));
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

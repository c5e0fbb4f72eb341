/**
 * EC2's instance metadata service as far as credentials go, over real HTTP, with version 1 switched off as it has to
 * be (EC2 User Guide, "Use the Instance Metadata Service to access instance metadata"): tokens by PUT with a time to
 * live, 401 without a live one, text/plain for everything, each connection closed after its answer.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { MetadataEndpoint } from '@quantumvault/host/instance-role/metadata.ts';

export const TOKEN_PATH = '/latest/api/token';
export const ROLE_PATH = '/latest/meta-data/iam/security-credentials/';

const TTL_HEADER = 'x-aws-ec2-metadata-token-ttl-seconds';

export interface Asked {
  readonly method: string;
  readonly path: string;
  /** Undefined: asked as version 1 was. */
  readonly token: string | undefined;
}

export interface RoleCredentials {
  readonly AccessKeyId: string;
  readonly SecretAccessKey: string;
  readonly Token: string;
  readonly Expiration: string;
}

/** Answers in the service's place. */
export type Misconduct = (response: ServerResponse, request: IncomingMessage) => void;

export class FakeMetadata {
  role: string | undefined = 'qv-instance';
  credentials: RoleCredentials | undefined;
  /** By path. */
  readonly misconduct = new Map<string, Misconduct>();
  readonly asked: Asked[] = [];
  readonly #tokens = new Map<string, number>();
  readonly #server: Server = createServer((request, response) => this.#answer(request, response));

  async listen(): Promise<MetadataEndpoint> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** As after a restart of the service. */
  forgetTokens(): void {
    this.#tokens.clear();
  }

  count(path: string): number {
    return this.asked.filter((asked) => asked.path === path).length;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url: path = '', headers } = request;
    const token = headers['x-aws-ec2-metadata-token'];
    this.asked.push({ method, path, token: typeof token === 'string' ? token : undefined });
    response.setHeader('server', 'EC2ws');
    response.setHeader('connection', 'close');
    response.setHeader('content-type', 'text/plain');
    const misconduct = this.misconduct.get(path);
    if (misconduct !== undefined) misconduct(response, request);
    // Whoever comes through a proxy is not on this instance.
    else if (headers['x-forwarded-for'] !== undefined) response.writeHead(403).end();
    else if (method === 'PUT' && path === TOKEN_PATH) this.#grant(headers[TTL_HEADER], response);
    else if (method !== 'GET') response.writeHead(405).end();
    else if ((this.#tokens.get(String(token)) ?? 0) <= Date.now()) response.writeHead(401).end();
    else if (path === ROLE_PATH && this.role !== undefined) response.end(this.role);
    else if (path === `${ROLE_PATH}${this.role}` && this.credentials !== undefined)
      response.end(credentialsText(this.credentials));
    else response.writeHead(404).end();
  }

  #grant(ttl: string | string[] | undefined, response: ServerResponse): void {
    if (typeof ttl !== 'string' || !/^[1-9][0-9]{0,4}$/.test(ttl) || Number(ttl) > 21_600) {
      response.writeHead(400).end();
      return;
    }
    const token = `AQAEA${randomBytes(37).toString('base64url')}==`;
    this.#tokens.set(token, Date.now() + Number(ttl) * 1000);
    response.setHeader(TTL_HEADER, ttl);
    response.end(token);
  }
}

export function credentialsText(credentials: object): string {
  const frame = { Code: 'Success', LastUpdated: '2026-11-23T00:00:00Z', Type: 'AWS-HMAC' };
  return JSON.stringify({ ...frame, ...credentials }, undefined, 2);
}

/** `life`: how long they last from now, by this machine's clock. */
export function roleCredentials(name: string, life = 6 * 3600_000): RoleCredentials {
  return {
    AccessKeyId: `ASIA${name}`,
    SecretAccessKey: `secret-of-${name}/+`,
    Token: `token-of-${name}==`,
    Expiration: `${new Date(Date.now() + life).toISOString().slice(0, 19)}Z`,
  };
}

/** Who may read what over HTTP: a table of route and role, asked before anything of a request is read. */
import { createHash } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import type { Address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type ApiTokens, type Reader, ROLES, type Role } from './tokens-file.ts';

export interface AccessDeps {
  /** Undefined: nobody has a token. */
  readonly apiTokens: Pick<ApiTokens, 'find' | 'findCertificate'> | undefined;
  /** False: log and receipts are for auditors who see all wallets, wallets and attestations for whoever has a token. Default true. */
  readonly publicLog?: boolean;
}

const AUDITOR: readonly Role[] = ['auditor'];

/** By method and pattern; whatever is not listed asks for no token. */
const READS: Readonly<Record<string, readonly Role[]>> = {
  'GET /v1/wallets': ROLES,
  'GET /v1/wallets/:wallet/budgets': ROLES,
  'GET /v1/decisions': ROLES,
  'GET /v1/freezes': ROLES,
};

/** Public unless `publicLog` is false. */
const PUBLIC_READS: Readonly<Record<string, readonly Role[]>> = {
  'GET /v1/wallets/:wallet': ROLES,
  // It says the enabled policy's hash, and whether an owner is a wallet's. Whoever enables one can render it himself.
  'POST /v1/wallets/:wallet/policy/statement': ROLES,
  // Whoever is to trust the enclave has to see it.
  'GET /v1/attestation': ROLES,
  'GET /v1/receipts/:requestId': AUDITOR,
  'GET /v1/log/boots': AUDITOR,
  'GET /v1/log/checkpoint': AUDITOR,
  'GET /v1/log/tile/*': AUDITOR,
  'GET /v1/log/:boot/checkpoint': AUDITOR,
  'GET /v1/log/:boot/tile/*': AUDITOR,
  'GET /v1/log/policies/:hash': AUDITOR,
};

/** What these say is of every wallet, so nobody whose token names wallets reads them. */
const OF_ALL_WALLETS = /^\/v1\/(?:log|receipts)\//;

const READERS = new WeakMap<object, Reader>();
const BEARER = /^Bearer ([\x21-\x7e]+)$/i;

/** Before the routes are added. */
export function guardReads(app: FastifyInstance, { apiTokens, publicLog = true }: AccessDeps): void {
  const table = new Map(Object.entries(publicLog ? READS : { ...READS, ...PUBLIC_READS }));
  app.addHook('onRequest', async (request, reply) => {
    const { method, url } = request.routeOptions;
    const roles = url === undefined ? undefined : table.get(`${String(method)} ${url}`);
    if (url === undefined || roles === undefined) return;
    // What depends on who asks is in no cache, and a browser is told what is missing (RFC 6750 section 3).
    reply.header('www-authenticate', 'Bearer');
    if (apiTokens === undefined) throw new QvError('api_tokens_unconfigured');
    const reader = identify(request, apiTokens);
    if (reader === undefined) throw new QvError('api_token_invalid');
    reply.removeHeader('www-authenticate');
    if (!roles.includes(reader.role)) throw new QvError('api_role_forbidden', { value: reader.role });
    if (reader.wallets !== undefined && OF_ALL_WALLETS.test(url)) throw new QvError('api_wallet_forbidden');
    READERS.set(request, reader);
    const { wallet } = request.params as { wallet?: Address };
    if (wallet !== undefined) requireSight(reader, wallet);
  });
}

/** Who sends a token is asked for nothing else: a wrong one is not made good by a certificate. */
function identify({ headers, raw }: FastifyRequest, apiTokens: Pick<ApiTokens, 'find' | 'findCertificate'>) {
  const { authorization } = headers;
  if (authorization !== undefined) {
    const token = BEARER.exec(authorization)?.[1];
    return token === undefined ? undefined : apiTokens.find(token);
  }
  const { socket } = raw;
  // Only what a CA of ours vouches for counts.
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const certificate = socket.getPeerX509Certificate();
  return certificate && apiTokens.findCertificate(createHash('sha256').update(certificate.raw).digest());
}

/** Of a request whose route asks for a token. */
export function readerOf(request: FastifyRequest): Reader {
  const reader = READERS.get(request);
  if (reader === undefined) throw new QvError('internal', { value: 'a route without a reader' });
  return reader;
}

/** @throws QvError api_wallet_forbidden */
export function requireSight({ wallets }: Reader, wallet: Address): void {
  if (wallets !== undefined && !wallets.includes(wallet)) throw new QvError('api_wallet_forbidden', { path: 'wallet' });
}

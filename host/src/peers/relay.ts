/** Whether what this host cannot answer is a peer's to answer, and on what terms the answer leaves. */
import { address } from '@quantumvault/shared/brands.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { AppDeps } from '../app.ts';
import { Deadline } from '../deadline.ts';
import { EnclaveRefusal } from '../enclave/client.ts';
import { factsOf } from '../request-facts.ts';
import { type PeerAnswer, type PeerRequest, RELAYED } from './peers.ts';

const SIGNING = ['/v1/sign', '/v1/sign/batch'];
/** Those that name no boot: a statement that is for one enclave is no other one's business. */
const ROUTES: readonly (string | undefined)[] = [
  ...SIGNING,
  '/v1/wallets/:wallet/policy',
  '/v1/wallets/:wallet/budgets',
];

type RelayDeps = Pick<AppDeps, 'peers' | 'freezes' | 'records' | 'metrics'>;

/**
 * Answers with what a peer says, if the enclave behind this host does not hold the wallet.
 * @returns false: it is ours to refuse. Not the reply: whoever waits for one waits until it is sent
 * @throws QvError wallet_in_transit, deadline_exceeded; frozen, wallet_retired: the answer does not leave
 */
export async function relayed(
  { peers, freezes, records, metrics }: RelayDeps,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<boolean> {
  const route = request.routeOptions.url;
  const isOurs = !(error instanceof EnclaveRefusal) || error.code !== 'wallet_held_elsewhere';
  if (peers === undefined || isOurs || !ROUTES.includes(route) || request.headers[RELAYED] !== undefined) return false;
  const question = {
    method: request.method,
    url: request.url,
    body: request.body instanceof Uint8Array ? request.body : undefined,
    ...asking(request, reply),
  };
  let answer: PeerAnswer;
  try {
    answer = await peers.answer(question);
    metrics.relayed('answered');
  } catch (error) {
    metrics.relayed('in_transit');
    throw error;
  }
  const { wallet, requester } = factsOf(request);
  if (SIGNING.includes(route ?? '') && wallet !== undefined) {
    const subject = { wallet: address(wallet), ...(requester && { requester }) };
    // What a peer signed leaves through here: the freezes and ends that this host knows hold it back, too.
    records.requireLive(subject.wallet);
    freezes.requireOpen(subject);
  }
  Object.assign(factsOf(request), { relayed: true, ...(answer.code && { code: answer.code }) });
  if (answer.retryAfter !== null) reply.header('retry-after', answer.retryAfter);
  reply.code(answer.status).type(answer.contentType).send(Buffer.from(answer.body));
  return true;
}

/** What of a request is passed on with whatever is asked. @throws QvError deadline_exceeded, field_malformed */
export function asking(
  request: FastifyRequest,
  reply: FastifyReply,
): Pick<PeerRequest, 'headers' | 'forwardedFor' | 'milliseconds'> {
  const { 'x-forwarded-for': before } = request.headers;
  return {
    headers: request.headers,
    // As every proxy does: the peer knows which of us it trusts.
    forwardedFor: [before, request.raw.socket.remoteAddress].filter((part) => part !== undefined).join(', '),
    milliseconds: new Deadline(request.headers, reply.elapsedTime).leftMilliseconds(),
  };
}

/**
 * POST /v1/webhooks/:source: a signal comes in. Cheap refusals first, and everything that is said before the body before
 * the body is read. The answer is
 *
 *   {"signal": id, "verified": "enclave-verifiable" | "host"}
 *
 * with the id that signing requests cite. `enclave-verifiable`: an Ed25519 signature is kept with it, which the enclave
 * verifies again under the key that the policy names. `host`: what a policy calls `hostVerified`. 200 when it is stored,
 * also when it was before; 202 when the database has yet to take it.
 */
import { codeOf, ERRORS } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AppDeps } from '../app.ts';
import { clientOf } from '../client-address.ts';
import { translateForeign } from '../problem.ts';
import type { SignalRecord } from '../store/store.ts';
import { RefusalPace } from '../webhooks/refusal-pace.ts';
import type { Admitted } from '../webhooks/webhooks.ts';
import { bodyBytes } from '../wire-json.ts';

export const WEBHOOK_ROUTE = '/v1/webhooks/:source';

const JSON_TYPE = /^application\/json *(?:;|$)/i;

export function webhookRoute(app: FastifyInstance, deps: AppDeps): void {
  const { webhooks, signals, trustedProxies, metrics, now } = deps;
  const pace = new RefusalPace(deps.webhookRefusalsPerSecond);
  const admitted = new WeakMap<object, Admitted>();
  // A context of its own, for the other media type and for how refusals are told.
  app.register(async (scope) => {
    scope.addContentTypeParser('text/plain', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

    /** Whether the answer may be given; if not, the connection is closed. */
    const paced = async (
      request: Pick<FastifyRequest, 'raw'>,
      reply: Pick<FastifyReply, 'hijack'>,
    ): Promise<boolean> => {
      if (await pace.turn(admitted.get(request)?.cost ?? 1)) return true;
      reply.hijack();
      request.raw.socket.destroy();
      return false;
    };

    scope.setErrorHandler<Error, { Params: { source: string } }>(async (error, request, reply) => {
      const isCallersFault = ERRORS[codeOf(translateForeign(error))].status < 500;
      metrics.webhook(request.params.source, isCallersFault ? 'refused' : 'failed');
      // Whoever's fault: a host that is late and says so at once would be asked all the more often.
      if (!(await paced(request, reply))) return;
      // For the app's own, which knows how a problem looks.
      throw error;
    });

    scope.post<{ Params: { source: string } }>(
      WEBHOOK_ROUTE,
      {
        bodyLimit: LIMITS.signalBodyBytes,
        onRequest: async (request) => {
          const { raw, headers } = request;
          admitted.set(request, webhooks.admit(request.params.source, clientOf(raw, trustedProxies), headers, now()));
        },
      },
      async (request, reply) => {
        const webhook = admitted.get(request) as Admitted;
        const isJson = JSON_TYPE.test(request.headers['content-type'] ?? '');
        const { signal: verified, delivery } = await webhooks.verify(webhook, bodyBytes(request.body), isJson, now());
        const { signal, isRepeat, isStored } = await signals.accept(verified, delivery);
        metrics.webhook(signal.source, isRepeat ? 'duplicate' : 'accepted');
        const answer = { signal: signal.id, verified: verifiedBy(signal) };
        request.log.info({ source: signal.source, ...answer, isRepeat, isStored }, 'signal');
        // A repeat has no effect, and anybody who has seen one can send it.
        if (isRepeat && !(await paced(request, reply))) return;
        return reply.code(isStored ? 200 : 202).send(answer);
      },
    );
  });
}

function verifiedBy({ signature }: SignalRecord): 'enclave-verifiable' | 'host' {
  return signature === undefined ? 'host' : 'enclave-verifiable';
}

/** What operators and auditors ask: does the process live, is it of use, and who is the enclave. */
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { type BootId, bootIdOf } from '@quantumvault/shared/brands.ts';
import { fromHex, toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { stateOfCredentials } from '../credentials.ts';
import { RELAYED } from '../peers/peers.ts';
import { asking } from '../peers/relay.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';
import { receiptJson } from '../wire-json.ts';

type ReadyPart = 'enclave' | 'credentials' | 'row-key' | 'store' | 'frozen';

export function healthRoutes(app: FastifyInstance, deps: AppDeps, limits: RateLimits): void {
  app.get('/healthz', async () => ({ alive: true }));

  // Nobody is refused here, so whoever asks meanwhile shares the answer: asking often must not fill the store's queue.
  let answering: Promise<boolean> | undefined;
  const storeAnswers = (): Promise<boolean> => {
    answering ??= deps.store
      .ping()
      .then(
        () => true,
        () => false,
      )
      .finally(() => {
        answering = undefined;
      });
    return answering;
  };

  app.get('/readyz', async (_request, reply) => {
    const failing = failingParts(deps, await storeAnswers());
    const phase = deps.session.status?.phase;
    return reply
      .code(failing.length === 0 ? 200 : 503)
      .send({ ready: failing.length === 0, failing, enclave: { phase: phase ?? 'unreachable' } });
  });

  app.get('/v1/attestation', async (request, reply) => {
    const { nonce, wanted } = parseQuestion(request.query);
    await limits.byAddress(request, reply, 'attestations');
    if (wanted !== undefined && wanted !== deps.session.bootId) {
      if (deps.peers === undefined || request.headers[RELAYED] !== undefined)
        throw new QvError('boot_unknown', { path: 'boot' });
      const json = await deps.peers.attestation(wanted, toHex(nonce), asking(request, reply));
      return reply.type('application/json').send(json);
    }
    const boot = deps.session.requireBoot();
    const { document } = await deps.enclave.request('attest', { nonce });
    // The enclave may have been started anew in between: then document and record are of two boots.
    if (deps.session.requireBoot().id !== boot.id) throw new QvError('enclave_not_ready');
    return { document: toBase64(document), boot: boot.id, bootRecord: receiptJson(boot.record) };
  });
}

function failingParts({ session, freezes, credentials, now }: AppDeps, storeAnswers: boolean): ReadyPart[] {
  const parts: ReadyPart[] = [];
  if (!session.serving) parts.push('enclave');
  if (stateOfCredentials(credentials, session.status?.time ?? now()) !== 'valid') parts.push('credentials');
  if (!session.hasRowKey) parts.push('row-key');
  if (!storeAnswers) parts.push('store');
  if (freezes.stopping() !== undefined) parts.push('frozen');
  return parts;
}

interface Question {
  readonly nonce: Uint8Array;
  /** The boot that is to prove itself; absent: whichever is behind this host. */
  readonly wanted: BootId | undefined;
}

/** `?nonce=`, perhaps `&boot=`, and nothing else. @throws QvError field_malformed, hex_malformed, base58_malformed */
function parseQuestion(query: unknown): Question {
  // A repeated parameter arrives as a list, which text() refuses.
  const fields = new JsonFields({ ...(query as Record<string, JsonValue>) });
  const nonce = fromHex(fields.text('nonce'), 'nonce');
  const wanted =
    fields.optional('boot') === undefined ? undefined : bootIdOf(fromBase58(fields.text('boot'), 32, 'boot'));
  fields.end();
  if (nonce.length < LIMITS.callerNonceMinBytes || nonce.length > LIMITS.callerNonceMaxBytes) {
    throw fields.fault('nonce', `${LIMITS.callerNonceMinBytes} to ${LIMITS.callerNonceMaxBytes} bytes`);
  }
  return { nonce, wanted };
}

/** The log of the enclave that answers now, for auditors and witnesses (design 10). */
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';

/** One answer of the enclave serves everybody who asks within this time. */
const KEEP_MILLISECONDS = 1_000;

export function logRoutes(app: FastifyInstance, deps: AppDeps): void {
  let kept: { readonly note: Promise<Uint8Array>; readonly until: number } | undefined;

  /** C2SP tlog-tiles: the checkpoint as it was signed; never cached on the way, because it changes. */
  app.get('/v1/log/checkpoint', async (_request, reply) => {
    const now = performance.now();
    if (kept === undefined || kept.until < now) {
      const note = deps.enclave.request('checkpoint', {}).then((answer) => answer.note);
      kept = { note, until: now + KEEP_MILLISECONDS };
      note.catch(() => {
        kept = undefined;
      });
    }
    const note = await kept.note;
    return reply.type('text/plain; charset=utf-8').send(Buffer.from(note));
  });
}

/** The page that verifies attestation documents in the auditor's browser (`verify-page/`), as it was committed. */
import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';

const PAGE = new URL('../verify-page/verify.html', import.meta.url);

export function verifyPageRoute(app: FastifyInstance): void {
  const page = readFileSync(PAGE);
  // The page carries its policy, so that a saved copy keeps it; only the response can forbid frames.
  const policy = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(page.toString('utf8'))?.[1];
  if (policy === undefined) throw new Error('verify.html has no policy; run npm run build:verify-page');
  app.get('/verify', async (_request, reply) =>
    reply
      .headers({
        'content-security-policy': `${policy}; frame-ancestors 'none'`,
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
      })
      .type('text/html; charset=utf-8')
      .send(page),
  );
}

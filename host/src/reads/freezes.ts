/** GET /v1/freezes: what this host holds frozen, fleet first. */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { FLEET, walletScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { instant } from '../freeze-record.ts';
import { readerOf } from './access.ts';
import { queryFields } from './query.ts';

export function freezesRoute(app: FastifyInstance, { freezes }: AppDeps): void {
  app.get('/v1/freezes', async (request) => {
    queryFields(request.query).end();
    const { wallets } = readerOf(request);
    const seen = wallets && new Set([FLEET, ...wallets.map(walletScope)]);
    const held = freezes.held.filter(({ scope }) => seen === undefined || seen.has(scope));
    return {
      count: held.length,
      freezes: held.slice(0, LIMITS.statusFreezes).map(({ scope, reason, latchedAt, boot, freezeId }) => ({
        scope,
        reason,
        since: instant(latchedAt),
        boot: boot ?? null,
        freezeId: freezeId === undefined ? null : toHex(freezeId),
      })),
    };
  });
}

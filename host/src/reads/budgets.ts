/**
 * GET /v1/wallets/<wallet>/budgets: what the enabled policy leaves of each window and rate, as the enclave that holds
 * the wallet knows it. Only a picture of the moment: what counts is judged when something is signed.
 */
import { address } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { policyHash } from '@quantumvault/shared/policy/policy.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { boundedReads } from '../evidence/bounded-reads.ts';
import { instant } from '../freeze-record.ts';
import { factsOf } from '../request-facts.ts';
import { policyOf, verifiedRow } from '../wallet-rows.ts';
import { queryFields } from './query.ts';

export function budgetsRoute(app: FastifyInstance, { store, session, enclave }: AppDeps): void {
  const bounded = boundedReads();
  app.get<{ Params: { wallet: string } }>('/v1/wallets/:wallet/budgets', async (request) => {
    queryFields(request.query).end();
    const wallet = address(request.params.wallet, 'wallet');
    factsOf(request).wallet = wallet;
    return await bounded(async () => {
      const { bytes: policy } = policyOf(await verifiedRow(store, session, wallet));
      const { time, budgets } = await enclave.request('budgets', { wallet, policy });
      return {
        wallet,
        policyHash: toHex(policyHash(policy)),
        time: instant(time),
        budgets: budgets.map(({ rule, seconds, limit, spent, freesAt }) => ({
          rule,
          seconds,
          limit: String(limit),
          spent: String(spent),
          remaining: String(limit > spent ? limit - spent : 0n),
          freesAt: freesAt === undefined ? null : instant(freesAt),
        })),
      };
    });
  });
}

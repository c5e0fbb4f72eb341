/** GET /v1/wallets: the wallets that a token may see, in ascending order. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import type { JsonFields } from '@quantumvault/shared/json.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { boundedReads } from '../evidence/bounded-reads.ts';
import { walletFacts } from '../routes/wallets.ts';
import { readerOf } from './access.ts';
import { limitField, queryFields } from './query.ts';

export function walletListRoute(app: FastifyInstance, deps: AppDeps): void {
  const bounded = boundedReads();
  app.get('/v1/wallets', async (request) => {
    const fields = queryFields(request.query);
    const after = afterField(fields);
    const limit = limitField(fields);
    fields.end();
    const { wallets: seen } = readerOf(request);
    // A key or an enclave that is missing fails the whole list, and not each of its rows.
    deps.session.requireRowMac();
    return await bounded(async () => {
      // One more says whether there is another page.
      const found =
        seen === undefined
          ? await deps.store.listWallets(after, limit + 1)
          : seen.filter((wallet) => after === undefined || wallet > after).slice(0, limit + 1);
      const page = found.slice(0, limit);
      const wallets = await Promise.all(page.map((wallet) => factsOrFault(deps, wallet)));
      return { wallets, next: found.length > limit ? (page.at(-1) ?? null) : null };
    });
  });
}

/** One row that somebody edited must not hide the others. */
async function factsOrFault(deps: AppDeps, wallet: Address) {
  try {
    return await walletFacts(deps, wallet);
  } catch (error) {
    const code = codeOf(error);
    if (code !== 'row_tampered' && code !== 'wallet_unknown') throw error;
    if (code === 'row_tampered') deps.incidents.tampered(wallet);
    return { wallet, fault: code };
  }
}

function afterField(fields: JsonFields): Address | undefined {
  return fields.optional('after') === undefined ? undefined : address(fields.text('after'), 'after');
}

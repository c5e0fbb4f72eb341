import { QvError } from '@quantumvault/shared/errors.ts';
import type { JsonFields } from '@quantumvault/shared/json.ts';
import type { AdminDeps } from './deps.ts';

/**
 * Made once; a second one would turn every row MAC into a forgery.
 * @throws QvError already_initialised, store_*, enclave_*
 */
export async function createRowKey(
  fields: JsonFields,
  { store, enclave, session, log }: AdminDeps,
): Promise<{ created: true }> {
  fields.end();
  if ((await store.getMeta('row-key')) !== undefined) throw new QvError('already_initialised');
  const { blob } = await enclave.request('rowKeyCreate', {});
  if (!(await store.createMeta('row-key', blob))) throw new QvError('already_initialised');
  log.info({}, 'row key created');
  // A round that began before the key was there would not have seen it.
  await session.refresh();
  if (!session.hasRowKey) await session.refresh();
  return { created: true };
}

import { QvError } from '@quantumvault/shared/errors.ts';
import type { JsonFields } from '@quantumvault/shared/json.ts';
import type { AdminCommands } from '../admin-protocol.ts';
import type { RowKeyReport } from '../rotation/row-key.ts';
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

/**
 * Begins to replace the row key, if that is not under way, and says how far it is: the host goes on by itself.
 * @throws QvError not_initialised, row_key_*, store_*, enclave_*, kms_*
 */
export async function rotateRowKey(
  fields: JsonFields,
  { rotation }: AdminDeps,
): Promise<AdminCommands['row-key-rotate']['result']> {
  const leaveEdited = fields.optionalBoolean('leaveEdited') ?? false;
  fields.end();
  if (leaveEdited) {
    rotation.leaveEdited();
    return { begun: false, ...rotation.report };
  }
  const begun = await rotation.begin();
  return { begun, ...rotation.report };
}

export async function rowKeyStatus(fields: JsonFields, { rotation }: AdminDeps): Promise<RowKeyReport> {
  fields.end();
  return rotation.report;
}

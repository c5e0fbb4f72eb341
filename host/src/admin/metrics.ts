import type { JsonFields } from '@quantumvault/shared/json.ts';
import type { AdminDeps } from './deps.ts';

/** What GET /metrics answers, where it is served. @throws QvError field_malformed */
export async function metrics(fields: JsonFields, deps: AdminDeps): Promise<{ readonly text: string }> {
  fields.end();
  return { text: await deps.metrics.text() };
}

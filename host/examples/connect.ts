/**
 * Refuses to start unless the enclave behind the host runs one of the pinned images.
 * `node host/examples/connect.ts <client.json>`
 */
import { createClient } from '../src/client/index.ts';
import { readSettings, run } from './settings.ts';

const { connection } = readSettings();

await run(async () => {
  // From the same options, so that nothing is sent before an enclave has proved itself to this client.
  const client = createClient({ ...connection, attempts: 2 });
  // Not waited for longer than this, all attempts together.
  const { boot, report } = await client.connect({ signal: AbortSignal.timeout(10_000) });
  // Later the same answer, without asking again. A request that meets another boot has that one prove itself, too.
  const again = await client.connect();
  return { boot, proves: report.proves, same: again.boot === boot };
});

/** A host by itself that refuses webhooks as fast as it can, for floods. Its ready line: where it is, and its database. */
import { Harness } from '../host/harness.ts';
import { SECRET, secretLine, TEXT_SECRET } from '../host/webhooks/sources.ts';
import { floodSources } from './webhook-flood.ts';

const [key = ''] = process.argv.slice(2);
const host = new Harness();
host.webhookRefusalsPerSecond = 1e9;
host.logLevel = 'error';
host.moreConfig = () => {
  const files = [host.writePrivate('secrets', secretLine(SECRET)), host.writePrivate('text', TEXT_SECRET)] as const;
  return { webhooks: floodSources(...files, key) };
};
await host.start();
const stop = async (): Promise<never> => {
  await host.stop();
  process.exit();
};
process.on('SIGTERM', () => void stop());
process.stdin.on('end', () => void stop()).resume();
process.stdout.write(`${JSON.stringify({ url: host.host.url, database: host.database })}\n`);

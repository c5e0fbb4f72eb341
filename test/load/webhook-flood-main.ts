/** A process that floods: `node webhook-flood-main.ts <url> <count> <connections> <host's pid>`; one line of JSON. */
import { residentBytes } from './resident-bytes.ts';
import { flood } from './webhook-flood.ts';

const [url = '', count, connections, pid] = process.argv.slice(2);
const memory: Record<string, number> = {};
const report = await flood(url, Number(count), Number(connections), (answered) => {
  if (answered % 5_000 === 0) memory[answered] = residentBytes(Number(pid));
});
process.stdout.write(`${JSON.stringify({ ...report, memory })}\n`);

/** A process that floods: `node webhook-flood-main.ts <url> <count> <connections>`; its report as one line of JSON. */
import { flood } from './webhook-flood.ts';

const [url = '', count, connections] = process.argv.slice(2);
process.stdout.write(`${JSON.stringify(await flood(url, Number(count), Number(connections)))}\n`);

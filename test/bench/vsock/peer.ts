/**
 * The other end of the measurements. `peer.ts <addon> <carrier>`: sends back what is small; a first byte of 0xff asks
 * for as many MiB as the second byte says.
 */
import { type CarrierName, carrier } from './carriers.ts';

const [addon = '', name = ''] = process.argv.slice(2);
const CHUNK = Buffer.alloc(64 * 1024, 1);

process.stdin.resume().on('end', () => process.exit(0));
await carrier(name as CarrierName, addon).listen((connection) => {
  connection.onData(async (bytes) => {
    if (bytes[0] !== 0xff) return connection.write(bytes);
    for (let sent = 0; sent < (bytes[1] ?? 0) * 16; sent++) await connection.write(CHUNK);
  });
});
process.stdout.write('ready\n');

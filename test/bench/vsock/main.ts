/** In a guest: measures the carriers in turns and prints one line of JSON. `main.ts <addon>` */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { CARRIERS, type CarrierName, type Connection, carrier } from './carriers.ts';

const [addon = ''] = process.argv.slice(2);
const ROUNDS = 7;
const TRIPS = 200;
const MEBIBYTES = 32;
const MESSAGE = Buffer.alloc(64, 1);

interface Side {
  readonly name: CarrierName;
  readonly connection: Connection;
  readonly peer: ChildProcess;
  readonly tripMilliseconds: number[];
  readonly mebibytesPerSecond: number[];
}

async function open(name: CarrierName): Promise<Side> {
  const args = [join(import.meta.dirname, 'peer.ts'), addon, name];
  const peer = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  if (peer.stdout === null) throw new Error('the peer has no output');
  await once(peer.stdout, 'data');
  const connection = await carrier(name, addon).connect();
  return { name, connection, peer, tripMilliseconds: [], mebibytesPerSecond: [] };
}

/** Resolves when so many bytes have come. */
function received({ connection }: Side): (bytes: number) => Promise<void> {
  let missing = 0;
  let done = (): void => undefined;
  connection.onData((chunk) => {
    missing -= chunk.length;
    if (missing <= 0) done();
  });
  return (bytes) =>
    new Promise((resolve) => {
      missing = bytes;
      done = resolve;
    });
}

const sides: (Side & { readonly take: (bytes: number) => Promise<void> })[] = [];
for (const name of CARRIERS) {
  const side = await open(name);
  sides.push({ ...side, take: received(side) });
}
for (let round = 0; round <= ROUNDS; round++) {
  for (const { connection, take, tripMilliseconds, mebibytesPerSecond } of sides) {
    const trips: number[] = [];
    for (let trip = 0; trip < TRIPS; trip++) {
      const start = performance.now();
      const back = take(MESSAGE.length);
      await connection.write(MESSAGE);
      await back;
      trips.push(performance.now() - start);
    }
    const start = performance.now();
    const all = take(MEBIBYTES * 1024 * 1024);
    await connection.write(Uint8Array.of(0xff, MEBIBYTES));
    await all;
    // The first round warms up and does not count.
    if (round === 0) continue;
    tripMilliseconds.push(median(trips));
    mebibytesPerSecond.push((MEBIBYTES * 1000) / (performance.now() - start));
  }
}
const rows = sides.map(({ name, tripMilliseconds, mebibytesPerSecond }) => ({
  name,
  tripMilliseconds: median(tripMilliseconds),
  mebibytesPerSecond: median(mebibytesPerSecond),
}));
process.stdout.write(`${JSON.stringify({ rows })}\n`);
process.exit(0);

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

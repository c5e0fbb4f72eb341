/** A process that writes until it is killed, and prints the version of each write once it was answered. */
import { silentLog } from '@quantumvault/host/log.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import { insert, key, signed } from '../host/store-fixtures.ts';

const store = await openSqliteStore({ path: process.argv[2] ?? '', log: silentLog });
const wallet = key(1);
await store.insertWallet(insert(wallet, 1, 0));
let version = 1;
for (let lane = 0; lane < 8; lane++) void write();

async function write(): Promise<void> {
  for (;;) {
    const mine = ++version;
    await store.applySigned(signed(wallet, mine));
    process.stdout.write(`${mine}\n`);
  }
}

/**
 * A host that replaces the row key, and is killed at one moment of it: `<folder> <operation> <before|after> <which>`,
 * before the operation was given to the database, or after that has answered.
 */
import type { Store } from '@quantumvault/host/store/store.ts';
import { isDone, openStore, rotatingHost } from './row-key-kit.ts';

const [folder = '', operation, moment, which] = process.argv.slice(2);
let calls = 0;

function killing(inner: Store): Store {
  const operations = Object.entries(inner).map(([name, work]: [string, (...all: unknown[]) => Promise<unknown>]) => {
    if (name !== operation) return [name, work];
    const killed = async (...all: unknown[]): Promise<unknown> => {
      const isIt = ++calls === Number(which);
      if (isIt && moment === 'before') process.kill(process.pid, 'SIGKILL');
      const answer = await work(...all);
      if (isIt) process.kill(process.pid, 'SIGKILL');
      return answer;
    };
    return [name, killed];
  });
  return Object.fromEntries(operations) as Store;
}

const store = await openStore(folder);
const host = await rotatingHost(folder, store, { name: 'child', wrap: killing });
host.rotation.start();
await host.rotation.begin();
await isDone(host);
process.exit(0);

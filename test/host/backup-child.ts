/** Takes one backup after the other, until it is killed. */
import { takeBackup } from '@quantumvault/host/cli/backup/take.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';

const [database = '', folder = '', deployment = ''] = process.argv.slice(2);
for (;;) {
  const { manifest } = await takeBackup({ database, folder, deployment, now: timeMs(Date.now()), keep: 3 });
  process.stdout.write(`${manifest.number}\n`);
}

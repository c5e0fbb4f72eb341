/** Takes one backup after the other, or restores one, until it is killed. */
import { restoreBackup } from '@quantumvault/host/cli/backup/restore.ts';
import { takeBackup } from '@quantumvault/host/cli/backup/take.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';

const [what, database = '', folder = '', deployment = ''] = process.argv.slice(2);
if (what === 'restore') {
  process.stdout.write('begun\n');
  await restoreBackup({ database, folder, deployment, wallets: [] });
} else
  for (;;) {
    const { manifest } = await takeBackup({ database, folder, deployment, now: timeMs(Date.now()), keep: 3 });
    process.stdout.write(`${manifest.number}\n`);
  }

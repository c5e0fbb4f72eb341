/** qv backup: the database as it is now, added to a folder of backups. */
import { timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { loadHostConfig } from '../../config.ts';
import { type TakenBackup, takeBackup } from '../backup/take.ts';
import type { Arguments, Command, Result } from '../command.ts';
import { bytesText, countText, progressBar } from '../progress.ts';
import { printable, table, tick } from '../terminal.ts';

export const backup: Command = {
  name: 'backup',
  summary: 'Back up the host’s database into a folder, while the host runs; later ones add what is new.',
  details: [
    'Called on the host’s machine, as root or as the host’s user. The database is read as it is at one',
    'moment, and nobody waits for that. It is cut into parts of 256 KiB, named by their SHA-256; those',
    'that the folder has already are not written again. While it works it takes room for one whole copy.',
    'Whatever ends it, the backups before it stay as they were. Nothing is removed without --keep.',
    'What is in it is ciphertext or public, and names wallets and amounts. A wallet made after the last',
    'backup is in none: back up before money is sent to it. Configuration and secret files are not in it.',
  ],
  options: {
    config: { value: '<file>', help: 'the host’s configuration', required: true },
    to: { value: '<folder>', help: 'made when it is not there; best on another disk', required: true },
    keep: { value: '<n>', help: 'remove all but the newest n backups, and parts that only those needed' },
  },
  run: async (args, { stderr }) => {
    const { deployment, store } = loadHostConfig(args.text('config'));
    const folder = args.text('to');
    const keep = keepOption(args);
    const bar = progressBar(stderr, 'Copying', {
      amounts: (done, of) => `${countText(done)} of ${countText(of)} pages`,
    });
    try {
      const taken = await takeBackup({
        database: store.sqlite,
        deployment,
        folder,
        now: timeMs(Date.now()),
        ...(keep !== undefined && { keep }),
        onProgress: bar.update,
      });
      return answer(folder, taken);
    } finally {
      bar.clear();
    }
  },
};

function keepOption(args: Arguments): number | undefined {
  const text = args.optional('keep');
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new QvError('usage_invalid', { value: '--keep is a number from 1 on' });
  return Number(text);
}

function answer(
  folder: string,
  { manifest, name, newParts, newBytes, removedBackups, freedBytes }: TakenBackup,
): Result {
  const { number, deployment, takenAt, bytes, parts, wallets, leaves, logs } = manifest;
  const time = formatTime(takenAt);
  return {
    exit: 'ok',
    json: {
      folder,
      number,
      manifest: name,
      deployment,
      takenAt: time,
      bytes,
      parts,
      newParts,
      newBytes,
      wallets,
      leaves,
      logs: logs.map(({ boot, size }) => ({ boot, size: String(size) })),
      removed: removedBackups,
      freedBytes,
    },
    text: (style) => [
      `${tick(style)} ${style('bold', `Backup ${number}`)} of ${deployment}, in ${printable(folder)}`,
      ...table(
        [
          ['Database', `${bytesText(bytes)}: ${countText(wallets)} wallets, ${countText(leaves)} leaves`],
          ['Written', `${bytesText(newBytes)}: ${countText(newParts)} new parts of ${countText(parts)}`],
          ...(removedBackups.length === 0
            ? []
            : [
                ['Removed', `${removedBackups.length} older backups; ${bytesText(freedBytes)} are free again`] as const,
              ]),
          ['Next', 'qv backup verify, and a copy on another machine'],
        ],
        style,
      ),
    ],
  };
}

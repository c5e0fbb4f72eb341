/** qv restore: a host's database out of a backup. */
import { existsSync } from 'node:fs';
import { type HostConfig, loadHostConfig } from '../../config.ts';
import { VERIFY_OPTIONS, verifiedJson, verifiedLines, verifyOptions } from '../backup/options.ts';
import { restoreBackup } from '../backup/restore.ts';
import type { Command } from '../command.ts';
import { secretFilesOf } from '../doctor/files.ts';
import { progressBar } from '../progress.ts';
import { printable, table, tick } from '../terminal.ts';

export const restore: Command = {
  name: 'restore',
  summary: 'Put a backup’s database in place for a host that has none.',
  details: [
    'Called on the new host’s machine before the host is started. The backup is verified first, in the',
    'database’s own folder. A database that is there, an empty one',
    'too, is never replaced: stop the host and move it away, with what is called like it and ends in',
    '-wal or -shm. Secret files and certificates are not in a backup; those that the configuration names',
    'are listed. As root the database is given to the owner of its folder.',
    'An enclave that lives goes on with what it remembers. Where it is gone, wallets go on by a lease.',
  ],
  options: {
    ...VERIFY_OPTIONS,
    to: { value: '<file>', help: 'the new host’s configuration, which says where the database is', required: true },
    log: { value: '<folder>', help: 'a copy by qv log fetch: policies that auditors need, of after the backup' },
  },
  run: async (args, { stderr }) => {
    const config = loadHostConfig(args.text('to'));
    const { request, warnings } = await verifyOptions(args);
    const database = config.store.sqlite;
    const bar = progressBar(stderr, 'Restoring');
    try {
      const { deployment } = config;
      const log = args.optional('log');
      const where = { database, deployment, ...(log !== undefined && { log }) };
      const verified = await restoreBackup({ ...request, ...where, onProgress: bar.update });
      const { ok: restored, policiesAdded } = verified;
      const needed = neededFiles(config);
      return {
        exit: verified.ok ? 'ok' : 'failed',
        json: {
          folder: request.folder,
          database,
          restored,
          policiesAdded,
          needed,
          warnings,
          ...verifiedJson(verified),
        },
        text: (style) => [
          ...verifiedLines(verified, warnings, style),
          '',
          ...(verified.ok
            ? [
                `${tick(style)} ${style(['bold', 'green'], 'Restored')} to ${printable(database)}.`,
                ...table(
                  [
                    ...needed.map(({ field, path, isThere }): [string, string] => [
                      field,
                      `${printable(path)}${isThere ? '' : style('red', ': not there; it is in no backup')}`,
                    ]),
                    ...(log === undefined
                      ? []
                      : [['Policies from the log', String(policiesAdded)] as [string, string]]),
                    ['Next', 'start the host; a wallet whose enclave is gone goes on by qv lease'],
                  ],
                  style,
                ),
              ]
            : ['Nothing was written.']),
        ],
      };
    } finally {
      bar.clear();
    }
  },
};

/** What a host needs besides its database and its configuration. */
function neededFiles(config: HostConfig): readonly { field: string; path: string; isThere: boolean }[] {
  const { tls } = config;
  const files = [
    ...secretFilesOf(config).map(({ field, path }) => ({ field, path })),
    ...(tls === undefined ? [] : [{ field: 'tls.certificateFile', path: tls.certificateFile }]),
    ...(tls?.clientCaFile === undefined ? [] : [{ field: 'tls.clientCaFile', path: tls.clientCaFile }]),
  ];
  return files.map((file) => ({ ...file, isThere: existsSync(file.path) }));
}

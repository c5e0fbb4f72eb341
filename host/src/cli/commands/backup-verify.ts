/** qv backup verify: whether a backup would do, found out without a host, an enclave or a network. */
import { tmpdir } from 'node:os';
import { VERIFY_OPTIONS, verifiedJson, verifiedLines, verifyOptions } from '../backup/options.ts';
import { verifyBackup } from '../backup/verify.ts';
import type { Command } from '../command.ts';
import { progressBar } from '../progress.ts';
import { tick } from '../terminal.ts';

export const backupVerify: Command = {
  name: 'backup verify',
  summary: 'Put a backup together and read it to the end: parts, database, wallets, logs. Needs no host.',
  details: [
    'Every part is compared with its SHA-256, and the database with what the manifest says. Each wallet’s',
    'row has to parse, and be no older than the log; leaves have to be those of the checkpoints that the',
    'boots signed. With --pcrs the logs are audited as by qv verify log. The seals of rows open in an',
    'enclave alone, so that a row that was changed well-formed shows there. Exits 0 when all of it holds,',
    '1 when something does not.',
  ],
  options: {
    ...VERIFY_OPTIONS,
    scratch: {
      value: '<folder>',
      help: 'where there is room for the whole database meanwhile; default: $TMPDIR or /tmp',
    },
  },
  run: async (args, { stderr }) => {
    const { request, warnings } = await verifyOptions(args);
    const bar = progressBar(stderr, 'Reading');
    try {
      const scratch = args.optional('scratch') ?? tmpdir();
      const verified = await verifyBackup({ ...request, scratch, onProgress: bar.update });
      return {
        exit: verified.ok ? 'ok' : 'failed',
        json: { folder: request.folder, warnings, ...verifiedJson(verified) },
        text: (style) => [
          ...verifiedLines(verified, warnings, style),
          ...(verified.ok
            ? ['', `${tick(style)} ${style(['bold', 'green'], 'It would do')}: every check passes.`]
            : []),
        ],
      };
    } finally {
      bar.clear();
    }
  },
};

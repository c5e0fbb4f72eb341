/** qv migrate verify: whether every row became a wallet of its own, by the database and by what the enclave signed. */
import { tmpdir } from 'node:os';
import type { Command } from '../command.ts';
import { withDatabaseCopy } from '../migrate/database.ts';
import { ROWS_OPTIONS, readRowInputs, requireFaultless } from '../migrate/options.ts';
import { saltOccurs, verifyWallets, type WalletFault } from '../migrate/verify.ts';
import { countText, progressBar } from '../progress.ts';
import { DEPLOYMENT, deploymentOption, warningLines } from '../succession/words.ts';
import { cross, printable, type Style, tick } from '../terminal.ts';
import { expectedSets, PCR_OPTIONS, UNSAFE_OPTIONS, unsafeOptions } from '../trust-options.ts';

const { 'unsafe-trusted-root': unsafeRoot, root } = UNSAFE_OPTIONS;
const SHOWN = 20;

export const migrateVerify: Command = {
  name: 'migrate verify',
  summary: 'Compare a list of v2 rows with a host’s database: wallets, salts, execution keys, certificates.',
  details: [
    'For the machine of the host, while it runs or not: it works on a copy. Each wallet has to be there under its',
    'owner, with a salt and an execution key that no other wallet has, and with a certificate by a boot that is',
    'attested (replayed: judged at its own time). The static salt of v2 must be nowhere in the database.',
  ],
  options: {
    ...ROWS_OPTIONS,
    database: { value: '<file>', help: 'the host’s SQLite database', required: true },
    scratch: { value: '<folder>', help: 'where there is room for a copy of it; default: $TMPDIR or /tmp' },
    deployment: DEPLOYMENT,
    ...PCR_OPTIONS,
    'unsafe-trusted-root': unsafeRoot,
    root,
  },
  run: async (args, { stderr }) => {
    const { rows, faults: malformed, v2 } = await readRowInputs(args);
    requireFaultless(malformed);
    const { warnings, unsafeTrustedRootDer } = await unsafeOptions(args);
    const trust = { pcrSets: expectedSets(args), ...(unsafeTrustedRootDer && { unsafeTrustedRootDer }) };
    const deployment = deploymentOption(args);
    const amounts = (done: number, total: number): string => `${countText(done)} of ${countText(total)} wallets`;
    const bar = progressBar(stderr, 'Comparing', { amounts });
    const { faults, found } = await withDatabaseCopy(
      args.text('database'),
      args.optional('scratch') ?? tmpdir(),
      async (copy) => ({
        faults: await verifyWallets({
          copy,
          rows: rows.map(({ row }) => row),
          deployment,
          trust,
          onProgress: bar.update,
        }),
        found: await saltOccurs(copy, v2.parameters.salt),
      }),
    ).finally(bar.clear);
    const holds = faults.length === 0 && found !== true && rows.length > 0;
    return {
      exit: holds ? 'ok' : 'failed',
      json: { wallets: rows.length, faults, staticSalt: saltText(found), warnings },
      text: (style) => [
        ...warningLines(warnings, style),
        `${holds ? tick(style) : cross(style)} ${countText(rows.length - faults.length)} of ${countText(rows.length)} wallets are there, each with a salt, an execution key and a certificate of its own.`,
        ...faultLines(faults, style),
        found === true
          ? style('red', '  The static salt of v2 is in the database.')
          : style('dim', `  The static salt of v2: ${saltText(found)}.`),
      ],
    };
  },
};

const saltText = (found: boolean | undefined): string =>
  found === undefined ? 'too short to be looked for' : found ? 'found' : 'nowhere in the database';

function faultLines(faults: readonly WalletFault[], style: Style): readonly string[] {
  const lines = faults.slice(0, SHOWN).map(({ id, wallet, code, path, value }) => {
    const facts = [path, value].filter((fact) => fact !== undefined).map(printable);
    return style(
      'red',
      `  row ${printable(id)}, ${wallet}: ${code}${facts.length === 0 ? '' : ` (${facts.join(': ')})`}`,
    );
  });
  return faults.length > SHOWN ? [...lines, `  … and ${faults.length - SHOWN} more; --json lists all`] : lines;
}

/** qv status */
import type { AdminStatus } from '../../admin-protocol.ts';
import { adminCall } from '../admin-client.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Command } from '../command.ts';
import { cross, printable, printableTable, type Style, tick } from '../terminal.ts';

export const status: Command = {
  name: 'status',
  summary: 'Show what the running host says of itself, its enclave and its database.',
  details: [
    'This is the host’s word and proves nothing: qv has verified none of it.',
    'Exits 0 when the deployment can sign, 1 when something keeps it from signing, a freeze included.',
  ],
  options: { admin: ADMIN_OPTION },
  run: async (args) => {
    const found = await adminCall(adminSocket(args), 'status', {});
    const problems = problemsOf(found);
    return {
      exit: problems.length === 0 ? 'ok' : 'failed',
      json: { signing: problems.length === 0, problems, status: found },
      text: (style) => render(found, problems, style),
    };
  },
};

/** What keeps the deployment from signing. */
function problemsOf({ enclave, rowKey, store, freeze, draining }: AdminStatus): readonly string[] {
  return [
    ...(enclave === null ? ['enclave does not answer'] : []),
    ...(enclave !== null && enclave.phase !== 'serving' ? [`enclave is ${enclave.phase}`] : []),
    ...(rowKey ? [] : ['no row key: qv init row-key']),
    ...(store ? [] : ['database does not answer']),
    ...(freeze === null ? [] : ['frozen']),
    ...(draining ? ['host is draining'] : []),
  ];
}

function render(found: AdminStatus, problems: readonly string[], style: Style): readonly string[] {
  const { deployment, enclave, freeze, backlog } = found;
  const rows: (readonly [string, string])[] = [['Deployment', deployment]];
  if (enclave !== null) {
    rows.push(
      ['Enclave', `${enclave.phase}, version ${enclave.version}, ${enclave.wallets} wallets, ${enclave.leaves} leaves`],
      ['Boot', enclave.boot ?? 'not born yet'],
      ['Trusted time', enclave.time ?? 'none'],
      ['Configuration', enclave.configHash],
      ['KMS key', enclave.kmsKeyArn],
    );
  }
  rows.push(['Database', `${found.store ? 'answers' : 'does not answer'}, ${backlog} decisions not stored yet`]);
  if (freeze !== null) rows.push(['Frozen', `since ${freeze.at}: ${freeze.reason}`]);
  const verdict =
    problems.length === 0
      ? `${tick(style)} The deployment can sign.`
      : `${cross(style)} The deployment does not sign: ${problems.map(printable).join('; ')}.`;
  return [verdict, ...printableTable(rows, style), style('dim', 'The host says so; nothing of it is verified.')];
}

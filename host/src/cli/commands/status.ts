/** qv status */
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { FLEET } from '@quantumvault/shared/evidence/freeze-scope.ts';
import type { AdminStatus, EnclaveFreeze, HostFreeze } from '../../admin-protocol.ts';
import { adminCall } from '../admin-client.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Command } from '../command.ts';
import { cross, printable, printableTable, type Style, tick } from '../terminal.ts';

export const status: Command = {
  name: 'status',
  summary: 'Show what the running host says of itself, its enclave and its database.',
  details: [
    'This is the host’s word and proves nothing: qv has verified none of it.',
    'Exits 0 when the deployment can sign, 1 when something keeps it from signing, a freeze of the fleet included.',
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
function problemsOf({
  enclave,
  credentials,
  rowKey,
  rowKeyFault,
  store,
  freezes,
  draining,
}: AdminStatus): readonly string[] {
  return [
    ...(enclave === null ? ['enclave does not answer'] : []),
    ...(enclave !== null && enclave.phase !== 'serving' ? [`enclave is ${enclave.phase}`] : []),
    ...(credentials.state === 'valid' ? [] : [`credentials of the instance role are ${credentials.state}`]),
    ...(rowKey ? [] : [rowKeyProblem(rowKeyFault)]),
    ...(store ? [] : ['database does not answer']),
    // One wallet or requester that is stopped keeps nobody else from signing.
    ...(freezes.some(({ scope }) => scope === FLEET) ? ['frozen'] : []),
    ...(draining ? ['host is draining'] : []),
  ];
}

function rowKeyProblem(fault: AdminStatus['rowKeyFault']): string {
  if (fault === null || fault === 'not_initialised') return 'no row key: qv init row-key';
  return `no row key: ${ERRORS[fault].meaning}`;
}

function render(found: AdminStatus, problems: readonly string[], style: Style): readonly string[] {
  const { deployment, enclave, freezes, freezeCount, backlog } = found;
  const rows: (readonly [string, string])[] = [['Deployment', deployment]];
  if (enclave !== null) {
    rows.push(
      [
        'Enclave',
        `${enclave.phase}, version ${enclave.version}; wallets: ${enclave.wallets}, leaves: ${enclave.leaves}`,
      ],
      ['Boot', `${enclave.boot ?? 'not born yet'}${enclave.bornAt === null ? '' : `, born ${enclave.bornAt}`}`],
      ['Trusted time', enclave.time ?? 'none'],
      ['Configuration', enclave.configHash],
      ['KMS key', enclave.kmsKeyArn],
    );
    const without = found.walletsWithoutSecond ?? 0;
    if (without > 0 && enclave.kmsKeys.some(({ use }) => use === 'second'))
      rows.push(['Second sealing', `missing for ${without} of the wallets`]);
    for (const { keyArn, use, avoided } of enclave.kmsKeys) {
      if (use !== 'current' || avoided) rows.push([`KMS, ${use}`, avoided ? `${keyArn}, does not answer` : keyArn]);
    }
  }
  rows.push(['Credentials', credentialsText(found.credentials)]);
  if (found.rowKeyState === 'replacing') rows.push(['Row key', 'being replaced']);
  if (found.rowKeyState === 'edited') rows.push(['Row key', 'replacement held up: qv rotate row-key --status']);
  rows.push(['Database', `${found.store ? 'answers' : 'does not answer'}, ${backlog} decisions not stored yet`]);
  for (const freeze of freezes) rows.push(['Frozen', frozenText(freeze, enclave?.boot ?? null)]);
  if (freezeCount > freezes.length) rows.push(['Frozen', `and ${freezeCount - freezes.length} more`]);
  for (const { scope, freezeId } of enclaveOnly(found))
    rows.push(['Frozen', `${scope}, in the enclave as ${freezeId}; the host does not hold this one`]);
  const verdict =
    problems.length === 0
      ? `${tick(style)} The deployment can sign.`
      : `${cross(style)} The deployment does not sign: ${problems.map(printable).join('; ')}.`;
  return [verdict, ...printableTable(rows, style), style('dim', 'The host says so; nothing of it is verified.')];
}

function credentialsText({ state, expiresAt, fault }: AdminStatus['credentials']): string {
  const until = expiresAt === null ? '' : `, until ${expiresAt}`;
  return `${state}${until}${fault === null ? '' : `; newer ones cannot be had: ${ERRORS[fault].meaning}`}`;
}

/** `since` is when it was first ordered; the id is what a resume has to name. */
function frozenText({ scope, reason, at, boot, freezeId }: HostFreeze, running: string | null): string {
  const known =
    freezeId === null
      ? 'no enclave has acknowledged it yet'
      : boot === running
        ? `freeze ${freezeId}`
        : `freeze ${freezeId} of the earlier boot ${boot}`;
  return `${scope} since ${at}: ${reason} (${known})`;
}

/** Another boot's freezes of a wallet that was handed over, or what somebody ordered past the host just now. */
function enclaveOnly({ enclave, freezes }: AdminStatus): readonly EnclaveFreeze[] {
  const known = new Set(freezes.map(({ freezeId }) => freezeId));
  return (enclave?.freezes?.held ?? []).filter(({ freezeId }) => !known.has(freezeId));
}

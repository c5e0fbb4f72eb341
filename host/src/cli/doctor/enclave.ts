/** The enclave, asked past the host: does it answer, is it ours, what does it do; and what reaches it. */
import { codeOf } from '@quantumvault/shared/errors.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { formatTransportAddress } from '@quantumvault/shared/transport.ts';
import { type Answer, type Facts, hostStatus } from './facts.ts';
import { type Finding, failed, ok, reasonOf, skipped, warning } from './finding.ts';

export function checkAddon({ config, data, control }: Facts): Finding {
  if (config.enclave.data.kind === 'unix') return skipped('addon', 'no address is vsock: none is needed');
  const missing = [data, control].find((answer) => 'error' in answer && codeOf(answer.error) === 'native_missing');
  if (missing === undefined) return ok('addon', 'it is built, and loads');
  return failed('addon', reasonOf((missing as { error: unknown }).error), 'npm run build:native', 'native_missing');
}

const START =
  'Is it running? nitro-cli describe-enclaves; systemctl status qv-enclave@a. Started anew it is another boot, without wallets: see the runbook.';
const DAY_MILLISECONDS = 86_400_000;
const PORT = 'The other address answers: is this one the enclave’s, and of the same enclave?';

export function checkEnclave(facts: Facts): readonly Finding[] {
  const { config, data, control } = facts;
  const unreached = (['data', 'control'] as const).flatMap((name) => dead(name, facts));
  const status = 'value' in control ? control.value : 'value' in data ? data.value : undefined;
  if (status === undefined) return unreached;
  const findings: Finding[] = [...unreached];
  if (status.deployment !== config.deployment)
    findings.push(
      failed(
        'enclave',
        `it is of deployment ${status.deployment}, the configuration of ${config.deployment}`,
        'Correct deployment or the enclave’s addresses: what one signs the other refuses.',
      ),
    );
  if ('value' in data && 'value' in control && data.value.boot !== control.value.boot)
    findings.push(
      failed(
        'enclave',
        `data is boot ${data.value.boot}, control is boot ${control.value.boot}`,
        'Both addresses have to be of one enclave: a freeze would stop the other one.',
      ),
    );
  const said = hostStatus(facts)?.enclave;
  if (said === null)
    findings.push(
      failed(
        'enclave',
        'it answers qv, but not the host',
        'Read the host’s log; restart the host.',
        'enclave_unavailable',
      ),
    );
  else if (said !== undefined && said.boot !== null && status.boot !== undefined && said.boot !== status.boot)
    findings.push(
      failed(
        'enclave',
        `the host speaks of boot ${said.boot}, which is another`,
        'Is the host’s configuration this file? Restart it.',
      ),
    );
  findings.push(phase(status, bootAge(said?.boot === status.boot ? said?.bornAt : undefined)));
  return findings;
}

function dead(name: 'data' | 'control', facts: Facts): readonly Finding[] {
  const answer: Answer<unknown> = facts[name];
  if ('value' in answer) return [];
  const code = codeOf(answer.error);
  const where = `${name} ${formatTransportAddress(facts.config.enclave[name])}`;
  if (code === 'native_missing') return [skipped('enclave', `${where}: not without the addon`)];
  const other = facts[name === 'data' ? 'control' : 'data'];
  return [failed('enclave', `${where}: ${reasonOf(answer.error)}`, 'value' in other ? PORT : START, code)];
}

/** In whole days, for those who replace boot keys on schedule: as its host says. */
function bootAge(bornAt: string | null | undefined): string {
  const born = Date.parse(bornAt ?? '');
  return Number.isNaN(born)
    ? ''
    : `, its key ${Math.max(0, Math.floor((Date.now() - born) / DAY_MILLISECONDS))} days old`;
}

function phase({ phase: now, boot, version, wallets, configHash }: ReplyOf<'status'>, age: string): Finding {
  const who = `boot ${boot ?? 'not born yet'}${age}, version ${version}, wallets: ${wallets}, configuration ${Buffer.from(configHash).toString('hex')}`;
  if (now === 'serving') return ok('enclave', `serving: ${who}`);
  // The freeze itself is another check's.
  if (now === 'frozen') return ok('enclave', `frozen: ${who}`);
  if (now === 'booting')
    return warning('enclave', `still booting: ${who}`, 'Wait some seconds; if it stays, read the enclave’s console.');
  return failed(
    'enclave',
    `ready, and without credentials: ${who}`,
    'See credentials: the host hands them over.',
    'enclave_not_ready',
  );
}

/** What is frozen, and orders to freeze that still lie on disk. */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { FLEET } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { enclaveStatus, type Facts, hostStatus } from './facts.ts';
import { type Finding, failed, ok, skipped, systemCodeOf, warning } from './finding.ts';

const RESUME = 'qv status names the freeze; ending it takes signatures: qv resume statement.';

export function checkFreezes(facts: Facts): readonly Finding[] {
  return [...held(facts), ...orders(facts)];
}

function held(facts: Facts): readonly Finding[] {
  const status = hostStatus(facts);
  const phase = enclaveStatus(facts)?.phase;
  const fleet = status?.freezes.find(({ scope }) => scope === FLEET);
  if (fleet !== undefined)
    return [failed('freezes', `the fleet is frozen since ${fleet.at}: ${fleet.reason}`, RESUME, 'frozen')];
  if (phase === 'frozen') {
    const found = `the enclave is frozen${status === undefined ? '' : ', and the host does not hold that freeze'}`;
    return [failed('freezes', found, RESUME, 'frozen')];
  }
  if (status === undefined)
    return [
      skipped(
        'freezes',
        phase === undefined ? 'neither host nor enclave says' : 'the fleet is not; of wallets the host would know',
      ),
    ];
  if (status.freezeCount > 0)
    return [warning('freezes', `frozen wallets and requesters: ${status.freezeCount}`, RESUME)];
  return [ok('freezes', 'nothing is frozen')];
}

function orders({ config: { freezeMarkers }, said, machine }: Facts): readonly Finding[] {
  let names: readonly string[];
  try {
    names = readdirSync(freezeMarkers);
  } catch (error) {
    const code = systemCodeOf(error);
    return code === 'ENOENT' ? [] : [skipped('freezes', `${freezeMarkers}: ${code}`)];
  }
  if (names.length === 0) return [];
  if ('error' in said)
    return [
      warning(
        'freezes',
        `orders on disk that take effect when the host starts: ${names.length}`,
        `Start the host, and then: ${RESUME}`,
      ),
    ];
  const old = names.filter(
    (name) => age(join(freezeMarkers, name), machine.nowMs()) > LIMITS.freezeMarkerWriteMilliseconds,
  );
  if (old.length === 0) return [];
  // It holds them in memory; the files go when the database has them.
  const fix = 'Is freezeMarkers the running host’s, and does its database take writes?';
  return [failed('freezes', `orders on disk that the running host does not take: ${old.length}`, fix)];
}

function age(path: string, nowMs: number): number {
  try {
    return nowMs - lstatSync(path).mtimeMs;
  } catch {
    // Taken meanwhile.
    return 0;
  }
}

/** The host's clock against the enclave's trusted time, which no host can set. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { enclaveStatus, type Facts } from './facts.ts';
import { type Finding, failed, ok, skipped, warning } from './finding.ts';

/** Trusted time comes from samples, and the answer takes its way. */
const TOLERATED_MILLISECONDS = 3_000;
const FIX = 'Synchronise it: chronyc tracking; Amazon’s time service is 169.254.169.123.';

export async function checkClock(facts: Facts): Promise<readonly Finding[]> {
  const isSynchronised = await facts.machine.isClockSynchronised();
  return [against(facts), ...trusted(facts), ntp(isSynchronised)];
}

function against(facts: Facts): Finding {
  const time = enclaveStatus(facts)?.time;
  if (time === undefined) return skipped('clock', 'no trusted time to compare with: see enclave');
  const ahead = facts.machine.nowMs() - time;
  const seconds = `${(Math.abs(ahead) / 1000).toFixed(1)} s ${ahead < 0 ? 'behind' : 'ahead of'} the enclave’s trusted time`;
  if (Math.abs(ahead) <= TOLERATED_MILLISECONDS) return ok('clock', `this machine’s is ${seconds}`);
  // From there on fresh documents look like old ones or future ones, and honest requests like stale ones.
  if (Math.abs(ahead) <= 1_000 * LIMITS.attestationMaxFutureSeconds)
    return warning('clock', `this machine’s is ${seconds}`, FIX);
  return failed('clock', `this machine’s is ${seconds}`, FIX);
}

function trusted(facts: Facts): readonly Finding[] {
  const status = enclaveStatus(facts);
  const { timeAgeSeconds: age, phase, time } = status ?? {};
  const fix = 'The enclave’s security module does not answer: restart the enclave.';
  if (status !== undefined && phase !== 'booting' && time === undefined)
    return [failed('clock', 'the enclave has no trusted time, and signs nothing', fix, 'time_untrusted')];
  if (age === undefined || age <= LIMITS.trustedTimeMaxAgeSeconds) return [];
  const found = `the enclave’s last sample is ${age} s old; beyond ${LIMITS.trustedTimeMaxAgeSeconds} it signs nothing`;
  return [failed('clock', found, fix, 'time_untrusted')];
}

function ntp(isSynchronised: boolean | undefined): Finding {
  if (isSynchronised === undefined)
    return skipped('clock', 'nobody here says whether it is synchronised (timedatectl)');
  if (isSynchronised) return ok('clock', 'the kernel says that it is synchronised');
  return warning('clock', 'the kernel says that it is not synchronised', FIX);
}

/** Whether enough witnesses can be reached for a signature to leave the enclave. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { WitnessEndpoint } from '../../witness/client.ts';
import { enclaveStatus, type Facts } from './facts.ts';
import { type Finding, failed, networkFaultOf, ok, skipped, warning } from './finding.ts';

export async function checkWitnesses(facts: Facts): Promise<readonly Finding[]> {
  const { witnesses } = facts.config;
  const threshold = enclaveStatus(facts)?.witnessThreshold;
  if (witnesses.length === 0) {
    if (threshold === undefined || threshold === 0) return [skipped('witnesses', 'none are configured')];
    const fix = 'Name the measured witnesses in the configuration: witnesses.';
    return [
      failed(
        'witnesses',
        `the enclave requires ${threshold}, the configuration names none`,
        fix,
        'witnesses_unavailable',
      ),
    ];
  }
  const asked = await Promise.all(witnesses.map(async (witness) => ({ witness, fault: await faultOf(witness) })));
  const reached = asked.filter(({ fault }) => fault === undefined).length;
  const required = threshold === undefined ? '' : `; the enclave requires ${threshold}`;
  const silent = asked.map(({ witness, fault }) =>
    fault === undefined
      ? undefined
      : warning(
          'witnesses',
          `${witness.key.name} at ${witness.url.href}: ${fault}`,
          'Tell who runs it, or correct its url.',
        ),
  );
  const count = `${reached} of ${witnesses.length} answer${required}`;
  const verdict =
    threshold !== undefined && reached < threshold
      ? failed(
          'witnesses',
          count,
          'No signature leaves the enclave until enough of them answer again.',
          'witnesses_unavailable',
        )
      : ok('witnesses', count);
  return [...silent.filter((finding) => finding !== undefined), verdict];
}

/** Any answer will do: what a witness's word is worth shows when it cosigns. */
async function faultOf({ url }: WitnessEndpoint): Promise<string | undefined> {
  try {
    const response = await fetch(url, {
      redirect: 'manual',
      signal: AbortSignal.timeout(LIMITS.witnessTimeoutMilliseconds),
    });
    await response.body?.cancel();
    return response.status >= 500 ? `HTTP ${response.status}` : undefined;
  } catch (error) {
    return networkFaultOf(error);
  }
}

/** The enclave as it last told, at most some seconds ago: nothing here asks it. */
import type { KmsKeyState } from '@quantumvault/shared/protocol/message-parts.ts';
import { PHASES } from '@quantumvault/shared/protocol/messages.ts';
import { Counter, Gauge, type Registry } from 'prom-client';
import { absoluteCounter, flag, gauge, gaugeBy } from './collected.ts';
import type { HostMetrics } from './metrics.ts';
import type { StateDeps } from './state.ts';

const PHASE_LABELS = [...PHASES, 'unreachable'] as const;

export function collectEnclave({ registry }: Pick<HostMetrics, 'registry'>, deps: StateDeps): void {
  const { session, enclave, publisher, now } = deps;
  gauge(registry, 'qv_enclave_up', '1 when the enclave answers and may sign.', () => flag(session.serving));
  gaugeBy(registry, 'qv_enclave_phase', '1 at the phase it is in.', 'phase', PHASE_LABELS, (phase) =>
    flag(phase === (session.status?.phase ?? 'unreachable')),
  );
  new Gauge({
    name: 'qv_enclave_info',
    help: 'Always 1: the boot that answers, and its version. Another boot is another start of the enclave.',
    labelNames: ['boot', 'version'],
    registers: [registry],
    collect() {
      this.reset();
      const { boot, version } = session.status ?? {};
      if (boot !== undefined && version !== undefined) this.set({ boot, version }, 1);
    },
  });
  gauge(
    registry,
    'qv_enclave_boot_timestamp_seconds',
    'When the present boot key was born, by trusted time, since 1970. NaN while no boot is known.',
    () => (session.bornAt ?? Number.NaN) / 1000,
  );
  const age = 'NaN while the enclave does not say.';
  gauge(
    registry,
    'qv_enclave_attestation_age_seconds',
    `Age of the attestation document that the next call of KMS shows, which takes none older than 300. ${age}`,
    () => session.status?.attestationAgeSeconds ?? Number.NaN,
  );
  gauge(
    registry,
    'qv_enclave_time_age_seconds',
    `Age of the last sample of trusted time; beyond 60 nothing is signed. ${age}`,
    () => session.status?.timeAgeSeconds ?? Number.NaN,
  );
  gauge(
    registry,
    'qv_enclave_clock_offset_seconds',
    `The host's clock less the enclave's trusted time, to a second or two. ${age}`,
    () => (session.status?.time === undefined ? Number.NaN : (now() - session.status.time) / 1000),
  );
  gauge(registry, 'qv_enclave_wallets', 'Wallets that this boot holds.', () => session.status?.wallets ?? 0);
  absoluteCounter(
    registry,
    'qv_enclave_connections_total',
    'Connections made to the enclave.',
    () => enclave.connection,
  );

  // While it does not answer the last word stands: zero would look like a restart.
  let [calls, failures, leaves] = [0n, 0n, 0n];
  absoluteCounter(registry, 'qv_kms_calls_total', "Calls of KMS by the enclave's present boot.", () => {
    calls = session.status?.kmsCalls ?? calls;
    return calls;
  });
  absoluteCounter(registry, 'qv_kms_failures_total', 'Those that ended without a usable answer.', () => {
    failures = session.status?.kmsFailures ?? failures;
    return failures;
  });
  collectKeys(registry, () => session.status?.kmsKeys);
  absoluteCounter(registry, 'qv_log_leaves_total', "Decisions in the log of the enclave's present boot.", () => {
    leaves = session.status?.leaves ?? leaves;
    return leaves;
  });
  // Of another boot nothing is known here yet.
  const published = (): bigint =>
    publisher.published?.boot === session.status?.boot ? (publisher.published?.size ?? 0n) : 0n;
  gauge(registry, 'qv_log_published_leaves', 'Of these, what the published checkpoint covers.', () =>
    Number(published()),
  );
  gauge(registry, 'qv_log_unpublished_leaves', 'Of these, the others.', () => Number(leaves - published()));
}

/** One series for each key that is measured into the image. */
function collectKeys(registry: Registry, told: () => readonly KmsKeyState[] | undefined): void {
  let keys: readonly KmsKeyState[] = [];
  const labelNames = ['key', 'use'];
  const counted = (name: string, help: string, value: (key: KmsKeyState) => bigint): Counter =>
    new Counter({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        keys = told() ?? keys;
        for (const key of keys) this.inc({ key: key.keyArn, use: key.use }, Number(value(key)));
      },
    });
  counted('qv_kms_key_calls_total', 'Calls of KMS that named this key.', ({ calls }) => calls);
  counted('qv_kms_key_failures_total', 'Those without a usable answer.', ({ failures }) => failures);
  new Gauge({
    name: 'qv_kms_key_avoided',
    help: '1 while the key is asked last, because it did not answer.',
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      keys = told() ?? keys;
      for (const key of keys) this.set({ key: key.keyArn, use: key.use }, flag(key.isAvoided));
    },
  });
}

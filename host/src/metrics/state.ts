/**
 * What is as it is at the moment of a scrape: the enclave, freezes, credentials, what waits for the database. Of all
 * these only the database is asked, for no longer than a second.
 */
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { Gauge, type Registry } from 'prom-client';
import { type CredentialsSource, stateOfCredentials } from '../credentials.ts';
import type { EnclaveClient } from '../enclave/client.ts';
import type { EnclaveSession } from '../enclave/session.ts';
import type { LogPublisher } from '../evidence/publisher.ts';
import type { Freezes } from '../freeze.ts';
import type { Records } from '../records.ts';
import type { RowKeyRotation } from '../rotation/row-key.ts';
import type { Store } from '../store/store.ts';
import { within } from '../within.ts';
import { absoluteCounter, flag, gauge, gaugeBy } from './collected.ts';
import { collectEnclave } from './enclave-state.ts';
import type { HostMetrics } from './metrics.ts';

export interface StateDeps {
  readonly deployment: string;
  readonly store: Pick<Store, 'ping' | 'countWithoutSecond'>;
  readonly enclave: Pick<EnclaveClient, 'connection'>;
  readonly session: Pick<EnclaveSession, 'status' | 'serving' | 'hasRowKey' | 'bornAt'>;
  readonly freezes: Pick<Freezes, 'held'>;
  readonly records: Pick<Records, 'backlog' | 'statesWaiting'>;
  readonly rotation: Pick<RowKeyRotation, 'report'>;
  readonly publisher: Pick<LogPublisher, 'published'>;
  readonly credentials: CredentialsSource;
  readonly now: () => TimeMs;
  readonly draining: () => boolean;
}

const FREEZE_SCOPES = ['fleet', 'wallet', 'requester'] as const;
const PING_MILLISECONDS = 1_000;

/** Adds them; each scrape from then on asks `deps`. Once per HostMetrics. */
export function collectState(metrics: Pick<HostMetrics, 'registry'>, deps: StateDeps): void {
  const { registry } = metrics;
  const { session, freezes, records, credentials, now } = deps;
  const info = { name: 'qv_host_info', help: 'Always 1.', labelNames: ['deployment'], registers: [registry] };
  new Gauge(info).set({ deployment: deps.deployment }, 1);
  gauge(registry, 'qv_draining', '1 from the moment the host was told to stop.', () => flag(deps.draining()));
  gauge(registry, 'qv_row_key', '1 when the host has the key that rows are checked with.', () =>
    flag(session.hasRowKey),
  );
  collectRowKey(registry, deps.rotation);
  collectEnclave(metrics, deps);

  gaugeBy(registry, 'qv_freezes', 'Freezes that the host holds, by what they freeze.', 'scope', FREEZE_SCOPES, (kind) =>
    freezes.held.reduce((count, { scope }) => count + flag(scope === kind || scope.startsWith(`${kind}:`)), 0),
  );

  gauge(registry, 'qv_credentials_valid', '1 while there are credentials for the enclave that have not expired.', () =>
    flag(stateOfCredentials(credentials, session.status?.time ?? now()) === 'valid'),
  );
  gauge(registry, 'qv_credentials_fault', '1 when the last look for newer credentials failed.', () =>
    flag(credentials.fault !== undefined),
  );
  gauge(
    registry,
    'qv_credentials_expiry_timestamp_seconds',
    'When they expire, since 1970. NaN when there are none, or they name no time.',
    () => (credentials.current?.body.expiresAt ?? Number.NaN) / 1000,
  );
  absoluteCounter(
    registry,
    'qv_credentials_refreshes_total',
    'New credentials, the first ones too.',
    () => credentials.current?.version ?? 0,
  );

  gauge(registry, 'qv_store_up', '1 when the database answered a read within a second.', () =>
    within(PING_MILLISECONDS, deps.store.ping()).then(
      () => 1,
      () => 0,
    ),
  );
  gauge(
    registry,
    'qv_wallets_without_second_sealing',
    'Wallets, other than retired ones, that no second KMS key opens. NaN when the database did not answer.',
    () => within(PING_MILLISECONDS, deps.store.countWithoutSecond()).catch(() => Number.NaN),
  );
  gauge(registry, 'qv_store_backlog', 'Decisions that the database has not taken yet.', () => records.backlog);
  gauge(registry, 'qv_store_backlog_limit', 'At so many, nothing more is decided.', () => LIMITS.storeBacklog);
  gauge(
    registry,
    'qv_store_states_waiting',
    'Sealed states that the database has not taken yet.',
    () => records.statesWaiting,
  );
}

function collectRowKey(registry: Registry, rotation: StateDeps['rotation']): void {
  gauge(registry, 'qv_row_key_replacing', '1 while another row key takes the place of this one.', () =>
    flag(rotation.report.replaces !== null),
  );
  gauge(
    registry,
    'qv_row_key_fault',
    '1 while this host cannot follow what the database says of the row key, or go on replacing it.',
    () => flag(rotation.report.fault !== null),
  );
  gauge(
    registry,
    'qv_row_key_edited',
    'Wallets whose row fits neither key, while the row key is being replaced: they hold it up.',
    () => rotation.report.editedCount,
  );
  absoluteCounter(
    registry,
    'qv_row_key_resealed_total',
    'Records that this host has put under the next row key, of the present or last replacement.',
    () => rotation.report.resealed,
  );
  gauge(
    registry,
    'qv_row_key_since_timestamp_seconds',
    'Since when all is written under this row key, since 1970. NaN for a deployment’s first one.',
    () => (rotation.report.since === null ? Number.NaN : Date.parse(rotation.report.since) / 1000),
  );
}

/** What commands of the admin socket work with. */
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import type { CredentialsSource } from '../credentials.ts';
import type { EnclaveClient } from '../enclave/client.ts';
import type { EnclaveSession } from '../enclave/session.ts';
import type { LogPublisher } from '../evidence/publisher.ts';
import type { Freezes } from '../freeze.ts';
import type { Log } from '../log.ts';
import type { HostMetrics } from '../metrics/metrics.ts';
import type { Records } from '../records.ts';
import type { RowKeyRotation } from '../rotation/row-key.ts';
import type { WalletKeys } from '../rotation/wallet-keys.ts';
import type { Store } from '../store/store.ts';

export interface AdminDeps {
  readonly deployment: string;
  readonly store: Store;
  readonly enclave: EnclaveClient;
  readonly session: EnclaveSession;
  readonly freezes: Freezes;
  readonly records: Records;
  readonly walletKeys: WalletKeys;
  readonly rotation: Pick<RowKeyRotation, 'begin' | 'leaveEdited' | 'report'>;
  readonly publisher: LogPublisher;
  readonly credentials: CredentialsSource;
  readonly metrics: Pick<HostMetrics, 'text'>;
  readonly log: Log;
  readonly now: () => TimeMs;
  readonly draining: () => boolean;
}

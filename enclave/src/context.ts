/** What the operations work with: one boot of one enclave. Wired once in boot.ts. */
import type { Attester } from './attester.ts';
import type { EnclaveConfig } from './config.ts';
import type { Freeze } from './freeze.ts';
import type { Holdings } from './holdings.ts';
import type { KeptKeys } from './kept-keys.ts';
import type { Kms } from './kms.ts';
import type { Log } from './log.ts';
import type { LegacyKeys } from './migration/legacy-keys.ts';
import type { Outbox } from './outbox.ts';
import type { Recipients } from './recipient.ts';
import type { TrustedTime } from './time.ts';
import type { Unwrapper } from './unwrap.ts';
import type { Vault } from './vault.ts';
import type { Witnesses } from './witnesses.ts';

export interface Context {
  readonly config: EnclaveConfig;
  readonly vault: Vault;
  readonly attester: Attester;
  readonly time: TrustedTime;
  readonly kms: Kms;
  readonly recipients: Recipients;
  readonly kept: KeptKeys;
  readonly unwrapper: Unwrapper;
  readonly holdings: Holdings;
  readonly log: Log;
  readonly freeze: Freeze;
  readonly witnesses: Witnesses;
  /** Where the measured configuration allows migration. */
  readonly legacy: LegacyKeys | undefined;
  /** What is on its way to the host, connection by connection. */
  readonly outboxes: Set<Outbox>;
}

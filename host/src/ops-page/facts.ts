/** What the status page says, gathered at once from what the host knows; only the database is asked. */
import { decodeAttestationDocument } from '@quantumvault/shared/attestation/document.ts';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { parseNote } from '@quantumvault/shared/tlog/note.ts';
import { type CredentialsSource, stateOfCredentials } from '../credentials.ts';
import type { EnclaveSession } from '../enclave/session.ts';
import type { LogPublisher } from '../evidence/publisher.ts';
import type { Freezes } from '../freeze.ts';
import type { Denial, Incidents } from '../incidents.ts';
import type { Records } from '../records.ts';
import type { FreezeRecord, Store } from '../store/store.ts';
import { within } from '../within.ts';
import type { Sample, Samples } from './samples.ts';

export interface OpsDeps {
  readonly deployment: string;
  readonly session: Pick<EnclaveSession, 'status' | 'serving' | 'requireBoot' | 'hasRowKey'>;
  readonly freezes: Pick<Freezes, 'held'>;
  readonly records: Pick<Records, 'backlog'>;
  readonly publisher: Pick<LogPublisher, 'published'>;
  readonly credentials: CredentialsSource;
  readonly incidents: Pick<Incidents, 'denials'>;
  readonly store: Pick<Store, 'ping'>;
  /** Names of the configured ones. */
  readonly witnesses: readonly string[];
  readonly now: () => TimeMs;
  readonly draining: () => boolean;
}

export interface OpsFacts {
  readonly deployment: string;
  readonly now: TimeMs;
  readonly isSigning: boolean;
  /** Why it is not signing, in the order in which to look. */
  readonly missing: readonly string[];
  readonly status: ReplyOf<'status'> | undefined;
  /** Of the boot's attestation document, unverified; empty when it cannot be read. */
  readonly pcrs: readonly (readonly [index: number, hex: string])[];
  readonly freezes: readonly FreezeRecord[];
  readonly freezeCount: number;
  readonly denials: readonly Denial[];
  readonly samples: readonly Sample[];
  readonly published: bigint | undefined;
  /** Whether each has cosigned what is published. */
  readonly witnesses: readonly (readonly [name: string, cosigned: boolean])[];
  readonly backlog: number;
  readonly credentials: string;
  readonly credentialsExpireAt: TimeMs | undefined;
}

/** PCRs that a build or an instance decides; the others are zero on Nitro. */
const PCRS = [0, 1, 2, 3, 4, 8];
const PING_MILLISECONDS = 1_000;

export async function gatherFacts(deps: OpsDeps, { all }: Pick<Samples, 'all'>): Promise<OpsFacts> {
  const { deployment, session, freezes, records, publisher, credentials, incidents, now } = deps;
  const storeAnswers = await within(PING_MILLISECONDS, deps.store.ping()).then(
    () => true,
    () => false,
  );
  const { status } = session;
  const state = stateOfCredentials(credentials, status?.time ?? now());
  const missing = [
    ...(deps.draining() ? ['the host is stopping'] : []),
    ...(status === undefined ? ['the enclave does not answer'] : []),
    ...(freezes.held.some(({ scope }) => scope === 'fleet') ? ['the fleet is frozen'] : []),
    ...(status !== undefined && !session.serving ? [`the enclave is ${status.phase}`] : []),
    ...(state === 'valid' ? [] : [`credentials are ${state}`]),
    ...(session.hasRowKey ? [] : ['the row key is missing']),
    ...(storeAnswers ? [] : ['the database does not answer']),
    ...(records.backlog >= LIMITS.storeBacklog ? ['too many decisions wait for the database'] : []),
  ];
  const published = publisher.published?.boot === status?.boot ? publisher.published : undefined;
  return {
    deployment,
    now: now(),
    isSigning: missing.length === 0,
    missing,
    status,
    pcrs: pcrsOf(session),
    freezes: freezes.held.slice(0, LIMITS.opsFreezes),
    freezeCount: freezes.held.length,
    denials: incidents.denials,
    samples: all,
    published: published?.size,
    witnesses: witnessesOf(deps.witnesses, published?.checkpoint),
    backlog: records.backlog,
    credentials: credentials.fault === undefined ? state : `${state}, newer ones: ${credentials.fault}`,
    credentialsExpireAt: credentials.current?.body.expiresAt,
  };
}

function pcrsOf(session: OpsDeps['session']): OpsFacts['pcrs'] {
  try {
    const { attestation } = decodeLeaf(session.requireBoot().record.leaf);
    if (attestation === undefined) return [];
    const { pcrs } = decodeAttestationDocument(attestation);
    return PCRS.flatMap((index) => {
      const pcr = pcrs.get(index);
      return pcr === undefined ? [] : [[index, toHex(pcr)] as const];
    });
  } catch {
    return [];
  }
}

function witnessesOf(names: readonly string[], checkpoint: Uint8Array | undefined): OpsFacts['witnesses'] {
  const cosigners = new Set(checkpoint === undefined ? [] : parseNote(checkpoint).signatures.map(({ name }) => name));
  return names.map((name) => [name, cosigners.has(name)] as const);
}

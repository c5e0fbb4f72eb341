/** How these tests ask the verifier. */

import type { Expectations } from '@quantumvault/shared/attestation/expectations.ts';
import type { PcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import { type AttestationReport, verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { codeOf, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { noteCode } from '../../support/codes-seen.ts';
import {
  changedPki,
  encodePayload,
  type Fields,
  fieldsOf,
  issueAll,
  measuredPcrs,
  namedKey,
  type PkiChange,
  signDocument,
} from './synthetic.ts';

export const REPLAY = { kind: 'replay' } as const;

export const ownSet = (pcrs: ReadonlyMap<number, Uint8Array>): readonly PcrSet[] => [{ name: 'own', pcrs }];

/** 'ok', or the code of the first failure. */
export async function outcome(bytes: Uint8Array, expected: Expectations): Promise<'ok' | ErrorCode> {
  const report = await verifyAttestation(bytes, expected);
  if (!report.ok) noteCode(report.failure.code);
  return report.ok ? 'ok' : report.failure.code;
}

export async function refusal(attempt: () => unknown): Promise<ErrorCode | 'none'> {
  try {
    await attempt();
    return 'none';
  } catch (error) {
    noteCode(codeOf(error));
    return codeOf(error);
  }
}

/** A synthetic document, and expectations that it meets before a test changes one thing. */
export interface Case {
  readonly bytes: Uint8Array;
  readonly expected: Expectations;
}

export async function syntheticCase(
  changes: { pki?: PkiChange; fields?: (fields: Fields) => void; encoding?: 'definite' | 'indefinite' } = {},
): Promise<Case> {
  const pki = await changedPki(changes.pki ?? (() => ({})));
  const chain = await issueAll(pki);
  const fields = await fieldsOf(chain);
  changes.fields?.(fields);
  return {
    bytes: await signDocument(encodePayload(fields, changes.encoding), await namedKey('leaf')),
    expected: {
      mode: REPLAY,
      pcrSets: ownSet(await measuredPcrs()),
      unsafeTrustedRootDer: chain.cabundle[0] ?? new Uint8Array(0),
    },
  };
}

export async function syntheticReport(changes: Parameters<typeof syntheticCase>[0]): Promise<AttestationReport> {
  const { bytes, expected } = await syntheticCase(changes);
  const report = await verifyAttestation(bytes, expected);
  if (!report.ok) noteCode(report.failure.code);
  return report;
}

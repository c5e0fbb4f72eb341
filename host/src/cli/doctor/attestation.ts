/** Whether the enclave behind this host is an allowed image, proven live; over HTTP, or past a dead host. */
import { codeOf } from '@quantumvault/shared/errors.ts';
import { verifyBootAttestation } from '@quantumvault/shared/evidence/verify.ts';
import { attest } from '../../client/attestation.ts';
import { verifyEd25519 } from '../../client/keys.ts';
import { hostConnection, TOKEN_VARIABLE } from '../host-connection.ts';
import { nextStep } from '../next-steps.ts';
import { askEnclave, enclaveStatus, type Facts } from './facts.ts';
import { type Finding, failed, ok, reasonOf, skipped } from './finding.ts';

export async function checkAttestation(facts: Facts): Promise<Finding> {
  const { options } = facts;
  if (options.pcrSets.length === 0)
    return skipped('attestation', 'give --pcrs: the measurements of the image that is to run');
  try {
    const { boot, image, way } = await proven(facts);
    const running = enclaveStatus(facts)?.boot;
    if (running !== undefined && running !== boot)
      return failed(
        'attestation',
        `the attested boot is ${boot}, the enclave asked past the host is ${running}`,
        'Does --url belong to this configuration?',
        'evidence_mismatch',
      );
    const root = options.unsafeTrustedRootDer === undefined ? '' : ', under the UNSAFE root that was given';
    return ok('attestation', `boot ${boot} is of the image in ${image}, live ${way}${root}`);
  } catch (error) {
    const code = codeOf(error);
    const fix = nextStep(code) ?? 'qv verify attestation <url> --pcrs <file> shows each step.';
    return failed('attestation', reasonOf(error), fix, code);
  }
}

interface Proof {
  readonly boot: string;
  readonly image: string;
  readonly way: string;
}

async function proven(facts: Facts): Promise<Proof> {
  const { options, url, machine } = facts;
  const { pcrSets, unsafeTrustedRootDer } = options;
  const trust = { pcrSets, ...(unsafeTrustedRootDer && { unsafeTrustedRootDer }) };
  // By its address the host's own certificate has another name; and the host may want a token.
  const isCallable = url !== undefined && (options.url !== undefined || url.startsWith('http:'));
  const isOpen = facts.config.publicLog || (process.env[TOKEN_VARIABLE] ?? '') !== '';
  if (isCallable && isOpen && 'value' in facts.said) {
    const connection = hostConnection(url, { attempts: 2, timeoutMilliseconds: 5_000 });
    const { boot, pcrSet } = await attest({ connection, trust, nowMs: machine.nowMs, verifyEd25519 });
    return { boot, image: pcrSet.name, way: 'over HTTP' };
  }
  const nonce = crypto.getRandomValues(new Uint8Array(32));
  const { document } = await askEnclave(machine, facts.config.enclave.data, 'attest', { nonce });
  const mode = { kind: 'live', nowMs: machine.nowMs(), nonce } as const;
  const running = enclaveStatus(facts)?.boot;
  const { boot, pcrSet } = await verifyBootAttestation(document, { ...trust, mode, ...(running && { boot: running }) });
  return { boot, image: pcrSet.name, way: 'past the host' };
}

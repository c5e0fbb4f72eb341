/** What a document says, field by field: the page's form of `qv inspect attestation`. */
import type {
  InspectedCertificate,
  InspectedField,
  InspectedPcr,
  InspectedUserData,
  Inspection,
} from '@quantumvault/shared/evidence/inspect.ts';
import { type Child, definitions, el, mono } from './dom.ts';

/** More than that is folded away. */
const LONG_BYTES = 128;

/** What a verified document proves, in short. */
export function identity({ moduleId, time, pcrs, attested }: Inspection): HTMLElement {
  return definitions([
    ['Enclave', mono(moduleId)],
    ['Made at', time],
    ['Image, PCR0', mono(pcrs.find(({ index }) => index === 0)?.hex ?? '')],
    ...(attested === undefined ? [] : attestedRows(attested)),
  ]);
}

export function contents(found: Inspection, open: boolean): HTMLElement {
  const box = el('details', '', el('summary', '', 'What the document says'));
  box.id = 'contents';
  box.open = open;
  box.append(
    el('p', 'hint', 'No verdict: these are the document’s own words, whether or not they are true.'),
    definitions([
      ['Module id', mono(found.moduleId)],
      ['Time', found.time],
      ['Digest', found.digest],
      ['Payload', `${found.payloadBytes} bytes, ${found.payloadEncoding} map`],
      ['Signature', mono(`${found.algorithm} ${found.signature}`)],
    ]),
    el('h3', '', 'Measurements'),
    definitions(measurementRows(found.pcrs)),
    el('h3', '', 'Optional fields'),
    definitions([
      ['public_key', fieldText(found.publicKey)],
      ['user_data', fieldText(found.userData)],
      ['nonce', fieldText(found.nonce)],
    ]),
    ...attested(found),
    ...found.certificates.flatMap(certificate),
  );
  return box;
}

/** Registers of zeros in one line: most of them are. */
function measurementRows(pcrs: readonly InspectedPcr[]): readonly (readonly [string, Child])[] {
  const zeros = pcrs.filter(({ zero }) => zero).map(({ index }) => `PCR${index}`);
  return [
    ...pcrs
      .filter(({ zero }) => !zero)
      .map(
        ({ index, name, hex }) => [`PCR${index}`, el('span', '', name === '' ? '' : `${name} `, mono(hex))] as const,
      ),
    ...(zeros.length === 0 ? [] : [['Zero', zeros.join(', ')] as const]),
  ];
}

function fieldText({ presence, bytes = 0, hex = '', text }: InspectedField): Child {
  if (presence !== 'present') return presence;
  if (bytes === 0) return 'empty: 0 bytes';
  const readable = text === undefined ? '' : ` (as text: ${text})`;
  const whole = el('span', '', mono(hex), readable);
  if (bytes <= LONG_BYTES) return el('span', '', `${bytes} bytes `, whole);
  return el('details', 'long', el('summary', '', `${bytes} bytes`), whole);
}

function attested({ attested: found }: Inspection): readonly HTMLElement[] {
  if (found === undefined) return [];
  return [el('h3', '', `user_data, as ${found.format}`), definitions(attestedRows(found))];
}

function attestedRows(found: InspectedUserData): readonly (readonly [string, Child])[] {
  return [
    ['Boot key', mono(found.bootKey)],
    ['Import key', found.importKey === undefined ? 'none' : mono(found.importKey)],
    ['Configuration', mono(`SHA-256 ${found.configHash}`)],
    ['Log', mono(found.logOrigin)],
    ['Version', found.version],
  ];
}

function certificate(found: InspectedCertificate, index: number, all: readonly unknown[]): readonly HTMLElement[] {
  const { ca, pathLength, keyUsage, criticalExtensions } = found;
  const role = ca === undefined ? 'does not say' : ca ? `yes, path length ${pathLength ?? 'unlimited'}` : 'no';
  return [
    el('h3', '', `Certificate ${index + 1} of ${all.length}: ${found.path}`),
    definitions([
      ['Subject', found.subject],
      ['Issuer', found.issuer],
      ['Serial', mono(found.serial)],
      ['Valid', `${found.notBefore} to ${found.notAfter} (${found.lifetime})`],
      ['CA', role],
      ['Key usage', keyUsage.join(', ') || 'does not say'],
      ['Critical', criticalExtensions.join(', ') || 'none'],
      ['SHA-256', el('span', '', mono(found.fingerprint), found.isAwsRoot ? ' the AWS Nitro Enclaves root G1' : '')],
    ]),
  ];
}

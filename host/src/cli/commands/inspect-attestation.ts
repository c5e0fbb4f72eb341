/** qv inspect attestation: what a document says, whether or not it is true. */
import {
  type InspectedCertificate,
  type InspectedField,
  type Inspection,
  inspectAttestation as inspect,
} from '@quantumvault/shared/evidence/inspect.ts';
import type { Command } from '../command.ts';
import { documentOperand, readDocumentFile } from '../document-input.ts';
import { printable, printableTable, type Style, table } from '../terminal.ts';

const NO_VERDICT =
  'Nothing here has been verified: it is what the document says. For a verdict: qv verify attestation.';
/** Shown of one field; --json has all of it. */
const SHOWN_BYTES = 64;

export const inspectAttestation: Command = {
  name: 'inspect attestation',
  summary: 'Show every field of a Nitro attestation document and its certificates. No verdict.',
  details: ['A file holds one document: raw COSE, base64 or hex. Exits 0, or 2 when it does not decode.'],
  operands: '<file>',
  options: {},
  run: async (args) => {
    const source = documentOperand(args);
    const { encoding, bytes } = readDocumentFile(source);
    const inspection = await inspect(bytes);
    return {
      exit: 'ok',
      json: { verdict: null, statement: NO_VERDICT, source, encoding, document: inspection },
      text: (style) => render(`${printable(source)} (${encoding}, ${bytes.length} bytes)`, inspection, style),
    };
  },
};

function render(title: string, found: Inspection, style: Style): readonly string[] {
  const heading = (text: string): readonly string[] => ['', style('bold', text)];
  return [
    `${style('bold', title)}`,
    style('yellow', NO_VERDICT),
    ...heading('Document'),
    ...printableTable(
      [
        ['Module id', found.moduleId],
        ['Time', `${found.time} (${found.timestampMs} ms)`],
        ['Digest', found.digest],
        ['Payload', `${found.payloadBytes} bytes, ${found.payloadEncoding} map`],
        ['Signature', `${found.algorithm} ${found.signature}`],
      ],
      style,
    ),
    ...heading('Measurements'),
    ...table(
      found.pcrs.map(({ index, name, hex, zero }) => [
        `PCR${index}`.padEnd(6),
        `${zero ? style('dim', 'zero') : hex}${name === '' ? '' : style('dim', `  ${name}`)}`,
      ]),
      style,
    ),
    ...heading('Optional fields'),
    ...printableTable(
      [
        ['public_key', fieldText(found.publicKey)],
        ['user_data', fieldText(found.userData)],
        ['nonce', fieldText(found.nonce)],
      ],
      style,
    ),
    ...attestedLines(found, heading, style),
    ...found.certificates.flatMap((certificate, index) => [
      ...heading(`Certificate ${index + 1} of ${found.certificates.length}: ${certificate.path}`),
      ...printableTable(certificateRows(certificate), style),
    ]),
  ];
}

function fieldText({ presence, bytes = 0, hex = '', text }: InspectedField): string {
  if (presence !== 'present') return presence;
  if (bytes === 0) return 'empty: 0 bytes';
  const shown = hex.length > 2 * SHOWN_BYTES ? `${hex.slice(0, 2 * SHOWN_BYTES)}… (--json shows all)` : hex;
  const readable = text === undefined ? '' : `, as text "${text.slice(0, SHOWN_BYTES)}"`;
  return `${bytes} bytes: ${shown}${readable}`;
}

function attestedLines(
  { attested }: Inspection,
  heading: (text: string) => readonly string[],
  style: Style,
): readonly string[] {
  if (attested === undefined) return [];
  const rows: [string, string][] = [
    ['Boot key', attested.bootKey],
    ['Import key', attested.importKey ?? 'none'],
    ['Configuration', `SHA-256 ${attested.configHash}`],
    ['Log', attested.logOrigin],
    ['Version', attested.version],
  ];
  return [...heading(`user_data, as ${attested.format}`), ...printableTable(rows, style)];
}

function certificateRows(certificate: InspectedCertificate): readonly (readonly [string, string])[] {
  const { ca, pathLength, keyUsage, criticalExtensions, fingerprint, isAwsRoot } = certificate;
  const role = ca === undefined ? 'does not say' : ca ? `yes, path length ${pathLength ?? 'unlimited'}` : 'no';
  return [
    ['Subject', certificate.subject],
    ['Issuer', certificate.issuer],
    ['Serial', certificate.serial],
    ['Valid', `${certificate.notBefore} to ${certificate.notAfter} (${certificate.lifetime})`],
    ['CA', role],
    ['Key usage', keyUsage.join(', ') || 'does not say'],
    ['Critical', criticalExtensions.join(', ') || 'none'],
    ['SHA-256', `${fingerprint}${isAwsRoot ? ' (the AWS Nitro Enclaves root G1)' : ''}`],
  ];
}

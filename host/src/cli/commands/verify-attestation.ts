/** qv verify attestation: the library's checklist, for people and machines. */
import { PROVES } from '@quantumvault/shared/attestation/checklist.ts';
import type { EncodedDocument } from '@quantumvault/shared/attestation/encodings.ts';
import type { LiveMode, ReplayMode } from '@quantumvault/shared/attestation/expectations.ts';
import { type AttestationReport, verifyAttestation as verify } from '@quantumvault/shared/attestation/verify.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type Inspection, inspectAttestation } from '@quantumvault/shared/evidence/inspect.ts';
import { requestAttestation } from '../../client/attestation.ts';
import { failureJson, notVerified, stepLines } from '../checklist.ts';
import type { Arguments, Command, Result } from '../command.ts';
import { documentOperand, readDocumentFile } from '../document-input.ts';
import { hostConnection } from '../host-connection.ts';
import { printable, printableTable, type Style, table, tick } from '../terminal.ts';
import { isUrl } from '../text-input.ts';
import { expectedSets, PCR_OPTIONS, UNSAFE_OPTIONS, unsafeOptions } from '../trust-options.ts';

export const verifyAttestation: Command = {
  name: 'verify attestation',
  summary: 'Prove which image made a Nitro attestation document, and under which root.',
  details: [
    'A file holds one document: raw COSE, base64 or hex. It is replayed, which means judged at its own time: that',
    'proves authenticity, not recency. For a URL, qv draws a nonce, asks the host for a document and judges it now.',
    'The PCRs have to match all of one expected set, so at least one --pcrs or --pcr0 is needed.',
    'Needs no network for a file. Exits 0 when every check passes, 1 when one fails, 2 when the input is unusable.',
  ],
  operands: '<file|url>',
  options: {
    ...PCR_OPTIONS,
    nonce: { value: '<hex>', help: 'the document must carry this nonce (files only)' },
    mode: { value: '<live|replay>', help: 'files: replay unless given; live needs --nonce. URLs: always live' },
    ...UNSAFE_OPTIONS,
  },
  run: async (args) => {
    const source = documentOperand(args);
    const pcrSets = expectedSets(args);
    const { warnings, ...unsafe } = await unsafeOptions(args);
    const { document, mode } = isUrl(source) ? await fromUrl(source, args) : fromFile(source, args);
    const report = await verify(document.bytes, { mode, pcrSets, ...unsafe });
    // A document that fails is not described: nothing in it is known to be true.
    const contents = report.ok ? await inspectAttestation(document.bytes) : undefined;
    return answer({ source, document, report, warnings, contents });
  },
};

interface Question {
  readonly document: EncodedDocument;
  readonly mode: LiveMode | ReplayMode;
}

const wrong = (value: string): QvError => new QvError('usage_invalid', { value });

function fromFile(path: string, args: Arguments): Question {
  const kind = args.optional('mode') ?? 'replay';
  const hex = args.optional('nonce');
  const nonce = hex === undefined ? undefined : fromHex(hex, '--nonce');
  if (kind !== 'live' && kind !== 'replay') throw wrong('--mode is live or replay');
  if (kind === 'live' && nonce === undefined) throw wrong('--mode live needs --nonce');
  const document = readDocumentFile(path);
  if (kind === 'live' && nonce !== undefined) return { document, mode: { kind, nowMs: Date.now(), nonce } };
  return { document, mode: { kind: 'replay', ...(nonce && { nonce }) } };
}

async function fromUrl(url: string, args: Arguments): Promise<Question> {
  if (!URL.canParse(url)) throw wrong('the URL is none');
  if (args.flag('nonce')) throw wrong('--nonce is for files: for a URL qv draws its own');
  if ((args.optional('mode') ?? 'live') !== 'live') throw wrong('a URL is verified live');
  const { documentBytes, nonce } = await requestAttestation(hostConnection(url));
  return {
    document: { encoding: 'base64', bytes: documentBytes },
    mode: { kind: 'live', nowMs: Date.now(), nonce },
  };
}

interface Answer {
  readonly source: string;
  readonly document: EncodedDocument;
  readonly report: AttestationReport;
  readonly warnings: readonly string[];
  /** Only of a document that passed. */
  readonly contents: Inspection | undefined;
}

function answer(found: Answer): Result {
  const { source, document, report, warnings, contents } = found;
  const error = report.ok ? undefined : failureJson(report.failure, report.failure.step);
  return {
    exit: report.ok ? 'ok' : 'failed',
    json: {
      document: { source, encoding: document.encoding, bytes: document.bytes.length },
      mode: report.mode,
      proves: report.proves,
      warnings,
      steps: report.steps,
      ...(error && { error }),
      ...(report.ok && { statement: PROVES[report.mode], pcrSet: report.pcrSet.name, contents }),
    },
    text: (style) => [
      ...table(
        [
          ['Document', `${printable(source)} (${document.encoding}, ${document.bytes.length} bytes)`],
          ['Mode', report.mode === 'live' ? 'live: judged now' : 'replay: judged at the document’s own time'],
        ],
        style,
        '',
      ),
      ...warnings.map((warning) => style(['bold', 'red'], `! ${warning}`)),
      '',
      ...report.steps.flatMap((step) => stepLines(step, style)),
      '',
      ...verdictLines(found, style),
    ],
  };
}

function verdictLines({ report, contents, warnings }: Answer, style: Style): readonly string[] {
  if (!report.ok) return notVerified(report.failure.code, style);
  const { pcrSet, document } = report;
  const rows: [string, string][] = [
    ['Enclave', document.moduleId],
    ['Made at', contents?.time ?? ''],
    ['Image', `PCR0 ${contents?.pcrs[0]?.hex}, as in ${pcrSet.name}`],
  ];
  const attested = contents?.attested;
  if (attested !== undefined) {
    rows.push(
      ['Boot key', attested.bootKey],
      ['Configuration', `SHA-256 ${attested.configHash}`],
      ['Log', attested.logOrigin],
      ['Version', attested.version],
    );
  }
  return [
    `${tick(style)} ${style(['bold', 'green'], 'Verified')}: every check passes.`,
    ...printableTable(rows, style),
    `  ${PROVES[report.mode]}`,
    ...(warnings.length === 0 ? [] : [style(['bold', 'red'], '! UNSAFE options were used: see above.')]),
  ];
}

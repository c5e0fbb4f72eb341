/** qv measure */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { crcText, type ImageReport, measureImage } from '@quantumvault/shared/eif/measure.ts';
import type { SignatureFindings } from '@quantumvault/shared/eif/signature.ts';
import { ERRORS, QvError } from '@quantumvault/shared/errors.ts';
import type { JsonValue } from '@quantumvault/shared/json.ts';
import type { Command, Result } from '../command.ts';
import { NODE_PRIMITIVES, withImageFile } from '../image-file.ts';
import { bytesText, progressBar } from '../progress.ts';
import { cross, printable, type Style, table, tick } from '../terminal.ts';

export const measure: Command = {
  name: 'measure',
  summary: 'Compute the PCRs of an enclave image file, verify its signature, say what PCRs do not cover.',
  details: [
    'Reads the image strictly: whatever two loaders could read differently is refused (exit 2). --json prints',
    'Measurements as nitro-cli does, for qv verify attestation --pcrs. If the CRC or the signature does not',
    'hold (exit 1), the PCRs stand under unverifiedMeasurements, so that nothing takes them for expected ones.',
  ],
  options: {},
  operands: '<image.eif>',
  run: async (args, { stderr }) => {
    const [path, ...more] = args.operands;
    if (path === undefined || more.length > 0) throw new QvError('usage_invalid', { value: 'name one image file' });
    const bar = progressBar(stderr, 'Measuring');
    try {
      const options = { nowMs: Date.now(), primitives: NODE_PRIMITIVES, onProgress: bar.update };
      return answer(path, await withImageFile(path, (source) => measureImage(source, options)));
    } finally {
      bar.clear();
    }
  },
};

function answer(path: string, report: ImageReport): Result {
  return {
    exit: report.ok ? 'ok' : 'failed',
    json: jsonOf(report),
    text: (style) => render(path, report, style),
  };
}

/** Measurements in nitro-cli's shape and order; the rest is ours. */
function jsonOf(report: ImageReport): Readonly<Record<string, unknown>> {
  const { header, size, sections, crc32, failure, signature, unmeasuredMetadata } = report;
  const measurements = {
    HashAlgorithm: 'Sha384 { ... }',
    ...Object.fromEntries([...report.pcrs].map(([index, value]) => [`PCR${index}`, toHex(value)])),
  };
  return {
    ...(failure && { error: { ...failure, meaning: ERRORS[failure.code].meaning, retryable: false } }),
    ...(report.ok ? { Measurements: measurements } : { unverifiedMeasurements: measurements }),
    image: {
      size,
      version: header.version,
      architecture: header.architecture,
      defaultMemory: String(header.defaultMemory),
      defaultCpus: String(header.defaultCpus),
      sections,
      crc32: { stated: crcText(crc32.stated), computed: crcText(crc32.computed) },
      commandLine: report.commandLine,
    },
    signature: signature === undefined ? null : signatureJson(signature),
    notCovered: report.notCovered,
    unmeasuredMetadata: unmeasuredMetadata ?? null,
  };
}

function signatureJson({ algorithm, certificate, validAt, failure }: SignatureFindings) {
  return {
    verifies: failure === undefined,
    algorithm: algorithm ?? null,
    certificate: {
      subject: certificate.subject,
      issuer: certificate.issuer,
      notBefore: day(certificate.notBeforeMs),
      notAfter: day(certificate.notAfterMs),
      validAt: { time: day(validAt.timeMs), valid: validAt.valid },
    },
  };
}

const day = (timeMs: number): string => new Date(timeMs).toISOString();

function render(path: string, report: ImageReport, style: Style): readonly string[] {
  const { header, failure, signature, sections } = report;
  const verdict =
    failure === undefined
      ? `${tick(style)} ${style('bold', 'Measured.')} ${printable(path)}`
      : `${cross(style)} ${style(['bold', 'red'], failure.code)}: ${ERRORS[failure.code].meaning} (${printable(failure.value)})`;
  return [
    verdict,
    ...table(
      [...report.pcrs].map(([index, value]) => [`PCR${index}`, toHex(value)] as const),
      style,
    ),
    '',
    ...table(
      [
        ['Image', `version ${header.version}, ${header.architecture}, ${bytesText(report.size)}`],
        [
          'CRC-32',
          `${crcText(report.crc32.stated)}${failure?.code === 'eif_crc_mismatch' ? ' does NOT hold' : ' holds'}`,
        ],
        ...sections.map(({ type, offset, size }) => [type, `${size} bytes at ${offset}`] as const),
        ['Command line', printable(report.commandLine)],
        ...signatureRows(report, style),
      ],
      style,
    ),
    '',
    style('yellow', 'PCRs do not cover, so anybody may have changed:'),
    ...report.notCovered.map((line) => `  – ${printable(line)}`),
    ...metadataLines(report, style),
    ...(signature?.validAt.valid === false ? [style('yellow', 'The signing certificate is not valid now.')] : []),
  ];
}

function signatureRows({ signature, crc32 }: ImageReport, style: Style): readonly (readonly [string, string])[] {
  if (signature === undefined)
    return [['Signature', crc32.stated === crc32.computed ? 'none, so no PCR8' : 'not read']];
  const { algorithm, certificate, failure } = signature;
  const dates = `${day(certificate.notBeforeMs)} to ${day(certificate.notAfterMs)}`;
  return [
    [
      'Signature',
      failure === undefined ? `${algorithm} over PCR0, ${style('green', 'verifies')}` : style('red', 'does NOT verify'),
    ],
    [
      'Signer says',
      `${printable(certificate.subject)} (issuer ${printable(certificate.issuer)}); unproven, PCR8 is what counts`,
    ],
    ['Certificate', dates],
  ];
}

const SHOWN_CHARACTERS = 2_000;

/** The whole of it in --json; a container's labels can be long. */
function metadataLines({ unmeasuredMetadata }: ImageReport, style: Style): readonly string[] {
  if (unmeasuredMetadata === undefined) return [];
  const { DockerInfo: docker, ...rest } = unmeasuredMetadata;
  const rows = Object.entries(rest).map(([key, value]) => [printable(key), shown(value)] as const);
  const hidden = docker === undefined ? [] : [['DockerInfo', 'in --json'] as const];
  return [style('yellow', 'Metadata, as somebody wrote it:'), ...table([...rows, ...hidden], style)];
}

function shown(value: JsonValue): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return printable(text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text);
}

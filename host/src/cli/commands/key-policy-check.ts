/** qv key-policy check: which images can open keys, and everything that a key policy leaves open besides. */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type JsonObject, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import type { Arguments, Command } from '../command.ts';
import { readPcrSets } from '../input.ts';
import { checkKeyPolicy, FAULTS, type Finding, type KeyPolicyReport } from '../key-policy-check/check.ts';
import { cross, printable, type Style, table, tick } from '../terminal.ts';
import { jsonInput, oneOperand } from '../text-input.ts';

const PCR0 = /^[0-9a-f]{96}$/;

export const keyPolicyCheck: Command = {
  name: 'key-policy check',
  summary: 'Say which images can open keys under a KMS key policy, and refuse one that allows anything else.',
  details: [
    'Takes the policy as a file, or with --key from KMS itself, whose grants it looks at, too. Without --pcrs',
    'and --pcr0 no image may open keys. One of --retired-pcrs or --retired-pcr0 may not be named anywhere.',
    'What it cannot decide (a condition on something that the caller chooses, say) it takes for allowed.',
    'It sees one key: each replica of a multi-Region key has a policy of its own, and aws kms describe-key lists',
    'them, and says of any key whether its material was imported and so exists elsewhere, too.',
    'Exits 1 with findings. Policies are read as AWS documents them; AWS is not asked what it would answer.',
  ],
  operands: '<file|->',
  options: {
    'instance-role': { value: '<arn>', help: 'IAM role of the instance that runs the enclave', required: true },
    'break-glass': { value: '<arn>', help: 'IAM role that may change the key policy', required: true },
    pcrs: { value: '<file>', help: 'measurements of an image that may open keys', multiple: true },
    pcr0: { value: '<hex>', help: 'the PCR0 of an image that may open keys', multiple: true },
    'retired-pcrs': { value: '<file>', help: 'measurements of an image that may not any more', multiple: true },
    'retired-pcr0': { value: '<hex>', help: 'the PCR0 of an image that may not any more', multiple: true },
    key: { value: '<arn>', help: 'read policy and grants of this key from KMS, as the break-glass role' },
    endpoint: { value: '<url>', help: 'another endpoint than the Region’s' },
  },
  run: async (args) => {
    const { principalArn } = await import('../kms-key.ts');
    const expected = {
      images: imagesOf(args, 'pcrs', 'pcr0'),
      retired: imagesOf(args, 'retired-pcrs', 'retired-pcr0'),
      instanceRole: principalArn(args.text('instance-role'), '--instance-role'),
      breakGlass: principalArn(args.text('break-glass'), '--break-glass'),
      ...(args.flag('key') && { keyArn: args.text('key') }),
    };
    const both = expected.images.find((image) => expected.retired.includes(image));
    if (both !== undefined) throw new QvError('usage_invalid', { value: `allowed and retired: ${both}` });
    const { document, grants } = args.flag('key') ? await fromKms(args) : await fromFile(args);
    const { images, findings: found } = checkKeyPolicy(document, expected);
    const findings: readonly Finding[] = [
      ...found,
      ...grants.map((grant) => ({ fault: 'grant_exists' as const, what: grant, statements: [] })),
    ];
    return {
      exit: findings.length === 0 ? 'ok' : 'failed',
      json: {
        holds: findings.length === 0,
        images,
        retired: expected.retired,
        findings: findings.map((finding) => ({ ...finding, meaning: FAULTS[finding.fault] })),
      },
      text: (style) => reportLines({ images, findings }, style),
    };
  },
};

function reportLines({ images, findings }: KeyPolicyReport, style: Style): readonly string[] {
  const can = images.length === 1 ? '1 image can' : `${images.length === 0 ? 'No' : images.length} images can`;
  return [
    ...findings.flatMap(({ fault, what, statements }) => [
      `${cross(style)} ${style('red', fault)}  ${FAULTS[fault]}`,
      `    ${printable(what)}${statements.length === 0 ? '' : style('dim', `  (${statements.map(printable).join(', ')})`)}`,
    ]),
    `${findings.length === 0 ? tick(style) : cross(style)} ${style('bold', `${can} open keys`)}${
      findings.length === 0
        ? ', by the instance role alone, and nobody but the break-glass role can change or end the key.'
        : ':'
    }`,
    ...table(
      images.map((image) => ['PCR0', image] as const),
      style,
    ),
  ];
}

/** Of both options together, each once. @throws QvError field_malformed */
function imagesOf(args: Arguments, files: string, hexes: string): readonly string[] {
  const measured = args
    .list(files)
    .flatMap((path) => readPcrSets(path).map(({ pcrs }) => toHex(pcrs.get(0) ?? new Uint8Array())));
  const images = [...new Set([...args.list(hexes), ...measured])];
  const wrong = images.find((image) => !PCR0.test(image) || image === '0'.repeat(96));
  if (wrong !== undefined) throw new QvError('field_malformed', { path: 'pcr0', value: wrong });
  return images;
}

interface Found {
  readonly document: JsonValue;
  /** What each grant on the key is, for people. */
  readonly grants: readonly string[];
}

/** The document itself, or what `aws kms get-key-policy` prints around it. */
async function fromFile(args: Arguments): Promise<Found> {
  const source = oneOperand(args, 'policy, or give --key');
  const document = await jsonInput(source, source);
  const wrapped = (document as JsonObject | null)?.['Policy'];
  return { document: typeof wrapped === 'string' ? parsed(wrapped) : document, grants: [] };
}

async function fromKms(args: Arguments): Promise<Found> {
  if (args.operands.length > 0) throw new QvError('usage_invalid', { value: 'a file, or --key' });
  const { keyPolicyText, grantsOf, kmsClient, regionOfKey } = await import('../kms-key.ts');
  const keyArn = args.text('key');
  const endpoint = args.optional('endpoint');
  const client = kmsClient({ region: regionOfKey(keyArn), ...(endpoint !== undefined && { endpoint }) });
  try {
    return { document: parsed(await keyPolicyText(client, keyArn)), grants: await grantsOf(client, keyArn) };
  } finally {
    client.destroy();
  }
}

function parsed(text: string): JsonValue {
  return parseStrictJson(new TextEncoder().encode(text));
}

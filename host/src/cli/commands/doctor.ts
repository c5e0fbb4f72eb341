/** qv doctor */
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Arguments, Command, Result } from '../command.ts';
import type { Options } from '../doctor/facts.ts';
import { type Finding, HEALTHS, type Health, worstOf } from '../doctor/finding.ts';
import type { Exit } from '../exit-codes.ts';
import { cross, printable, type Style, tick } from '../terminal.ts';
import { expectedSets, PCR_OPTIONS, UNSAFE_OPTIONS, unsafeOptions } from '../trust-options.ts';

const EXITS: Readonly<Record<Health, Exit>> = { skipped: 'ok', ok: 'ok', warning: 'warning', failed: 'failed' };

export const doctor: Command = {
  name: 'doctor',
  summary: 'Examine a host and everything around it, and say what to do about what is wrong.',
  details: [
    'Configuration, modes of files, sockets, the addon, database, disk, enclave, credentials, KMS, attestation,',
    'clock, freezes, witnesses, metrics, TLS, the status page, and what stands in front of HTTP. Works when the',
    'host is dead, too, and changes nothing. Call it on the host’s machine, as root or as the host’s user: what',
    'others may not read is skipped. Attestation is verified live when --pcrs or --pcr0 say which image is to run.',
    'Exits by the worst finding: 0 when nothing is wrong, 6 for a warning, 1 when a check failed.',
  ],
  options: {
    config: { value: '<file>', help: 'the host’s configuration', required: true },
    url: { value: '<url>', help: 'where HTTP answers, when not where the configuration listens' },
    ...PCR_OPTIONS,
    'unsafe-trusted-root': UNSAFE_OPTIONS['unsafe-trusted-root'],
    root: UNSAFE_OPTIONS.root,
  },
  run: async (args) => {
    const options = await optionsOf(args);
    // Configuration and database take their time to load: only this command waits for them.
    const { examine } = await import('../doctor/doctor.ts');
    return resultOf(await examine(options));
  },
};

/** @throws QvError usage_invalid, and what a file that cannot be used throws */
async function optionsOf(args: Arguments): Promise<Options> {
  const url = args.optional('url');
  if (url !== undefined && !/^https?:$/.test(URL.parse(url)?.protocol ?? ''))
    throw new QvError('usage_invalid', { value: '--url is no URL' });
  const hasSets = args.flag('pcrs') || args.flag('pcr0');
  const { unsafeTrustedRootDer } = await unsafeOptions(args);
  return {
    configFile: args.text('config'),
    url,
    pcrSets: hasSets ? expectedSets(args) : [],
    unsafeTrustedRootDer,
  };
}

function resultOf(findings: readonly Finding[]): Result {
  const worst = worstOf(findings);
  const counts = Object.fromEntries(
    HEALTHS.map((health) => [health, findings.filter((finding) => finding.health === health).length]),
  ) as Record<Health, number>;
  return {
    exit: EXITS[worst],
    json: { worst, counts, checks: findings },
    text: (style) => [...findings.flatMap((finding) => lines(finding, style)), '', verdict(worst, counts, style)],
  };
}

const WIDTH = 13;

function lines({ check, health, found, fix }: Finding, style: Style): readonly string[] {
  const marks = { ok: tick(style), warning: style('yellow', '!'), failed: cross(style), skipped: style('dim', '–') };
  const what = printable(found);
  const shown = health === 'skipped' ? style('dim', `skipped: ${what}`) : what;
  const next =
    fix === undefined
      ? []
      : [`  ${' '.repeat(WIDTH)} ${style(health === 'ok' ? 'dim' : 'cyan', `→ ${printable(fix)}`)}`];
  return [`${marks[health]} ${style('bold', check.padEnd(WIDTH))} ${shown}`, ...next];
}

function verdict(worst: Health, counts: Record<Health, number>, style: Style): string {
  if (worst === 'failed')
    return `${cross(style)} ${style(['bold', 'red'], `Failed: ${counts.failed}`)}, warnings: ${counts.warning}.`;
  if (worst === 'warning')
    return `${style('yellow', '!')} ${style('bold', `Warnings: ${counts.warning}`)}, nothing failed.`;
  return `${tick(style)} ${style(['bold', 'green'], 'Nothing is wrong')} with what was examined (skipped: ${counts.skipped}).`;
}

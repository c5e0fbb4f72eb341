/** What is checked of a boot's signed word after an order: is it signed, and does the boot live in an expected image. */
import type { BootId } from '@quantumvault/shared/brands.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { attest } from '../client/attestation.ts';
import { verifyEd25519 } from '../client/keys.ts';
import type { Arguments, OptionSpec } from './command.ts';
import { hostConnection } from './host-connection.ts';
import { readPcrSets, readRoot } from './input.ts';
import { cross, printable, type Style, tick } from './terminal.ts';

export const PROOF_OPTIONS = {
  url: { value: '<url>', help: 'the host’s HTTP address, for the live attestation' },
  pcrs: { value: '<file>', help: 'measurements of the expected images', multiple: true },
  'unsafe-trusted-root': { value: '<file>', help: 'believe another root than AWS’s: for local stacks' },
} as const satisfies Record<string, OptionSpec>;

export interface Check {
  readonly what: string;
  /** Absent: not checked. */
  readonly holds?: boolean;
  readonly why?: string;
}

const LIVENESS = 'the boot key lives in an expected image (live attestation)';

/** Forms only: the files are read after the order, so that a missing one does not hold it up. */
export function requireProofOptions(args: Arguments): void {
  const url = args.optional('url');
  if ((url === undefined) === args.flag('pcrs'))
    throw new QvError('usage_invalid', { value: '--url and --pcrs belong together' });
  if (url !== undefined && !URL.canParse(url)) throw new QvError('usage_invalid', { value: '--url is no URL' });
}

/** The boot behind --url, proven live; undefined when that was not asked for, or failed. */
export async function proveBoot(
  args: Arguments,
): Promise<{ readonly boot: BootId | undefined; readonly check: Check }> {
  const url = args.optional('url');
  if (url === undefined) return { boot: undefined, check: { what: LIVENESS, why: 'give --url and --pcrs' } };
  try {
    return { boot: await attestedBoot(args, url), check: { what: LIVENESS, holds: true } };
  } catch (error) {
    return { boot: undefined, check: { what: LIVENESS, holds: false, why: reasonOf(error) } };
  }
}

/** @throws QvError */
async function attestedBoot(args: Arguments, url: string): Promise<BootId> {
  const root = args.optional('unsafe-trusted-root');
  const { boot } = await attest({
    connection: hostConnection(url, { attempts: 2, timeoutMilliseconds: 5_000 }),
    trust: {
      pcrSets: args.list('pcrs').flatMap(readPcrSets),
      ...(root !== undefined && { unsafeTrustedRootDer: readRoot(root) }),
    },
    nowMs: Date.now,
    verifyEd25519,
  });
  return boot;
}

/** The check, and what it checked if that holds. */
export function checked<T>(what: string, verify: () => T): { readonly value: T | undefined; readonly check: Check } {
  try {
    return { value: verify(), check: { what, holds: true } };
  } catch (error) {
    return { value: undefined, check: { what, holds: false, why: reasonOf(error) } };
  }
}

function reasonOf(error: unknown): string {
  const { path } = error instanceof QvError ? error.facts : {};
  return path === undefined ? codeOf(error) : `${codeOf(error)} (${path})`;
}

export function checkJson({ what, holds, why }: Check) {
  const result = holds === undefined ? 'not checked' : holds ? 'holds' : 'fails';
  return { what, result, ...(why !== undefined && { why }) };
}

export function checkText({ what, holds, why }: Check, style: Style): string {
  const because = why === undefined ? '' : `: ${printable(why)}`;
  if (holds === undefined) return `  ${style('yellow', '–')} not checked: ${what}${because}`;
  return `  ${holds ? tick(style) : cross(style)} ${what}${because}`;
}

/** qv kill: the stop button of design 9. The order goes out first; what it achieved is verified afterwards. */
import { type BootId, type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { FACT, type FreezeAck, freezeAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { verifyFreezeAck } from '@quantumvault/shared/evidence/verify.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { AdminStatus } from '../../admin-protocol.ts';
import { attest } from '../../client/attestation.ts';
import { connectionTo } from '../../client/http.ts';
import { verifyEd25519 } from '../../client/keys.ts';
import { receiptField, signedBytesField } from '../../client/wire.ts';
import type { FreezeReport } from '../../freeze.ts';
import { adminCall } from '../admin-client.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Arguments, Command, Result } from '../command.ts';
import { readPcrSets, readRoot } from '../input.ts';
import { cross, printable, type Style, table, tick } from '../terminal.ts';

/** How old the enclave's trusted time may be, and how far this machine's clock may be ahead of it. */
const CLOCK_TOLERANCE_MILLISECONDS = 1_000 * (LIMITS.trustedTimeMaxAgeSeconds + LIMITS.attestationMaxFutureSeconds);

export const kill: Command = {
  name: 'kill',
  alias: 'freeze',
  summary: 'Freeze the whole fleet: no signature is released until operators resume it.',
  details: [
    'Latches in the host’s memory, in the enclave and in the database, and says which of the three hold.',
    'The enclave’s acknowledgement is verified under its boot key. With --url and --pcrs, the key is shown to',
    'live in an expected image by a live attestation; without them, the key is the one the host names.',
    'Exits 0 only if all three hold and everything asked for verifies. Nothing can undo it from here.',
    'What was released before stays valid on chain for about 150 slots.',
  ],
  options: {
    all: { help: 'the scope: every wallet of the deployment (required)' },
    reason: { value: '<text>', help: 'why, for the log: at most 200 printable ASCII characters', required: true },
    admin: ADMIN_OPTION,
    url: { value: '<url>', help: 'the host’s HTTP address, for the live attestation' },
    pcrs: { value: '<file>', help: 'measurements of the expected images', multiple: true },
    'unsafe-trusted-root': { value: '<file>', help: 'believe another root than AWS’s: for local stacks' },
  },
  run: async (args) => {
    if (!args.flag('all')) throw new QvError('usage_invalid', { value: 'say what to freeze: --all' });
    const reason = args.text('reason');
    if (reason.length > 200 || !FACT.test(reason)) {
      throw new QvError('usage_invalid', { value: '--reason takes at most 200 printable ASCII characters' });
    }
    requireProofOptions(args);
    const socket = adminSocket(args);
    const notBefore = timeMs(Date.now() - CLOCK_TOLERANCE_MILLISECONDS);
    const report = await adminCall(socket, 'freeze', { scope: 'fleet', reason });
    // From here on nothing may hide what holds: whatever fails becomes part of the answer.
    const status = await adminCall(socket, 'status', {}).catch(() => undefined);
    const enclave = report.enclave.held ? await verify(report, { reason, notBefore }, status, args) : undefined;
    return answer(report, enclave);
  },
};

/** Forms only: the files are read after the order, so that a missing one does not hold it up. */
function requireProofOptions(args: Arguments): void {
  const url = args.optional('url');
  if ((url === undefined) === args.flag('pcrs'))
    throw new QvError('usage_invalid', { value: '--url and --pcrs belong together' });
  if (url !== undefined && !URL.canParse(url)) throw new QvError('usage_invalid', { value: '--url is no URL' });
}

/** The boot key of the enclave behind `url`, proven live. @throws QvError */
async function attestedBoot(args: Arguments, url: string): Promise<BootId> {
  const root = args.optional('unsafe-trusted-root');
  const { boot } = await attest({
    connection: connectionTo(url, { attempts: 2, timeoutMilliseconds: 5_000 }),
    trust: {
      pcrSets: args.list('pcrs').flatMap(readPcrSets),
      ...(root !== undefined && { unsafeTrustedRootDer: readRoot(root) }),
    },
    nowMs: Date.now,
    verifyEd25519,
  });
  return boot;
}

interface Check {
  readonly what: string;
  /** Absent: not checked. */
  readonly holds?: boolean;
  readonly why?: string;
}

interface Order {
  readonly reason: string;
  /** An older acknowledgement answers another order. */
  readonly notBefore: TimeMs;
}

interface Acknowledged {
  readonly ack: FreezeAck | undefined;
  readonly checks: readonly Check[];
}

async function verify(
  report: FreezeReport,
  order: Order,
  status: AdminStatus | undefined,
  args: Arguments,
): Promise<Acknowledged> {
  const checks: Check[] = [];
  let attested: BootId | undefined;
  const liveness = 'the boot key lives in an expected image (live attestation)';
  const url = args.optional('url');
  if (url === undefined) {
    checks.push({ what: liveness, why: 'give --url and --pcrs' });
  } else {
    try {
      attested = await attestedBoot(args, url);
      checks.push({ what: liveness, holds: true });
    } catch (error) {
      checks.push({ what: liveness, holds: false, why: reasonOf(error) });
    }
  }
  const signed = 'the acknowledgement is signed by the boot key, for this order';
  try {
    const fields = new JsonFields(report.enclave as unknown as JsonValue);
    const statement = signedBytesField(fields, 'ack');
    const claim = decodeAs(freezeAckCodec, statement.bytes, 'ack');
    const boot = attested ?? ((status?.enclave?.boot ?? claim.boot) as BootId);
    const deployment = status?.deployment ?? claim.deployment;
    const expected = { deployment, boot, scope: 'fleet', ...order };
    const ack = verifyFreezeAck(statement, receiptField(fields, 'receipt'), expected, verifyEd25519);
    return { ack, checks: [{ what: signed, holds: true }, ...checks] };
  } catch (error) {
    return { ack: undefined, checks: [{ what: signed, holds: false, why: reasonOf(error) }, ...checks] };
  }
}

function reasonOf(error: unknown): string {
  const { path } = error instanceof QvError ? error.facts : {};
  return path === undefined ? codeOf(error) : `${codeOf(error)} (${path})`;
}

function answer(report: FreezeReport, enclave: Acknowledged | undefined): Result {
  const { host, database } = report;
  const held = [host, report.enclave, database].every((place) => place.held);
  const checks = enclave?.checks ?? [];
  const all = held && checks.every(({ holds }) => holds !== false);
  const ack = enclave?.ack;
  const facts = ack && {
    freezeId: toHex(ack.freezeId),
    boot: ack.boot,
    deployment: ack.deployment,
    time: new Date(ack.time).toISOString(),
  };
  const { held: enclaveHeld } = report.enclave;
  const when = report.enclave.held ? { at: report.enclave.at } : { code: report.enclave.code };
  return {
    exit: all ? 'ok' : 'failed',
    json: {
      ...(!all && { code: 'freeze_not_held' }),
      scope: report.scope,
      allHold: held,
      host,
      enclave: { held: enclaveHeld, ...when, ...facts },
      database,
      checks: checks.map(({ what, holds, why }) => ({
        what,
        result: holds === undefined ? 'not checked' : holds ? 'holds' : 'fails',
        ...(why !== undefined && { why }),
      })),
    },
    text: (style) => [
      all
        ? `${tick(style)} ${style('bold', 'Frozen.')}`
        : `${cross(style)} ${style(['bold', 'red'], 'NOT frozen everywhere.')}`,
      ...table(
        [
          ...(['host', 'enclave', 'database'] as const).map(
            (place) => [placeName(place), holdText(report[place], style)] as const,
          ),
          ...(facts === undefined ? [] : factRows(facts)),
        ],
        style,
      ),
      ...checks.map((check) => checkText(check, style)),
    ],
  };
}

const factRows = (facts: { freezeId: string; boot: string; time: string }) =>
  [
    ['Freeze id', printable(facts.freezeId)],
    ['Boot', printable(facts.boot)],
    ['Enclave’s time', printable(facts.time)],
  ] as const;

const placeName = (place: 'host' | 'enclave' | 'database'): string =>
  ({ host: 'Host memory', enclave: 'Enclave', database: 'Database' })[place];

function holdText(hold: FreezeReport['host'], style: Style): string {
  return hold.held
    ? `${style('green', 'holds')} since ${printable(hold.at)}`
    : `${style('red', 'does NOT hold')}: ${printable(hold.code)}`;
}

function checkText({ what, holds, why }: Check, style: Style): string {
  const because = why === undefined ? '' : `: ${printable(why)}`;
  if (holds === undefined) return `  ${style('yellow', '–')} not checked: ${what}${because}`;
  return `  ${holds ? tick(style) : cross(style)} ${what}${because}`;
}

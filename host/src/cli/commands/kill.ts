/** qv kill: the stop button of design 9. The order goes out first; what it achieved is verified afterwards. */
import { type BootId, type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { FLEET } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { FACT, type FreezeAck, freezeAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { verifyFreezeAck } from '@quantumvault/shared/evidence/verify.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { verifyEd25519 } from '../../client/keys.ts';
import { receiptField, signedBytesField } from '../../client/wire.ts';
import { type EnclaveHold, type FreezeReport, REASON_CHARACTERS } from '../../freeze-report.ts';
import { adminCall } from '../admin-client.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import { type Check, checked, PROOF_OPTIONS, proveBoot, requireProofOptions } from '../boot-proof.ts';
import type { Arguments, Command, Result } from '../command.ts';
import {
  DIRECT_OPTIONS,
  type DirectReport,
  directOptions,
  freezeDirectly,
  type MarkerHold,
} from '../freeze-directly.ts';
import { killResult } from '../kill-result.ts';
import { SCOPE_OPTIONS, scopeOption } from '../scope-option.ts';

/** How old the enclave's trusted time may be, and how far this machine's clock may be ahead of it. */
const CLOCK_TOLERANCE_MILLISECONDS = 1_000 * (LIMITS.trustedTimeMaxAgeSeconds + LIMITS.attestationMaxFutureSeconds);

export const kill: Command = {
  name: 'kill',
  alias: 'freeze',
  summary: 'Freeze the fleet, one wallet or one requester: no signature is released until it is resumed.',
  details: [
    'Latches in the host’s memory, in the enclave and in the database, and says which of the three hold.',
    'A host that does not answer is passed over, if --config says where to: the order is left on disk for its',
    'next start, and given to the enclave directly.',
    'The enclave’s acknowledgement is verified under its boot key. With --url and --pcrs, the key is shown to',
    'live in an expected image by a live attestation; without them, the key is the one the host names.',
    'Exits 0 only if every place that can be reached holds and everything asked for verifies. Ending a freeze',
    'takes signatures: qv resume. What was released before stays valid on chain for about 150 slots.',
  ],
  options: {
    ...SCOPE_OPTIONS,
    reason: { value: '<text>', help: 'why, for the log: at most 200 printable ASCII characters', required: true },
    admin: ADMIN_OPTION,
    ...DIRECT_OPTIONS,
    ...PROOF_OPTIONS,
  },
  run: async (args) => {
    const order = orderOf(args);
    const outcome = await give(order, args);
    // From here on nothing may hide what holds: whatever fails becomes part of the answer.
    return await judge(order, outcome, args);
  },
};

export interface Order {
  readonly scope: string;
  readonly reason: string;
  /** An older acknowledgement answers another order. */
  readonly notBefore: TimeMs;
}

/** What the order achieved, by whichever way it went. */
export interface Outcome {
  readonly host: FreezeReport['host'];
  readonly enclaves: FreezeReport['enclaves'];
  readonly database: FreezeReport['database'];
  /** The order on disk, when the host did not answer. */
  readonly marker?: MarkerHold;
  /** As whoever took the order names them. */
  readonly deployment?: string | undefined;
  readonly boot?: string | undefined;
  readonly acknowledge?: DirectReport['acknowledge'];
}

/** @throws QvError usage_invalid, base58_malformed */
function orderOf(args: Arguments): Order {
  const scope = scopeOption(args);
  const reason = args.text('reason');
  if (reason.length > REASON_CHARACTERS || !FACT.test(reason)) {
    throw new QvError('usage_invalid', {
      value: `--reason takes at most ${REASON_CHARACTERS} printable ASCII characters`,
    });
  }
  requireProofOptions(args);
  return { scope, reason, notBefore: timeMs(Date.now() - CLOCK_TOLERANCE_MILLISECONDS) };
}

/** @throws QvError why the host did not take it, where nothing says how to do without */
async function give({ scope, reason }: Order, args: Arguments): Promise<Outcome> {
  const started = performance.now();
  const direct = directOptions(args);
  const socket = adminSocket(args, direct.config?.adminSocket.path);
  try {
    const report = await adminCall(socket, 'freeze', { scope, reason }, LIMITS.killHostMilliseconds);
    const status = await adminCall(socket, 'status', { scope }, LIMITS.killHostMilliseconds).catch(() => undefined);
    return { ...report, deployment: status?.deployment, boot: status?.enclave?.boot ?? undefined };
  } catch (error) {
    const where = direct.find();
    if (where === undefined) throw error;
    const { enclave, ...rest } = await freezeDirectly(where, { scope, reason }, started);
    const gone = { held: false, code: codeOf(error) } as const;
    const deployment = direct.config?.deployment ?? rest.deployment;
    return { host: gone, database: gone, enclaves: [enclave], ...rest, deployment };
  }
}

async function judge(order: Order, outcome: Outcome, args: Arguments): Promise<Result> {
  if (!outcome.enclaves.some(({ held }) => held)) return killResult(order, outcome, [], []);
  const proof = await proveBoot(args);
  const verified = outcome.enclaves.map((enclave) => verify(enclave, order, outcome, proof.boot));
  const acks = verified.map((found) => found?.value);
  const checks = verified.flatMap((found): Check[] => (found === undefined ? [] : [found.check]));
  const [ack] = acks;
  if (ack !== undefined) await outcome.acknowledge?.(ack);
  return killResult(order, outcome, acks, [...checks, proof.check]);
}

function verify(
  enclave: EnclaveHold,
  { scope, reason, notBefore }: Order,
  outcome: Outcome,
  attested: BootId | undefined,
): { readonly value: FreezeAck | undefined; readonly check: Check } | undefined {
  if (!enclave.held) return undefined;
  return checked('the acknowledgement is signed by the boot key, for this order', () => {
    const fields = new JsonFields(enclave as unknown as JsonValue);
    const statement = signedBytesField(fields, 'ack');
    const claim = decodeAs(freezeAckCodec, statement.bytes, 'ack');
    const expected = {
      boot: attested ?? ((outcome.boot ?? claim.boot) as BootId),
      deployment: outcome.deployment ?? claim.deployment,
      // An enclave that has no room for another scope freezes everything.
      scope: claim.scope === FLEET ? FLEET : scope,
      reason,
      notBefore,
    };
    return verifyFreezeAck(statement, receiptField(fields, 'receipt'), expected, verifyEd25519);
  });
}

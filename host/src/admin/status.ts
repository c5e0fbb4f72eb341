import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import type { JsonFields } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { AdminStatus, HostFreeze } from '../admin-protocol.ts';
import { stateOfCredentials } from '../credentials.ts';
import { parseFreezeScope } from '../freeze-scope.ts';
import type { FreezeRecord } from '../store/store.ts';
import { within } from '../within.ts';
import type { AdminDeps } from './deps.ts';

type Said = NonNullable<AdminStatus['enclave']>;

/** @throws QvError field_malformed */
export async function status(fields: JsonFields, deps: AdminDeps): Promise<AdminStatus> {
  const scope = fields.optional('scope') === undefined ? undefined : parseFreezeScope(fields.text('scope'));
  fields.end();
  const { deployment, session, store, records, freezes, credentials, rotation, now, draining } = deps;
  // Whoever asks in an emergency is told within seconds, by hanging parts too.
  const answers = within(LIMITS.freezeTimeoutMilliseconds, store.ping()).then(
    () => true,
    () => false,
  );
  const counted = within(LIMITS.freezeTimeoutMilliseconds, store.countWithoutSecond()).catch(() => null);
  const [storeAnswers, enclaveFreezes, walletsWithoutSecond] = await Promise.all([
    answers,
    askFreezes(deps, scope),
    counted,
  ]);
  const said = session.status;
  const expiresAt = credentials.current?.body.expiresAt;
  const held = freezes.held.filter((record) => scope === undefined || record.scope === scope);
  return {
    deployment,
    draining: draining(),
    enclave:
      said === undefined
        ? null
        : {
            phase: said.phase,
            boot: said.boot ?? null,
            bornAt: session.bornAt === undefined ? null : instant(session.bornAt),
            version: said.version,
            configHash: toHex(said.configHash),
            kmsKeyArn: said.kmsKeyArn,
            kmsKeys: (said.kmsKeys ?? []).map(({ keyArn, use, isAvoided }) => ({ keyArn, use, avoided: isAvoided })),
            freezeId: said.freezeId === undefined ? null : toHex(said.freezeId),
            time: said.time === undefined ? null : instant(said.time),
            leaves: String(said.leaves),
            wallets: said.wallets,
            freezes: enclaveFreezes,
          },
    credentials: {
      state: stateOfCredentials(credentials, said?.time ?? now()),
      expiresAt: expiresAt === undefined ? null : instant(expiresAt),
      fault: credentials.fault ?? null,
    },
    rowKey: session.hasRowKey,
    walletsWithoutSecond,
    rowKeyState: rotation.report.state,
    rowKeyFault: rotation.report.fault,
    store: storeAnswers,
    backlog: records.backlog,
    freezes: held.slice(0, LIMITS.statusFreezes).map(hostFreeze),
    freezeCount: freezes.held.length,
  };
}

async function askFreezes({ enclave }: AdminDeps, scope: string | undefined): Promise<Said['freezes']> {
  const urgent = { urgent: true, timeoutMilliseconds: LIMITS.enclaveStatusMilliseconds };
  try {
    const { freezes, count } = await enclave.request('freezesGet', {}, urgent);
    const held = freezes.filter((freeze) => scope === undefined || freeze.scope === scope);
    return { held: held.map((freeze) => ({ scope: freeze.scope, freezeId: toHex(freeze.freezeId) })), count };
  } catch {
    return null;
  }
}

function hostFreeze({ scope, reason, latchedAt, boot, freezeId }: FreezeRecord): HostFreeze {
  return {
    scope,
    reason,
    at: instant(latchedAt),
    boot: boot ?? null,
    freezeId: freezeId === undefined ? null : toHex(freezeId),
  };
}

function instant(time: TimeMs): string {
  return new Date(time).toISOString();
}

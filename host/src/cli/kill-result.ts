/** How qv kill says what holds. */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { ERRORS, isErrorCode } from '@quantumvault/shared/errors.ts';
import type { FreezeAck } from '@quantumvault/shared/evidence/leaf.ts';
import type { Hold } from '../freeze-report.ts';
import { type Check, checkJson, checkText } from './boot-proof.ts';
import type { Result } from './command.ts';
import type { Order, Outcome } from './commands/kill.ts';
import { cross, printable, type Style, table, tick } from './terminal.ts';

/** @param acks those that verify, in the order of the outcome's enclaves */
export function killResult(
  { scope }: Order,
  outcome: Outcome,
  acks: readonly (FreezeAck | undefined)[],
  checks: readonly Check[],
): Result {
  const { host, enclaves, database, marker } = outcome;
  // A host that does not answer cannot hold anything; its next start does, by the order on disk.
  const reachable = marker === undefined ? [host, database, ...enclaves] : [marker, ...enclaves];
  const held = reachable.every((place) => place.held);
  const all = held && checks.every(({ holds }) => holds !== false);
  return {
    exit: all ? 'ok' : 'failed',
    json: {
      ...(!all && { code: 'freeze_not_held' }),
      scope,
      allHold: held && marker === undefined,
      host,
      enclaves: enclaves.map((enclave, index) => ({
        enclave: enclave.enclave,
        ...holdFacts(enclave),
        ...ackFacts(acks[index]),
      })),
      database,
      ...(marker !== undefined && { marker }),
      checks: checks.map(checkJson),
    },
    text: (style) => [
      titleOf(all, marker !== undefined, style),
      ...table(
        [
          ['Scope', printable(scope)],
          ['Host memory', holdText(host, style)],
          ...enclaves.flatMap((enclave, index) => [
            ['Enclave', `${holdText(enclave, style)} at ${printable(enclave.enclave)}`] as const,
            ...ackRows(acks[index]),
          ]),
          ['Database', holdText(database, style)],
          ...(marker === undefined
            ? []
            : [['Order on disk', `${holdText(marker, style)} in ${printable(marker.path)}`] as const]),
        ],
        style,
      ),
      ...checks.map((check) => checkText(check, style)),
    ],
  };
}

function titleOf(all: boolean, withoutHost: boolean, style: Style): string {
  if (!all) return `${cross(style)} ${style(['bold', 'red'], 'NOT frozen everywhere.')}`;
  if (!withoutHost) return `${tick(style)} ${style('bold', 'Frozen.')}`;
  return `${tick(style)} ${style('bold', 'Frozen in the enclave.')} The host does not answer; its next start holds the freeze.`;
}

function holdFacts(hold: Hold) {
  return hold.held
    ? { held: true, at: hold.at, elapsedMilliseconds: hold.elapsedMilliseconds }
    : { held: false, code: hold.code };
}

const ackFacts = (ack: FreezeAck | undefined) =>
  ack && {
    scope: ack.scope,
    freezeId: toHex(ack.freezeId),
    boot: ack.boot,
    deployment: ack.deployment,
    time: new Date(ack.time).toISOString(),
  };

function ackRows(ack: FreezeAck | undefined): readonly (readonly [string, string])[] {
  if (ack === undefined) return [];
  return [
    ['Freeze id', toHex(ack.freezeId)],
    ['Boot', printable(ack.boot)],
    ['Enclave’s time', new Date(ack.time).toISOString()],
  ];
}

/** What is wrong in words, which may say what to do. A host may send a code that this qv does not know. */
function meaningOf(code: unknown): string {
  return isErrorCode(code) ? `. ${ERRORS[code].meaning}` : '';
}

function holdText(hold: Hold, style: Style): string {
  return hold.held
    ? `${style('green', 'holds')} since ${printable(hold.at)}, known after ${hold.elapsedMilliseconds} ms`
    : `${style('red', 'does NOT hold')}: ${printable(hold.code)}${meaningOf(hold.code)}`;
}

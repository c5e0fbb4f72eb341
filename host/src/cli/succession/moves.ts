/** Many wallets, one admin command each: what became of every one of them. */
import { codeOf, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { AdminCommand, AdminCommands } from '../../admin-protocol.ts';
import { adminCall } from '../admin-client.ts';
import { countText } from '../progress.ts';
import { cross, printable, type Style, tick } from '../terminal.ts';

/** The enclave may ask the key service first; then the database is written. */
const TIMEOUT_MILLISECONDS = LIMITS.enclaveRequestTimeoutMilliseconds + LIMITS.storeTimeoutMilliseconds;

export const moveCall = <C extends AdminCommand>(
  socket: string,
  command: C,
  parameters: AdminCommands[C]['arguments'],
) => adminCall(socket, command, parameters, TIMEOUT_MILLISECONDS);

/**
 * A boot that ends before its log shows what moved leaves auditors without the hand-over.
 * @returns why it is not published; undefined when it is
 */
export const publishLog = (socket: string): Promise<ErrorCode | undefined> =>
  moveCall(socket, 'publish', {}).then(() => undefined, codeOf);

export interface Failure {
  readonly wallet: string;
  readonly code: ErrorCode;
  readonly path?: string;
  readonly value?: string;
}

export function failureOf(wallet: string, error: unknown): Failure {
  const { path, value } = error instanceof QvError ? error.facts : {};
  return { wallet, code: codeOf(error), ...(path !== undefined && { path }), ...(value !== undefined && { value }) };
}

/** Every wallet that has a row, whoever holds it. */
export async function* everyRow(socket: string): AsyncGenerator<string> {
  for (let after: string | undefined; ; ) {
    const { wallets } = await moveCall(socket, 'wallets', after === undefined ? {} : { after });
    yield* wallets;
    after = wallets.at(-1);
    if (after === undefined) return;
  }
}

/** Some at a time, in their order. Waits for all that began, whatever one of them throws. */
export async function eachOf<T>(
  items: AsyncIterable<T> | Iterable<T>,
  action: (item: T) => Promise<void>,
): Promise<void> {
  const underWay = new Set<Promise<void>>();
  try {
    for await (const item of items) {
      const task: Promise<void> = action(item).finally(() => underWay.delete(task));
      task.catch(() => undefined);
      underWay.add(task);
      if (underWay.size >= LIMITS.cliMoves) await Promise.race(underWay);
    }
    await Promise.all(underWay);
  } finally {
    await Promise.allSettled(underWay);
  }
}

export interface Moves {
  readonly counts: readonly (readonly [string, number])[];
  readonly failures: readonly Failure[];
  readonly unpublished: ErrorCode | undefined;
}

/** Has the enclave behind this socket take each of them, then its log published. */
export async function takeAll<T>(
  socket: string,
  items: AsyncIterable<T> | Iterable<T>,
  argumentsOf: (item: T) => AdminCommands['take']['arguments'],
): Promise<{ readonly moves: Moves; readonly json: Readonly<Record<string, unknown>> }> {
  const failures: Failure[] = [];
  let [taken, already] = [0, 0];
  await eachOf(items, async (item) => {
    const parameters = argumentsOf(item);
    try {
      if ((await moveCall(socket, 'take', parameters)).already) already++;
      else taken++;
    } catch (error) {
      failures.push(failureOf(parameters.wallet, error));
    }
  });
  const unpublished = await publishLog(socket);
  const counts = [['taken', taken] as const, ['held already', already] as const];
  const json = { taken, already, published: unpublished === undefined, failures };
  return { moves: { counts, failures, unpublished }, json };
}

export const movesExit = ({ failures, unpublished }: Moves): 'ok' | 'failed' =>
  failures.length === 0 && unpublished === undefined ? 'ok' : 'failed';

/** How many of what, and every wallet that failed with its code. */
export function movesText({ counts, failures, unpublished }: Moves, style: Style): readonly string[] {
  const done = counts.map(([what, count]) => `${countText(count)} ${what}`).join(', ');
  const failed = failures.length === 0 ? '' : `, ${style('red', `${countText(failures.length)} failed`)}`;
  return [
    `${failed === '' ? tick(style) : cross(style)} ${style('bold', done)}${failed}`,
    ...failures.map(({ wallet, code, path, value }) => {
      const facts = [path, value].filter((fact) => fact !== undefined).map(printable);
      const why = facts.length === 0 ? '' : ` (${facts.join(': ')})`;
      return `  ${cross(style)} ${printable(wallet)}  ${style('red', code)}${why}`;
    }),
    ...(unpublished === undefined
      ? []
      : [`${cross(style)} ${style('red', `The log is not published yet: ${unpublished}.`)}`]),
    ...(failed === '' && unpublished === undefined
      ? []
      : [style('dim', '  Give the same command again: what is done already stays done.')]),
  ];
}

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

/** How many of what, and every wallet that failed with its code. */
export function movesText(
  counts: readonly (readonly [string, number])[],
  failures: readonly Failure[],
  style: Style,
): readonly string[] {
  const done = counts.map(([what, count]) => `${countText(count)} ${what}`).join(', ');
  const ok = failures.length === 0;
  return [
    `${ok ? tick(style) : cross(style)} ${style('bold', done)}${ok ? '' : `, ${style('red', `${countText(failures.length)} failed`)}`}`,
    ...failures.map(({ wallet, code, path, value }) => {
      const facts = [path, value].filter((fact) => fact !== undefined).map(printable);
      return `  ${cross(style)} ${printable(wallet)}  ${style('red', code)}${facts.length === 0 ? '' : ` (${facts.join(': ')})`}`;
    }),
    ...(ok ? [] : [style('dim', '  Give the same command again: what is done already stays done.')]),
  ];
}

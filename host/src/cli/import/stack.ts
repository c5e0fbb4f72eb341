/** libsodium leaves copies of what it works with on the stack, and nothing that JavaScript calls wipes it. */

const DEPTH = 128;
const ZEROS: readonly number[] = Array.from({ length: 64 }, () => 0);

/**
 * Overwrites some 100 kB of the stack below the caller: calls within calls, each of which puts its arguments there.
 * Seldom called, this stays with V8's interpreter, which leaves no gaps between them.
 */
export function overwriteStack(): void {
  descend(DEPTH, ...ZEROS);
}

function descend(...given: readonly number[]): number {
  const [depth = 0] = given;
  return depth === 0 ? 0 : descend(depth - 1, ...ZEROS) + given.length;
}

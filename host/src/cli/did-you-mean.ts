/** What somebody who mistyped a word may have meant. */

/** A word that is mostly another one is no typing mistake. */
const MAX_EDITS = 2;

/** The closest of the known words, undefined when none is close. */
export function didYouMean(word: string, known: readonly string[]): string | undefined {
  const wanted = word.toLowerCase();
  let best: { readonly candidate: string; readonly edits: number } | undefined;
  for (const candidate of known) {
    // A beginning is the commonest mistake of all: `stat` for `status`.
    const edits = wanted.length >= 3 && candidate.startsWith(wanted) ? 1 : editsBetween(wanted, candidate);
    const isClose = edits <= MAX_EDITS && edits * 2 < Math.max(candidate.length, wanted.length);
    if (isClose && (best === undefined || edits < best.edits)) best = { candidate, edits };
  }
  return best?.candidate;
}

/** Letters put in, left out, replaced, or swapped with their neighbour (optimal string alignment). */
function editsBetween(left: string, right: string): number {
  // Bounded first: what is typed may be of any length.
  if (Math.abs(left.length - right.length) > MAX_EDITS) return Number.POSITIVE_INFINITY;
  let older: readonly number[] = [];
  let previous: readonly number[] = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row++) {
    const current: number[] = [row];
    for (let column = 1; column <= right.length; column++) {
      const isSame = left[row - 1] === right[column - 1];
      const swapped =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]
          ? (older[column - 2] ?? 0) + 1
          : Number.POSITIVE_INFINITY;
      const replaced = (previous[column - 1] ?? 0) + (isSame ? 0 : 1);
      current.push(Math.min((previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, replaced, swapped));
    }
    older = previous;
    previous = current;
  }
  return previous[right.length] ?? 0;
}

/** What the page shows after a question. */
export interface Answer {
  readonly verdict: readonly HTMLElement[];
  readonly details: readonly HTMLElement[];
}

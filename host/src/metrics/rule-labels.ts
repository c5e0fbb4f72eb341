/**
 * Rules as labels. The enclave's rules are a finite set, but positions stand in their names: those are taken out. What
 * looks like no rule, and whatever comes after the two hundredth, is `other`.
 */

/** Rules that a sound bot under a sound policy meets: seeded, so that alerts on them have a zero to start from. */
export const SEEDED_RULES = [
  'validFrom',
  'validUntil',
  'feePayer',
  'signers',
  'transaction.versions',
  'transaction.maxInstructions',
  'fees.maxLamports',
  'fees.window',
  'sol.maxPerTransaction',
  'sol.window',
  'sol.destinations',
  'tokens[].maxPerTransaction',
  'tokens[].window',
  'rate.perMinute',
  'rate.perDay',
  'signals',
  'signals.required',
  'signals.sources',
  'signals.maxAgeSeconds',
  'signals.signaturesPerSignal',
  'signals.remembered',
  'signals.room',
  'program-not-allowed',
  'mint-not-allowed',
  'token-destination-not-allowed',
  'authority-not-wallet',
  'lookup-table-not-pinned',
  'other',
] as const;

const RULE = /^[A-Za-z0-9_.[\]-]{1,64}$/;
const POSITION = /\[[0-9]+\]/g;
const MOST = 200;

export class RuleLabels {
  readonly #seen = new Set<string>(SEEDED_RULES);

  of(rule: string | undefined): string {
    const label = rule?.replace(POSITION, '[]') ?? 'other';
    if (this.#seen.has(label)) return label;
    if (!RULE.test(label) || this.#seen.size >= MOST) return 'other';
    this.#seen.add(label);
    return label;
  }
}

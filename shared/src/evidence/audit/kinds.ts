/** What a leaf of each kind has to say. A leaf without it cannot be checked, so it is a finding of its own. */
import { isFreezeScope } from '../freeze-scope.ts';
import type { Leaf, LeafKind } from '../leaf.ts';

type FieldName = Exclude<keyof Leaf, 'boot' | 'sequence' | 'previous' | 'time' | 'kind'>;

const REQUEST = ['wallet', 'actor', 'requestId', 'messageHash', 'policyHash'] as const;

export const FIELDS = {
  boot: ['attestation', 'configHash'],
  follows: ['predecessor'],
  'wallet-created': ['wallet', 'actor', 'stateVersion'],
  'policy-enabled': ['wallet', 'actor', 'policyHash', 'stateVersion'],
  signed: [...REQUEST, 'amounts', 'stateVersion', 'signatureHash'],
  denied: [...REQUEST, 'rule'],
  'key-failed': [],
  frozen: ['freezeId', 'scope', 'reason'],
  resumed: ['freezeId', 'scope'],
  release: ['wallet', 'stateVersion'],
  lease: ['wallet', 'stateVersion', 'predecessor'],
  'wallet-imported': ['wallet', 'actor', 'stateVersion'],
  rewrapped: ['wallet', 'stateVersion'],
  retired: ['wallet', 'actor', 'stateVersion'],
  'wallet-migrated': ['wallet', 'actor', 'stateVersion', 'signers'],
  'successor-named': ['wallet', 'actor', 'stateVersion', 'succession'],
  'takeover-claimed': ['wallet', 'actor', 'stateVersion', 'succession'],
  'takeover-cancelled': ['wallet', 'actor', 'stateVersion', 'succession'],
  'owner-changed': ['wallet', 'actor', 'stateVersion', 'succession'],
} as const satisfies Record<LeafKind, readonly FieldName[]>;

/** A leaf of one kind with all that its kind has. */
export type LeafOf<K extends LeafKind> = K extends LeafKind
  ? Leaf & { readonly kind: K } & { readonly [F in (typeof FIELDS)[K][number]]-?: NonNullable<Leaf[F]> }
  : never;

/** Whether it is of that kind; that it is whole was found by `missingField` before. */
export function isKind<K extends LeafKind>(leaf: Leaf, kind: K): leaf is LeafOf<K> {
  return leaf.kind === kind;
}

/** What a leaf lacks of its kind, or has wrong; undefined of a whole one. */
export function missingField(leaf: Leaf): string | undefined {
  const missing = (FIELDS[leaf.kind] as readonly FieldName[]).find((name) => leaf[name] === undefined);
  if (missing !== undefined) return missing;
  // What is given has a successor, what is received a predecessor.
  if (leaf.kind === 'release' && (leaf.predecessor === undefined) === (leaf.successor === undefined))
    return 'predecessor or successor';
  if ((leaf.kind === 'frozen' || leaf.kind === 'resumed') && !isFreezeScope(leaf.scope ?? '')) return 'scope';
  return undefined;
}

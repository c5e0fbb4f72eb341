/** What an audit knows of one boot by the leaves it has read, and keeps for the next one. */
import type { BootId, Hash } from '../../brands.ts';
import { Freezes } from './freezes.ts';
import { Repeats } from './repeats.ts';
import { LogTree, type Sha256 } from './tree.ts';

export interface BootState {
  readonly boot: BootId;
  readonly tree: LogTree;
  readonly freezes: Freezes;
  readonly repeats: Repeats;
  /** Of leaf 0: attested again at each audit, because other images may be allowed by then. */
  attestation: Uint8Array | undefined;
  configHash: Hash | undefined;
  /** Leaves whose meaning is in this state. */
  size: number;
  firstTime: number;
  lastTime: number;
  lastHash: Hash | undefined;
  /** The first leaf of kind signed. */
  firstSigned: number | undefined;
  /** The `follows` leaf: whose log, at which size, and when. */
  follows: { readonly boot: BootId; readonly size: number; readonly time: number } | undefined;
  /** Where it comes from: the boot it follows, else the first one from which it took a wallet. */
  origin: BootId | undefined;
}

export function newBootState(boot: BootId, sha256: Sha256, bundleRoots: readonly Hash[] = []): BootState {
  return {
    boot,
    tree: new LogTree(sha256, bundleRoots),
    freezes: new Freezes(),
    repeats: new Repeats(),
    attestation: undefined,
    configHash: undefined,
    size: 0,
    firstTime: 0,
    lastTime: 0,
    lastHash: undefined,
    firstSigned: undefined,
    follows: undefined,
    origin: undefined,
  };
}

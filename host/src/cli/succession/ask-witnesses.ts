/**
 * Whether a checkpoint is the last that witnesses have seen. A host could show operators an older one, with enough
 * cosignatures, and put the rows of that time back; so they ask the witnesses themselves. One that cosigns exactly this
 * checkpoint once more has seen no later one: a witness never goes back. Any K of them share one with N - K + 1 others,
 * so that many answers rule out a later checkpoint with K cosignatures.
 */
import { QvError } from '@quantumvault/shared/errors.ts';
import { parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { formatNote, parseNote } from '@quantumvault/shared/tlog/note.ts';
import type { VerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { WitnessClient } from '../../witness/client.ts';
import type { Arguments, OptionSpec } from '../command.ts';
import { witnessOptions } from '../trust-options.ts';

export const ASK_WITNESS = {
  value: '<name>=<url>',
  help: 'asks this --witness whether it has seen more; enough of them, and windows keep their sums',
  multiple: true,
} as const satisfies OptionSpec;

export interface Asked {
  /** Enough of them have seen nothing later. */
  readonly isLast: boolean;
  /** Names of those. */
  readonly confirmed: readonly string[];
  readonly needed: number;
}

/** Undefined when no witness is to be asked. @throws QvError usage_invalid */
export async function askWitnesses(args: Arguments, checkpoint: Uint8Array): Promise<Asked | undefined> {
  const { witnesses, witnessThreshold } = witnessOptions(args);
  const asked = args.list('ask-witness').map((text) => endpointOf(text, witnesses));
  if (asked.length === 0) return undefined;
  const note = parseNote(checkpoint);
  const { origin, size } = parseCheckpoint(note.text);
  const own = note.signatures.filter(({ name }) => name === origin);
  const request = {
    note: formatNote({ text: note.text, signatures: own }),
    origin,
    size,
    // One that has seen less is not brought further here: its answer would say nothing about a later checkpoint.
    prove: () => Promise.reject(new QvError('witness_size_mismatch')),
    bootRecord: { leaf: new Uint8Array(0), signature: new Uint8Array(64) as never },
  };
  const answers = await Promise.all(
    asked.map(async ({ key, url }) => {
      try {
        await new WitnessClient({ url, key }, { followed: size }).cosign(request);
        return [key.name];
      } catch {
        return [];
      }
    }),
  );
  const confirmed = [...new Set(answers.flat())];
  const needed = witnesses.length - witnessThreshold + 1;
  return { isLast: witnessThreshold > 0 && confirmed.length >= needed, confirmed, needed };
}

function endpointOf(text: string, witnesses: readonly VerifierKey[]): { key: VerifierKey; url: URL } {
  const at = text.indexOf('=');
  const key = witnesses.find(({ name }) => name === text.slice(0, at));
  const url = URL.parse(text.slice(at + 1));
  if (key === undefined || url === null || !/^https?:$/.test(url.protocol))
    throw new QvError('usage_invalid', { value: '--ask-witness is <name>=<url>, the name that of a --witness' });
  return { key, url };
}

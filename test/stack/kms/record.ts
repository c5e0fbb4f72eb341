/**
 * What a local KMS knows and an appliance has to forget: one line of JSON for each envelope, bytes in hex. Tests that
 * search the memory of processes read it; nothing else has a use for it.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { fromHex, toHex } from '@quantumvault/shared/bytes.ts';
import type { OnSealed, Sealed } from './call.ts';

export interface SealedRecord extends Omit<Sealed, 'context'> {
  readonly context: Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** Each line is in the file before its envelope is answered. */
export function recordTo(file: string): OnSealed {
  return ({ operation, context, altered, secret, contentKey, spki, envelope }) => {
    const [secretHex, contentKeyHex, spkiHex, envelopeHex] = [secret, contentKey, spki, envelope].map(toHex);
    const line = {
      operation,
      at: Date.now(),
      altered,
      context: Object.fromEntries(context),
      secret: secretHex,
      contentKey: contentKeyHex,
      spki: spkiHex,
      envelope: envelopeHex,
    };
    appendFileSync(file, `${JSON.stringify(line)}\n`, { mode: 0o600 });
  };
}

/** All but the first `from`. */
export function readRecords(file: string, from = 0): readonly SealedRecord[] {
  const lines = readFileSync(file, 'utf8').split('\n').slice(from, -1);
  return lines.map((line) => {
    const { secret, contentKey, spki, envelope, ...rest } = JSON.parse(line);
    const bytes = { secret: fromHex(secret), contentKey: fromHex(contentKey) };
    return { ...rest, ...bytes, spki: fromHex(spki), envelope: fromHex(envelope) } as SealedRecord;
  });
}

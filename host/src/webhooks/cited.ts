/** The signal behind a signing request: which one its id means, and what of it goes to the enclave. */
import type { RequestId, TimeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { SignalRule } from '@quantumvault/shared/policy/parse.ts';
import type { SignalMessage } from '@quantumvault/shared/protocol/message-parts.ts';
import type { Signals } from './signals.ts';

/** As replies show it. */
export interface SignalJson {
  readonly source: string;
  readonly id: string;
  /** `host`: what the policy calls hostVerified, nothing but this host's word. */
  readonly verifiedBy: 'enclave' | 'host';
}

export interface Cited {
  readonly message: SignalMessage;
  readonly json: SignalJson;
}

/**
 * The id is that of a signal of one of the sources that the policy names. What two of them have is refused, because
 * nobody would know which of the two was meant.
 * @param rules the policy's; undefined: it names no source, and no signal can be meant
 * @param freshAt when the signal has to be no older than the policy allows; undefined where the enclave only judges
 * @throws QvError signal_missing, signal_ambiguous, signal_stale, row_tampered, store_*
 */
export async function citedSignal(
  signals: Pick<Signals, 'find'>,
  rules: SignalRule | undefined,
  id: RequestId,
  freshAt: TimeMs | undefined,
): Promise<Cited> {
  const sources = rules?.sources ?? [];
  const {
    source: name,
    at,
    body,
    signature,
  } = await signals.find(
    id,
    sources.map((source) => source.name),
  );
  if (rules !== undefined && freshAt !== undefined && freshAt - at > rules.maxAgeSeconds * 1000)
    throw new QvError('signal_stale', { path: 'signal', value: `${Math.floor((freshAt - at) / 1000)} s` });
  const isVerifiedAgain = sources.some((source) => source.name === name && 'key' in source);
  return {
    message: {
      source: name,
      id,
      timestamp: String(at / 1000),
      body,
      // For the enclave the rest is the host's word, and it is given nothing that looks like more.
      ...(isVerifiedAgain && signature !== undefined && { signature }),
    },
    json: { source: name, id, verifiedBy: isVerifiedAgain ? 'enclave' : 'host' },
  };
}

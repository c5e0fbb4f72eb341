/**
 * The signal behind a request (design 6): what a source said, with its key's signature where the policy names a key.
 * A signal triggers, it never authorises; without a key it is the host's word and is called so.
 */
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Policy } from '@quantumvault/shared/policy/policy.ts';
import type { Signal } from '@quantumvault/shared/policy/state.ts';
import type { SignalMessage } from '@quantumvault/shared/protocol/message-parts.ts';
import { parseTimestamp, type SignBody, signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import { verifyEd25519 } from './vault.ts';

/** @throws QvError signal_missing, signal_signature_invalid */
export function readSignal(
  policy: Policy,
  body: Pick<SignBody, 'signal'>,
  message: SignalMessage | undefined,
): Signal | undefined {
  // The requester named the signal inside what he signed; the host may only bring that one.
  if (body.signal !== message?.id) throw new QvError('signal_missing', { path: 'signal' });
  if (message === undefined) return undefined;
  const { source: name, id, timestamp, body: content, signature } = message;
  const source = policy.signals?.sources.find((candidate) => candidate.name === name);
  const at = parseTimestamp(timestamp);
  if (source === undefined || !('key' in source)) return { source: name, id, at, verifiedBy: 'host' };
  const signed = signedContent(id, timestamp, content);
  if (signature === undefined || !verifyEd25519(signature, signed, addressBytes(source.key))) {
    throw new QvError('signal_signature_invalid', { path: 'signal', value: name });
  }
  return { source: name, id, at, verifiedBy: 'enclave' };
}

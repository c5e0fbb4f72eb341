/** One GET, bounded in time and size. Not by fetch, which calls no address with a certificate of another name. */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { LIMITS } from '@quantumvault/shared/limits.ts';

export interface Reply {
  readonly status: number;
  /** Its beginning, when there is more than LIMITS.clientResponseBytes. */
  readonly text: string;
}

/**
 * @param isVerified false: whoever answers may have any certificate, for this machine's own listener, called by its
 *   address. Nothing is sent there, and nothing that it says is believed.
 */
export function get(url: URL, { isVerified = true } = {}): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  const signal = AbortSignal.timeout(LIMITS.killHostMilliseconds);
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const asked = request(url, { agent: false, signal, rejectUnauthorized: isVerified }, (response) => {
    const decoder = new TextDecoder();
    let text = '';
    const done = (): void => resolve({ status: response.statusCode ?? 0, text });
    response.on('data', (chunk: Buffer) => {
      text += decoder.decode(chunk, { stream: true });
      // Whatever listens there may never end.
      if (text.length > LIMITS.clientResponseBytes) response.destroy();
    });
    response.on('close', done);
    response.on('error', reject);
  });
  asked.on('error', (error) => reject(signal.aborted ? signal.reason : error));
  asked.end();
  return promise;
}

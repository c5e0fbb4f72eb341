/** Making the row key over the admin socket: what `qv init row-key` and the local stack do. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ERRORS, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { adminCall } from './admin-client.ts';

const PAUSE_MILLISECONDS = 100;

/**
 * Asks again while the host or its enclave is only just starting. A repeat is safe: the key is made once or refused.
 * @throws QvError already_initialised; what the last attempt said, once the time is up
 */
export async function initRowKey(
  socket: string,
  waitMilliseconds: number = LIMITS.cliInitWaitMilliseconds,
): Promise<void> {
  const deadline = performance.now() + waitMilliseconds;
  for (;;) {
    try {
      await adminCall(socket, 'row-key-create', {});
      return;
    } catch (error) {
      const retryable = error instanceof QvError && ERRORS[error.code].retryable;
      if (!retryable || performance.now() > deadline) throw error;
    }
    await sleep(PAUSE_MILLISECONDS);
  }
}

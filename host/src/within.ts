/** Waiting for the database no longer than a freeze may. */
import { QvError } from '@quantumvault/shared/errors.ts';

/** @throws QvError store_unavailable when the time is over; the work itself goes on */
export async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new QvError('store_unavailable')), milliseconds);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

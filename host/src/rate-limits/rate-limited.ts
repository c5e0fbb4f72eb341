import { QvError } from '@quantumvault/shared/errors.ts';
import type { RateLimitName } from './config.ts';

/** One too many. */
export class RateLimited extends QvError {
  readonly retryAfterSeconds: number;

  constructor(name: RateLimitName | 'repeats', allowed: string, retryAfterSeconds: number) {
    super('rate_limited', { path: name, value: allowed });
    this.name = 'RateLimited';
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

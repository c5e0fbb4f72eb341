/**
 * How long a caller waits, told in `x-request-timeout-ms`: nothing is asked of the enclave that would come too late, the
 * enclave decides nothing that nobody waits for, and the caller is told in time (504 `deadline_exceeded`).
 */
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

const FIELD = 'x-request-timeout-ms';

export class Deadline {
  readonly #atMs: number;

  /**
   * @param elapsedMilliseconds since the request came
   * @throws QvError field_malformed
   */
  constructor(headers: Readonly<Record<string, string | string[] | undefined>>, elapsedMilliseconds: number) {
    const text = headers[FIELD];
    if (text !== undefined && (typeof text !== 'string' || !/^[1-9][0-9]{0,6}$/.test(text))) {
      throw new QvError('field_malformed', { path: FIELD, value: 'not milliseconds, 1 to 9999999' });
    }
    const most = LIMITS.enclaveRequestTimeoutMilliseconds;
    const milliseconds = text === undefined ? most : Math.min(Number(text), most);
    this.#atMs = performance.now() - elapsedMilliseconds + milliseconds;
  }

  /** Whole milliseconds, at least one. @throws QvError deadline_exceeded when there are none left */
  leftMilliseconds(): number {
    const left = Math.floor(this.#atMs - performance.now());
    if (left < 1) throw new QvError('deadline_exceeded');
    return left;
  }
}

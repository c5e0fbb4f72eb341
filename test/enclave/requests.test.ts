import { RememberedCount, RequestMemory } from '@quantumvault/enclave/requests.ts';
import { type Address, hash, type RequestId, timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';

const requester = 'A33DLsX9NtxMY6vBKWCfu52gKnb3xdVBZr6KDbhQwN9q' as Address;
const other = '2CFnHtiWX7NV2SxGmBcb4PNRu9rTcs4h65QLvicfRmyg' as Address;
const id = 'r-1' as RequestId;
const body = (fill: number) => hash(new Uint8Array(32).fill(fill));
const now = timeMs(1_700_000_000_000);

describe('request memory', () => {
  it('knows an id with its body, in flight and done', async () => {
    const memory = new RequestMemory(new RememberedCount());
    const ticket = memory.begin(requester, id, body(1), now);
    expect(ticket.repeats).toBeUndefined();
    await expectCode(() => memory.begin(requester, id, body(1), now), 'request_in_flight');
    await expectCode(() => memory.begin(requester, id, body(2), now), 'request_id_reused');
    ticket.signed(7n);
    expect(memory.begin(requester, id, body(1), now).repeats).toBe(7n);
    await expectCode(() => memory.begin(requester, id, body(2), now), 'request_id_reused');
    expect(memory.begin(other, id, body(2), now).repeats).toBeUndefined();
  });

  it('forgets what was refused at once, what was signed after the window', async () => {
    const memory = new RequestMemory(new RememberedCount());
    memory.begin(requester, id, body(1), now).refused();
    const ticket = memory.begin(requester, id, body(2), now);
    ticket.signed(0n);
    const windowMs = (LIMITS.requestMaxAgeSeconds + LIMITS.requestMaxFutureSeconds) * 1000;
    await expectCode(() => memory.begin(requester, id, body(3), timeMs(now + windowMs)), 'request_id_reused');
    expect(memory.begin(requester, id, body(3), timeMs(now + windowMs + 1)).repeats).toBeUndefined();
  });

  it('refuses when full instead of forgetting early', async () => {
    const memory = new RequestMemory(new RememberedCount());
    for (let index = 0; index < LIMITS.requestIdsPerWallet; index++) {
      memory.begin(requester, `r-${index}` as RequestId, body(1), now).signed(0n);
    }
    await expectCode(() => memory.begin(requester, 'one-more' as RequestId, body(1), now), 'request_ids_full');
    await expectCode(() => memory.begin(requester, 'r-0' as RequestId, body(2), now), 'request_id_reused');
    const later = timeMs(now + (LIMITS.requestMaxAgeSeconds + LIMITS.requestMaxFutureSeconds) * 1000 + 1);
    expect(memory.begin(requester, 'one-more' as RequestId, body(1), later).repeats).toBeUndefined();
  });
});

/** Recipient keys: in use as long as a call names them, dropped then, and never used again once one did not open. */
import type { Attester } from '@quantumvault/enclave/attester.ts';
import { type AttestedRecipient, Recipients } from '@quantumvault/enclave/recipient.ts';
import type { RecipientKey, Vault } from '@quantumvault/enclave/vault.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { describe, expect, it } from 'vitest';

interface Made extends RecipientKey {
  dropped: boolean;
}

function start() {
  const made: Made[] = [];
  const clock = { nowMs: 0, attests: true };
  const newRecipient = async (): Promise<RecipientKey> => {
    const key: Made = {
      spki: Uint8Array.of(made.length),
      open: () => false,
      drop: () => {
        key.dropped = true;
      },
      dropped: false,
    };
    made.push(key);
    return key;
  };
  const own = async (spki: Uint8Array): Promise<Uint8Array> => {
    if (!clock.attests) throw new Error('no document');
    return spki;
  };
  const recipients = new Recipients(
    { newRecipient } as unknown as Vault,
    { own } as unknown as Attester,
    () => clock.nowMs,
  );
  return { recipients, clock, dropped: () => made.map((key) => key.dropped) };
}

/** A call under way, and how to end it. */
function call(recipients: Recipients) {
  const end = Promise.withResolvers<void>();
  const named = Promise.withResolvers<AttestedRecipient>();
  const done = recipients.with(async (attested) => {
    named.resolve(attested);
    await end.promise;
  });
  const finish = (): Promise<void> => {
    end.resolve();
    return done;
  };
  return { named: named.promise, finish };
}

describe('a recipient key', () => {
  it('is one for all calls until it is replaced, and is dropped with the last that named it', async () => {
    const { recipients, dropped } = start();
    const [first, second] = [call(recipients), call(recipients)];
    expect(await first.named).toBe(await second.named);
    await recipients.replace();
    await first.finish();
    expect(dropped()).toEqual([false, false]);
    await second.finish();
    expect(dropped()).toEqual([true, false]);
  });

  it('that no call names is dropped when it is replaced', async () => {
    const { recipients, dropped } = start();
    await recipients.replace();
    await recipients.with(async () => undefined);
    expect(dropped()).toEqual([false]);
    await recipients.replace();
    expect(dropped()).toEqual([true, false]);
  });

  it('is another one once it is too old, and is of use to a call that just found it', async () => {
    const { recipients, clock, dropped } = start();
    await recipients.replace();
    clock.nowMs = LIMITS.recipientKeyMaxAgeSeconds * 1000 - 1;
    // Replaced in the very turn in which the call begins.
    const begun = call(recipients);
    await recipients.replace();
    expect([(await begun.named).recipient.spki[0], ...dropped()]).toEqual([0, false, false]);
    await begun.finish();
    clock.nowMs *= 2;
    clock.nowMs += 1;
    const late = call(recipients);
    expect((await late.named).recipient.spki[0]).toBe(2);
    await late.finish();
    expect(dropped()).toEqual([true, true, false]);
  });

  it('with which an envelope did not open is dropped at once, for all calls, and replaced', async () => {
    const { recipients, dropped } = start();
    const [first, second] = [call(recipients), call(recipients)];
    const used = await first.named;
    recipients.burn(used);
    expect([used.burnt, ...dropped()]).toEqual([true, true]);
    const next = call(recipients);
    expect((await next.named).recipient.spki[0]).toBe(1);
    for (const { finish } of [first, second, next]) await finish();
    expect(dropped()).toEqual([true, false]);
  });

  it('that no document names is dropped, and the call fails', async () => {
    const { recipients, clock, dropped } = start();
    clock.attests = false;
    await expect(recipients.with(async () => undefined)).rejects.toThrow('no document');
    expect(dropped()).toEqual([true]);
    clock.attests = true;
    expect(await recipients.with(async ({ recipient }) => recipient.spki[0])).toBe(1);
  });
});

/** The commands that speak to a running host: status, kill, init row-key, with a fake enclave that lies and hangs. */
import { writeFileSync } from 'node:fs';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { noteCode } from '../../support/codes-seen.ts';
import { until } from '../../support/temporary.ts';
import { Harness } from '../harness.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';

let harness: Harness;
const admin = (): string[] => ['--admin', harness.path('admin.sock')];
const order = (): string[] => ['kill', '--all', '--reason', 'keys were lost', ...admin()];

beforeEach(async () => {
  harness = await new Harness().start();
});
afterEach(() => harness.stop());

/** The acknowledgement with something else about it. */
function lyingFreeze(change: (reply: ReplyOf<'freeze'>) => ReplyOf<'freeze'>): void {
  const usual = harness.enclave.defaultHandler('freeze');
  harness.enclave.handlers.freeze = async (body) => change((await usual(body)) as ReplyOf<'freeze'>);
}

function resultsOf(answer: JsonAnswer): string[] {
  return (answer['checks'] as { result: string }[]).map(({ result }) => result);
}

function expectNotHeld(answer: JsonAnswer): void {
  expect(answer).toMatchObject({ ok: false, exit: 1, code: 'freeze_not_held' });
  noteCode(String(answer['code']));
}

describe('qv status', () => {
  test('a deployment that can sign', async () => {
    const answer = await qvJson('status', ...admin());
    expect(answer).toMatchObject({ ok: true, exit: 0, signing: true, problems: [] });
    expect(answer['status']).toMatchObject({ deployment: 'test', rowKey: true, enclave: { phase: 'serving' } });
    const { exit, stdout } = await qv('status', ...admin());
    expect(exit).toBe(0);
    expect(stdout).toContain('The deployment can sign.');
    expect(stdout).toContain(harness.enclave.boot);
    expect(stdout).toMatch(/, born 20\d\d-/);
    expect(answer['status']).toMatchObject({ rowKeyState: 'current', enclave: { bornAt: expect.any(String) } });
    expect(stdout).toContain('nothing of it is verified');
  });

  test('says what keeps it from signing', async () => {
    await qv(...order());
    const frozen = await qvJson('status', ...admin());
    expect(frozen).toMatchObject({ ok: false, exit: 1, signing: false });
    expect(frozen['problems']).toContain('frozen');
    expect((await qv('status', ...admin())).stdout).toContain('keys were lost');
    await harness.enclave.close();
    await until('the host notices', async () => {
      const { problems } = await qvJson('status', ...admin());
      return (problems as string[]).includes('enclave does not answer');
    });
  });

  test('no host', async () => {
    const answer = await qvJson('status', '--admin', harness.path('nobody.sock'));
    expect(answer).toMatchObject({ ok: false, exit: 4, error: { code: 'host_unavailable', retryable: true } });
  });

  test('takes the unix: form of the address', async () => {
    expect(await qvJson('status', '--admin', `unix:${harness.path('admin.sock')}`)).toMatchObject({ ok: true });
  });
});

describe('qv init row-key', () => {
  test('is made once and never replaced', async () => {
    const answer = await qvJson('init', 'row-key', ...admin());
    expect(answer).toMatchObject({ ok: false, exit: 1, error: { code: 'already_initialised' } });
    expect(harness.enclave.count('rowKeyCreate')).toBe(1);
  });

  test('waits for a host that is only just starting', async () => {
    const young = await new Harness().start({ initialise: false, enclave: false });
    try {
      const call = qvJson('init', 'row-key', '--admin', young.path('admin.sock'));
      await young.startEnclave();
      expect(await call).toMatchObject({ ok: true, created: true });
      await young.ready();
    } finally {
      await young.stop();
    }
  });
});

describe('qv kill', () => {
  test('names the three that hold, and verifies the acknowledgement', async () => {
    const answer = await qvJson(...order());
    expect(answer).toMatchObject({
      ok: true,
      exit: 0,
      scope: 'fleet',
      allHold: true,
      host: { held: true },
      enclaves: [{ held: true, boot: harness.enclave.boot, deployment: 'test', scope: 'fleet' }],
      database: { held: true },
    });
    expect(resultsOf(answer)).toEqual(['holds', 'not checked']);
    expect(harness.rows('freezes')).toHaveLength(1);
  });

  test('reads the same to people, and again when it holds already', async () => {
    for (const name of ['kill', 'freeze']) {
      const [, ...rest] = order();
      const { exit, stdout, stderr } = await qv(name, ...rest);
      expect([exit, stderr]).toEqual([0, '']);
      for (const part of [
        'Frozen.',
        'Host memory',
        'Enclave',
        'Database',
        harness.enclave.boot,
        'not checked: the boot key',
      ])
        expect(stdout).toContain(part);
      expect(stdout).not.toContain('NOT');
    }
  });

  test('an enclave that is gone does not hold, the others do', async () => {
    await harness.enclave.close();
    const answer = await qvJson(...order());
    expectNotHeld(answer);
    expect(answer).toMatchObject({
      allHold: false,
      host: { held: true },
      enclaves: [{ held: false, code: 'enclave_unavailable' }],
      database: { held: true },
      checks: [],
    });
    const { exit, stdout } = await qv(...order());
    expect(exit).toBe(1);
    expect(stdout).toContain('NOT frozen everywhere.');
    expect(stdout).toContain('does NOT hold: enclave_unavailable');
  });

  test('a database that is locked does not hold, the others do', async () => {
    const unlock = harness.lockDatabase();
    try {
      const answer = await qvJson(...order());
      expectNotHeld(answer);
      expect(answer).toMatchObject({ host: { held: true }, enclaves: [{ held: true }], database: { held: false } });
    } finally {
      unlock();
    }
  });

  test.each<[string, (reply: ReplyOf<'freeze'>) => ReplyOf<'freeze'>, RegExp]>([
    [
      'a signature that does not verify',
      ({ ack, receipt }) => ({ ack: { ...ack, signature: new Uint8Array(64) as typeof ack.signature }, receipt }),
      /evidence_signature_invalid/,
    ],
    [
      'bytes that are no acknowledgement',
      ({ receipt }) => ({ ack: { bytes: receipt.leaf, signature: receipt.signature }, receipt }),
      /message_malformed/,
    ],
  ])('%s fails the check', async (_, change, why) => {
    lyingFreeze(change);
    const answer = await qvJson(...order());
    expectNotHeld(answer);
    expect(resultsOf(answer)[0]).toBe('fails');
    expect(JSON.stringify(answer['checks'])).toMatch(why);
    expect((await qv(...order())).exit).toBe(1);
  });

  test('the acknowledgement of an earlier order fails the check', async () => {
    const usual = harness.enclave.defaultHandler('freeze');
    let kept: ReturnType<typeof usual> | undefined;
    harness.enclave.handlers.freeze = (body) => {
      kept ??= usual(body);
      return kept;
    };
    expect((await qv(...order())).exit).toBe(0);
    const clock = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 600_000);
    try {
      const answer = await qvJson(...order());
      expectNotHeld(answer);
      expect(JSON.stringify(answer['checks'])).toContain('evidence_mismatch (freezeAck.time)');
    } finally {
      clock.mockRestore();
    }
  });

  test('an acknowledgement of another order fails the check', async () => {
    const usual = harness.enclave.defaultHandler('freeze');
    harness.enclave.handlers.freeze = (body) => usual({ ...body, reason: 'another' });
    const answer = await qvJson(...order());
    expectNotHeld(answer);
    expect(JSON.stringify(answer['checks'])).toContain('evidence_mismatch (leaf.reason)');
  });

  test('a live attestation that fails does not hold up the order, and is no success', async () => {
    const pcrs = harness.path('pcrs.json');
    writeFileSync(pcrs, JSON.stringify({ PCR0: 'aa'.repeat(48) }));
    // The fake enclave's document is none.
    const answer = await qvJson(...order(), '--url', harness.host.url, '--pcrs', pcrs);
    expectNotHeld(answer);
    expect(answer).toMatchObject({ allHold: true });
    expect(resultsOf(answer)).toEqual(['holds', 'fails']);
  });

  test('a missing file of measurements does not hold up the order', async () => {
    const answer = await qvJson(...order(), '--url', harness.host.url, '--pcrs', harness.path('missing.json'));
    expectNotHeld(answer);
    expect(answer).toMatchObject({ allHold: true, enclaves: [{ held: true }] });
    expect(JSON.stringify(answer['checks'])).toContain('input_unreadable');
  });

  test('no host: nothing is claimed to hold', async () => {
    const answer = await qvJson('kill', '--all', '--reason', 'x', '--admin', harness.path('nobody.sock'));
    expect(answer).toMatchObject({ ok: false, exit: 4, error: { code: 'host_unavailable' } });
    expect(answer).not.toHaveProperty('host');
  });
});

/** Several keys of KMS, with a kms-agent that answers as a test says: which key is asked, and which one after it. */
import { duplexPair } from 'node:stream';
import { Kms } from '@quantumvault/enclave/kms.ts';
import {
  type AgentFailure,
  type AgentRequest,
  decodeAgentRequest,
  encodeAgentFailure,
  encodeAgentReply,
} from '@quantumvault/enclave/kms-agent/protocol.ts';
import type { KmsKey, KmsKeyUse } from '@quantumvault/enclave/kms-config.ts';
import type { Recipients } from '@quantumvault/enclave/recipient.ts';
import { equalBytes, fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { beforeEach, describe, expect, it } from 'vitest';
import { sealForRecipient } from '../stack/kms/envelope.ts';
import { recipientKey } from '../stack/support.ts';
import { expectCode } from '../support/codes.ts';

type Name = 'current' | 'replica' | 'previous' | 'older' | 'second';
const ID = { current: 'mrk-a', replica: 'mrk-a', previous: 'b', older: 'c', second: 'd' };
const arnOf = (name: Name): string => `arn:aws:kms:${name}:123456789012:key/${ID[name]}`;
const nameOf = (keyArn: string): Name => (keyArn.split(':')[3] ?? '') as Name;
const keyOf = (name: Name, tunnel: number): KmsKey => ({
  keyArn: arnOf(name),
  use: (name === 'older' ? 'previous' : name) as KmsKeyUse,
  region: name,
  endpoint: new URL(`https://${name}.example`),
  tunnel,
});
const NAMES: readonly Name[] = ['current', 'replica', 'previous', 'older'];
const KEYS = [...NAMES, 'second' as const].map(keyOf);
const CONTEXT = { wallet: 'w' };
const blob = utf8('a blob');
const envelope = sealForRecipient(new Uint8Array(32), recipientKey().spki, {}, fromHex('11'.repeat(32)));

type Answer = AgentFailure | 'silence' | 'ok' | 'other key' | 'plaintext' | 'no envelope';
let answers: Record<Name, Answer>;
let asked: Name[];
let clockMs: number;
let isBurnt: boolean;
const secondBlob = utf8('another blob');
/** Whatever else it answers. */
let opensSecondBlob: Name | undefined;

/** Never waits: what the agent does not answer is over when the clock says so. */
function kms(names: readonly Name[] = NAMES): Kms {
  const [near, far] = duplexPair();
  readFrames(far, (payload) => {
    const { id, name, body } = decodeAgentRequest(payload);
    const { keyArn } = body as AgentRequest<'decrypt'>;
    const key = nameOf(keyArn);
    asked.push(key);
    const isSecondBlob = name === 'decrypt' && equalBytes((body as AgentRequest<'decrypt'>).ciphertext, secondBlob);
    const answer = isSecondBlob && opensSecondBlob === key ? 'ok' : answers[key];
    if (answer === 'silence') return;
    if (!['ok', 'other key', 'plaintext', 'no envelope'].includes(answer)) {
      writeFrame(far, encodeAgentFailure(id, answer as AgentFailure));
      return;
    }
    writeFrame(
      far,
      encodeAgentReply(id, name, {
        keyArn: answer === 'other key' ? arnOf(key === 'older' ? 'current' : 'older') : keyArn,
        ...(answer !== 'no envelope' && { envelope }),
        ...(name === 'generateDataKey' && { ciphertext: blob }),
        plaintext: answer === 'plaintext',
      } as never),
    );
  });
  const recipients = {
    with: (call: (attested: unknown) => unknown) => call({ document: new Uint8Array(1), burnt: isBurnt }),
    burn: () => undefined,
  } as unknown as Recipients;
  const keys = KEYS.filter(({ keyArn }) => names.includes(nameOf(keyArn)));
  return new Kms(
    { keyArn: arnOf('current'), keys },
    recipients,
    () => near,
    () => clockMs,
  );
}

const decrypt = (of: Kms, ciphertext = blob): Promise<string> => of.decrypt(ciphertext, CONTEXT, () => 'opened');
const counts = (of: Kms) =>
  Object.fromEntries(of.keys.map(({ keyArn, calls, failures }) => [nameOf(keyArn), [Number(calls), Number(failures)]]));
const avoided = (of: Kms): readonly Name[] =>
  of.keys.filter(({ isAvoided }) => isAvoided).map(({ keyArn }) => nameOf(keyArn));

beforeEach(() => {
  answers = { current: 'ok', replica: 'ok', previous: 'ok', older: 'ok', second: 'ok' };
  asked = [];
  clockMs = 1_000;
  isBurnt = false;
  opensSecondBlob = undefined;
});

describe('opening a blob', () => {
  it('asks the current key, and no other when that opens it', async () => {
    const of = kms();
    expect(await decrypt(of)).toBe('opened');
    expect(asked).toEqual(['current']);
    expect(counts(of)).toEqual({ current: [1, 0], replica: [0, 0], previous: [0, 0], older: [0, 0] });
    expect([of.calls, of.failures]).toEqual([1n, 0n]);
  });

  it.each(['kms_unavailable', 'kms_refused'] as const)('%s: the next key is asked, in order', async (failure) => {
    answers = { ...answers, current: failure, replica: failure, previous: failure };
    const of = kms();
    expect(await decrypt(of)).toBe('opened');
    expect(asked).toEqual(['current', 'replica', 'previous', 'older']);
    expect([of.calls, of.failures]).toEqual([4n, 3n]);
  });

  it('a blob of another key is not tried with its replicas, and is no failure', async () => {
    answers.current = 'key_blob_invalid';
    const of = kms();
    expect(await decrypt(of)).toBe('opened');
    expect(asked).toEqual(['current', 'previous']);
    expect([of.calls, of.failures]).toEqual([2n, 0n]);
    expect(avoided(of)).toEqual([]);
  });

  it('a blob of none is the blob’s fault, unless a key could not be asked', async () => {
    answers = { ...answers, current: 'key_blob_invalid', previous: 'key_blob_invalid', older: 'key_blob_invalid' };
    await expectCode(decrypt(kms()), 'key_blob_invalid');
    expect(asked).toEqual(['current', 'previous', 'older']);
    answers.previous = 'kms_refused';
    await expectCode(decrypt(kms()), 'kms_refused');
    answers.older = 'kms_unavailable';
    await expectCode(decrypt(kms()), 'kms_unavailable');
  });

  it.each(['other key', 'plaintext', 'no envelope', 'kms_response_invalid'] as const)(
    'a wrong answer (%s) is not passed over',
    async (answer) => {
      answers.current = answer;
      const of = kms();
      await expectCode(decrypt(of), 'kms_response_invalid');
      expect(asked).toEqual(['current']);
      expect(of.failures).toBe(1n);
    },
  );

  it('what the caller finds wrong with a key goes to the caller, and no other key is asked', async () => {
    const refuse = (): never => {
      throw new QvError('wallet_keys_mismatch');
    };
    await expectCode(kms().decrypt(blob, CONTEXT, refuse), 'wallet_keys_mismatch');
    expect(asked).toEqual(['current']);
  });

  it('with one key alone nothing is different', async () => {
    answers.current = 'key_blob_invalid';
    const of = kms(['current']);
    await expectCode(decrypt(of), 'key_blob_invalid');
    expect([of.calls, of.failures]).toEqual([1n, 1n]);
  });
});

describe('what is remembered', () => {
  it('a key that did not answer is asked last, until its time is over; then by one caller', async () => {
    answers.current = 'kms_unavailable';
    const of = kms();
    await decrypt(of);
    await decrypt(of, utf8('another'));
    expect(asked).toEqual(['current', 'replica', 'replica']);
    expect(avoided(of)).toEqual(['current']);

    clockMs += LIMITS.kmsAvoidMilliseconds;
    expect(avoided(of)).toEqual([]);
    asked = [];
    answers.current = 'silence';
    // The first one waits for it; whoever comes meanwhile does not.
    void decrypt(of, utf8('third')).catch(codeOf);
    await decrypt(of, utf8('fourth'));
    expect(asked).toEqual(['current', 'replica']);
  });

  it('one that answers again is the first again', async () => {
    answers.current = 'kms_unavailable';
    const of = kms();
    await decrypt(of);
    answers.current = 'ok';
    clockMs += LIMITS.kmsAvoidMilliseconds;
    asked = [];
    await decrypt(of, utf8('another'));
    await decrypt(of, utf8('third'));
    expect(asked).toEqual(['current', 'current']);
  });

  it('one that is avoided is asked all the same when no other opens the blob', async () => {
    answers.current = 'kms_unavailable';
    const of = kms();
    await decrypt(of);
    answers = {
      ...answers,
      current: 'ok',
      replica: 'kms_refused',
      previous: 'key_blob_invalid',
      older: 'key_blob_invalid',
    };
    asked = [];
    expect(await decrypt(of, utf8('another'))).toBe('opened');
    expect(asked).toEqual(['replica', 'previous', 'older', 'current']);
  });

  it('a refusal is no silence', async () => {
    answers.current = 'kms_refused';
    const of = kms();
    await decrypt(of);
    expect(avoided(of)).toEqual([]);
    await decrypt(of, utf8('another'));
    expect(asked).toEqual(['current', 'replica', 'current', 'replica']);
  });

  it('of a blob which key opened it, for a while', async () => {
    answers.current = 'key_blob_invalid';
    const of = kms();
    await decrypt(of);
    await decrypt(of);
    await decrypt(of, utf8('another'));
    expect(asked).toEqual(['current', 'previous', 'previous', 'current', 'previous']);
    clockMs += LIMITS.kmsOpenedMilliseconds;
    asked = [];
    await decrypt(of);
    expect(asked).toEqual(['current', 'previous']);
  });

  it('no more than a bounded number of blobs', async () => {
    answers.current = 'key_blob_invalid';
    const of = kms(['current', 'previous']);
    await decrypt(of);
    for (let index = 0; index < LIMITS.kmsOpenedBlobs; index += 100)
      await Promise.all(Array.from({ length: 100 }, (_, n) => decrypt(of, utf8(`blob ${index + n}`))));
    asked = [];
    await decrypt(of);
    await decrypt(of, utf8(`blob ${LIMITS.kmsOpenedBlobs - 1}`));
    expect(asked).toEqual(['current', 'previous', 'previous']);
  });
});

describe('new keys', () => {
  it('are made under the current key alone', async () => {
    const of = kms();
    expect(await of.generateDataKey(CONTEXT, (_, { ciphertext }) => ciphertext)).toEqual(blob);
    for (const failure of ['kms_unavailable', 'kms_refused', 'key_blob_invalid'] as const) {
      answers.current = failure;
      await expectCode(
        of.generateDataKey(CONTEXT, () => undefined),
        failure,
      );
    }
    expect(new Set(asked)).toEqual(new Set(['current']));
  });
});

describe('what is sealed for a second key', () => {
  const WITH = ['current', 'previous', 'second'] as const;
  const SECOND_CONTEXT = { wallet: 'w', purpose: 'second' };
  const either = (of: Kms, openSecond = () => 'by the second'): Promise<string> =>
    of.decrypt(blob, CONTEXT, () => 'by the first', {
      ciphertext: secondBlob,
      context: SECOND_CONTEXT,
      open: openSecond,
    });

  it('opens by the first where that is to be had', async () => {
    expect(await either(kms(WITH))).toBe('by the first');
    expect(asked).toEqual(['current']);
  });

  it('opens by the second where no other key does', async () => {
    for (const failure of ['kms_unavailable', 'kms_refused', 'key_blob_invalid'] as const) {
      asked = [];
      answers = { ...answers, current: failure, previous: failure };
      expect(await either(kms(WITH))).toBe('by the second');
      expect(asked).toEqual(['current', 'previous', 'second']);
    }
  });

  it('is not asked of the second where nothing was sealed for it', async () => {
    answers = { ...answers, current: 'kms_unavailable', previous: 'key_blob_invalid' };
    await expectCode(decrypt(kms(WITH)), 'kms_unavailable');
    expect(asked).toEqual(['current', 'previous']);
  });

  it('opens by the current key, or one of before, where that was the second one when it was sealed', async () => {
    // The first blob is under a key that is not measured any more.
    answers = { ...answers, current: 'key_blob_invalid', previous: 'key_blob_invalid', second: 'key_blob_invalid' };
    const of = kms(WITH);
    await expectCode(either(of), 'key_blob_invalid');
    expect(asked).toEqual(['current', 'previous', 'second', 'current', 'previous']);
    opensSecondBlob = 'current';
    asked = [];
    expect(await either(of)).toBe('by the second');
    expect(asked).toEqual(['current', 'previous', 'second', 'current']);
    // And is asked for that one first from then on.
    asked = [];
    expect(await either(of)).toBe('by the second');
    expect(asked).toEqual(['current']);
    opensSecondBlob = 'previous';
    asked = [];
    expect(await either(kms(['current', 'previous']))).toBe('by the second');
    expect(asked).toEqual(['current', 'previous', 'current', 'previous']);
  });

  it('nobody waits twice for a key that does not answer', async () => {
    answers = { ...answers, current: 'kms_unavailable', previous: 'kms_unavailable', second: 'kms_unavailable' };
    await expectCode(either(kms(WITH)), 'kms_unavailable');
    expect(asked).toEqual(['current', 'previous', 'second']);
  });

  it('that does not open is a blob that is not valid: the key that did not answer counts more', async () => {
    const notOurs = (): never => {
      throw new QvError('key_blob_invalid', { path: 'second' });
    };
    answers.current = 'kms_unavailable';
    answers.previous = 'key_blob_invalid';
    await expectCode(either(kms(WITH), notOurs), 'kms_unavailable');
    answers.current = 'key_blob_invalid';
    await expectCode(either(kms(WITH), notOurs), 'key_blob_invalid');
  });

  it('with a first key that does not answer, a second blob that is spoilt does not stand in the way', async () => {
    answers.current = 'kms_unavailable';
    const of = kms(['current', 'second']);
    expect(await either(of)).toBe('by the second');
    // It answers again, is still asked last, and opens what the second one cannot.
    answers.current = 'ok';
    asked = [];
    const spoilt = (): never => {
      throw new QvError('key_blob_invalid');
    };
    expect(await either(of, spoilt)).toBe('by the first');
    expect(asked).toEqual(['second', 'current']);
  });

  it('a wrong answer for it is no reason to go on', async () => {
    answers = { ...answers, current: 'kms_unavailable', previous: 'key_blob_invalid', second: 'other key' };
    await expectCode(either(kms(WITH)), 'kms_response_invalid');
  });

  const both = (of: Kms) =>
    of.generateTwo(CONTEXT, SECOND_CONTEXT, (_, first, second) => [first.ciphertext, second.ciphertext]);

  it('is made under both keys together, or not at all', async () => {
    expect(kms(['current']).hasSecond).toBe(false);
    const of = kms(WITH);
    expect(of.hasSecond).toBe(true);
    expect(await both(of)).toEqual([blob, blob]);
    expect(asked).toEqual(['current', 'second']);
    for (const failure of ['kms_unavailable', 'kms_refused'] as const) {
      answers.second = failure;
      const error = await expectCode(both(of), failure);
      expect(error.facts.path).toBe('kms.second');
    }
    answers = { ...answers, current: 'kms_refused', second: 'ok' };
    expect((await expectCode(both(of), 'kms_refused')).facts.path).toBeUndefined();
  });

  it('is not opened before both are there, and not at all with a recipient key that failed meanwhile', async () => {
    let opened = 0;
    isBurnt = true;
    const open = (): void => void opened++;
    await expectCode(kms(WITH).generateTwo(CONTEXT, SECOND_CONTEXT, open), 'kms_unavailable');
    answers.second = 'kms_refused';
    isBurnt = false;
    await expectCode(kms(WITH).generateTwo(CONTEXT, SECOND_CONTEXT, open), 'kms_refused');
    expect(opened).toBe(0);
  });
});

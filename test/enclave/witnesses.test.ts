import { Log } from '@quantumvault/enclave/log.ts';
import { Witnesses } from '@quantumvault/enclave/witnesses.ts';
import { bootIdOf, timeMs } from '@quantumvault/shared/brands.ts';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { cosignatureBytes, cosignatureMessage } from '@quantumvault/shared/tlog/cosignature.ts';
import { formatSignatureLines, noteSignature, parseNote } from '@quantumvault/shared/tlog/note.ts';
import { type VerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import nacl from 'tweetnacl';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { testVault } from '../support/vault.ts';
import { party } from '../support/wallet-kit.ts';

const vault = testVault();
const boot = bootIdOf(vault.bootPublicKey);
const newLog = (name = 'test.example/qv') => new Log(vault, boot, name);
const grow = (log: Log, leaves: number) => {
  for (let index = 0; index < leaves; index++) log.append({ kind: 'frozen', reason: 'test' }, timeMs(1));
  return log;
};

interface Witness {
  readonly key: VerifierKey;
  /** A signature line under this witness's name. */
  line(note: Uint8Array, change?: { text?: string; name?: VerifierKey }): Uint8Array;
}

function witness(name: string): Witness {
  const { publicKey, secretKey } = nacl.sign.keyPair();
  const key = verifierKey(name, 'cosignature', publicKey);
  return {
    key,
    line: (note, { text = parseNote(note).text, name: as = key } = {}) => {
      const message = cosignatureMessage(text, 1_700_000_000n);
      const signature = nacl.sign.detached(message, secretKey);
      return utf8(
        formatSignatureLines([noteSignature(as, cosignatureBytes({ timeSeconds: 1_700_000_000n, signature }))]),
      );
    },
  };
}

const three = [witness('w1.example'), witness('w2.example'), witness('w3.example')] as const;
const [w1, w2, w3] = three;
const subject = { wallet: party().address, requester: party().address };
const twoOfThree = (log: Log) => new Witnesses({ threshold: 2, keys: three.map(({ key }) => key) }, log.key);
const cosigned = (note: Uint8Array, ...lines: readonly Uint8Array[]) => concatBytes(note, ...lines);
const isSettled = async (promise: Promise<unknown>): Promise<boolean> =>
  await Promise.race([promise.then(() => true), new Promise<false>((resolve) => setTimeout(() => resolve(false), 5))]);

afterEach(() => vi.useRealTimers());

describe('signatures held back for witnesses', () => {
  it('wait for nobody without a threshold', async () => {
    await new Witnesses({ threshold: 0, keys: [] }, newLog().key).cover(5n, subject);
  });

  it('are released by K cosignatures of a checkpoint that covers them, all at once', async () => {
    const log = grow(newLog(), 3);
    const witnesses = twoOfThree(log);
    const waiting = [0n, 1n, 2n].map((sequence) => witnesses.cover(sequence, subject));
    const later = witnesses.cover(3n, subject);
    const note = log.checkpoint();
    expect(witnesses.take(cosigned(note, w1.line(note), w3.line(note)))).toBe(3n);
    await Promise.all(waiting);
    // What is covered waits no more; what is not, does.
    await witnesses.cover(1n, subject);
    expect(await isSettled(later)).toBe(false);
    grow(log, 1);
    const next = log.checkpoint();
    witnesses.take(cosigned(next, w2.line(next), w1.line(next)));
    await later;
  });

  it('stay where they are while the cosignatures are too few, bad, or of others', async () => {
    const log = grow(newLog(), 3);
    const witnesses = twoOfThree(log);
    const held = witnesses.cover(0n, subject);
    const note = log.checkpoint();
    const stranger = witness('w4.example');
    const other = newLog();
    const empty = other.checkpoint();
    for (const lines of [
      [],
      [w1.line(note)],
      [w1.line(note), w1.line(note)],
      [w1.line(note), stranger.line(note)],
      // Over another text, and one witness under two names.
      [w1.line(note), w2.line(note, { text: parseNote(empty).text })],
      [w1.line(note), w1.line(note, { name: w2.key })],
    ]) {
      await expectCode(() => witnesses.take(cosigned(note, ...lines)), 'witnesses_too_few');
    }
    expect(witnesses.covered).toBe(0n);
    expect(await isSettled(held)).toBe(false);
    // A bad line spoils nothing for two good ones.
    witnesses.take(cosigned(note, w2.line(note, { text: parseNote(empty).text }), w1.line(note), w3.line(note)));
    await held;
  });

  it('are not released by checkpoints of another log, of another key, or of nobody', async () => {
    const log = grow(newLog(), 3);
    const witnesses = twoOfThree(log);
    const foreign = grow(newLog('other.example/qv'), 3).checkpoint();
    const both = (note: Uint8Array) => cosigned(note, w1.line(note), w2.line(note));
    await expectCode(() => witnesses.take(both(foreign)), 'log_note_unsigned');
    const forged = utf8(new TextDecoder().decode(log.checkpoint()).replace('\n3\n', '\n9\n'));
    await expectCode(() => witnesses.take(both(forged)), 'log_note_signature_invalid');
    await expectCode(() => witnesses.take(utf8('nonsense')), 'log_note_malformed');
    expect(witnesses.covered).toBe(0n);
  });

  it('are not uncovered by an older checkpoint', async () => {
    const log = grow(newLog(), 3);
    const witnesses = twoOfThree(log);
    const older = log.checkpoint();
    grow(log, 3);
    const newer = log.checkpoint();
    const both = (note: Uint8Array) => cosigned(note, w1.line(note), w2.line(note));
    expect(witnesses.take(both(newer))).toBe(6n);
    expect(witnesses.take(both(older))).toBe(6n);
  });

  it('are refused after a time, and by a freeze at once', async () => {
    vi.useFakeTimers();
    const witnesses = twoOfThree(newLog());
    const late = expectCode(() => witnesses.cover(0n, subject), 'witnesses_unavailable');
    await vi.advanceTimersByTimeAsync(LIMITS.witnessWaitMilliseconds);
    await late;
    const frozen = expectCode(() => witnesses.cover(0n, subject), 'frozen');
    witnesses.refuse(({ wallet }) => wallet !== subject.wallet, new QvError('frozen'));
    witnesses.refuse(({ wallet }) => wallet === subject.wallet, new QvError('frozen'));
    await frozen;
  });
});

describe('the question for a longer log', () => {
  it('is answered when a leaf comes, at once when it is there, and at the latest after its time', async () => {
    vi.useFakeTimers();
    const log = grow(newLog(), 2);
    await log.longerThan(1n);
    let answered = false;
    const asked = log.longerThan(2n).then(() => {
      answered = true;
    });
    await vi.advanceTimersByTimeAsync(1);
    expect(answered).toBe(false);
    grow(log, 1);
    await asked;
    const patient = log.longerThan(3n);
    await vi.advanceTimersByTimeAsync(LIMITS.checkpointWaitMilliseconds);
    await patient;
  });
});

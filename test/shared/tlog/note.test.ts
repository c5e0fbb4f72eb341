/** Signed notes, verifier keys and cosignatures: Go's and the specifications' own, and what is close to them. */
import { concatBytes, fromBase64, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { cosignatureBytes, cosignatureMessage, readCosignature } from '@quantumvault/shared/tlog/cosignature.ts';
import {
  formatNote,
  formatSignatureLines,
  type Note,
  noteSignature,
  parseNote,
  parseSignatureLines,
  verifyNote,
} from '@quantumvault/shared/tlog/note.ts';
import {
  checkDistinct,
  formatVerifierKey,
  parseVerifierKey,
  type VerifierKey,
  verifierKey,
} from '@quantumvault/shared/tlog/verifier-key.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { logSigner, vectors, verify, witnessSigner } from './keys.ts';
import { flipped } from './naive.ts';

const { go, c2sp, formats } = vectors;
const peter = parseVerifierKey(go.peterKey);
const enoch = parseVerifierKey(go.enochKey);
const signed = (lines: string): Uint8Array => utf8(`${go.text}\n${lines}`);
const namesOf = (bytes: Uint8Array, keys: readonly VerifierKey[]): string[] =>
  verifyNote(parseNote(bytes), keys, verify).map(({ key }) => key.name);
const noteCode = (bytes: Uint8Array) => refusalOf(() => parseNote(bytes))?.code;
const verifyCode = (bytes: Uint8Array, keys: readonly VerifierKey[]) =>
  refusalOf(() => verifyNote(parseNote(bytes), keys, verify))?.code;
const keyCode = (text: string) => refusalOf(() => parseVerifierKey(text))?.code;

describe('verifier keys', () => {
  it.each([go.peterKey, go.enochKey, ...formats.keys])('%s', (text) => {
    const key = parseVerifierKey(text);
    expect(formatVerifierKey(key)).toBe(text);
    expect(verifierKey(key.name, key.type, key.publicKey)).toEqual(key);
  });

  it('of type 4 are witnesses', () => {
    expect(formats.keys.map((text) => parseVerifierKey(text).type)).toEqual(['ed25519', 'cosignature']);
  });

  it.each([...go.badKeys, ...formats.badKeys, '', '++', go.peterKey.replace('c74f20a3', 'C74F20A3')])(
    'refused: %s',
    (text) => expect(keyCode(text)).toBe('log_key_malformed'),
  );

  it('are refused when any part is missing or any character another', () => {
    for (let start = 0; start <= go.peterKey.length; start++)
      for (let end = start + 1; end <= go.peterKey.length; end++)
        if (end - start < go.peterKey.length)
          expect(keyCode(go.peterKey.slice(start, end)), `${start}-${end}`).toBe('log_key_malformed');
    for (let at = 0; at < go.peterKey.length; at++) {
      const other = String.fromCharCode(go.peterKey.charCodeAt(at) + 1);
      expect(keyCode(go.peterKey.slice(0, at) + other + go.peterKey.slice(at + 1))).toBe('log_key_malformed');
    }
  });

  it.each(['', 'a b', 'a+b', 'a\u2003b', 'a\u0085b', 'a\nb', 'a\u0001', '\ud800'])('have no name like %j', (name) => {
    expect(refusalOf(() => verifierKey(name, 'ed25519', peter.publicKey))?.code).toBe('log_key_malformed');
  });

  it('have 32 bytes', () => {
    expect(refusalOf(() => verifierKey('a', 'ed25519', new Uint8Array(31)))?.code).toBe('log_key_malformed');
  });

  it('are counted once each, whatever they are called', () => {
    const again = verifierKey('other', 'cosignature', peter.publicKey);
    const asWitness = verifierKey('PeterNeumann', 'cosignature', peter.publicKey);
    expect(refusalOf(() => checkDistinct([peter, enoch, asWitness]))).toBeUndefined();
    expect(refusalOf(() => checkDistinct([peter, enoch, peter]))?.code).toBe('log_key_repeated');
    expect(refusalOf(() => checkDistinct([asWitness, again]))?.code).toBe('log_key_repeated');
    const collides = { ...enoch, name: peter.name, id: peter.id };
    expect(refusalOf(() => checkDistinct([peter, collides]))?.code).toBe('log_key_repeated');
    expect(verifyCode(signed(go.peterLine), [peter, peter])).toBe('log_key_repeated');
  });
});

describe('notes of others', () => {
  it('are signed byte for byte as Go signs', () => {
    const signer = logSigner('PeterNeumann', fromBase64(go.peterSeed));
    expect(signer.key).toEqual(peter);
    expect(formatNote({ text: go.text, signatures: [signer.sign(go.text)] })).toEqual(signed(go.peterLine));
  });

  it('verify by the keys that are known', () => {
    expect(namesOf(signed(go.peterLine + go.enochLine), [peter])).toEqual(['PeterNeumann']);
    expect(namesOf(signed(go.peterLine + go.enochLine), [enoch, peter])).toEqual(['PeterNeumann', 'EnochRoot']);
    expect(verifyCode(signed(go.peterLine + go.enochLine), [])).toBe('log_note_unsigned');
  });

  it.each([c2sp.note, c2sp.cosigned])('round trip: %j', (text) => {
    const note = parseNote(utf8(text));
    expect(formatNote(note)).toEqual(utf8(text));
    expect(text.startsWith(`${note.text}\n\u2014`)).toBe(true);
  });

  it('end their text at the last blank line', () => {
    const signer = logSigner('a');
    const text = `one\n\n${formatSignatureLines([signer.sign('one\n')])}`;
    const bytes = formatNote({ text, signatures: [signer.sign(text)] });
    expect(parseNote(bytes).text).toBe(text);
    expect(namesOf(bytes, [signer.key])).toEqual(['a']);
  });

  it.each([
    '',
    go.text,
    `${go.text}\n`,
    `${go.text}\n${go.peterLine.slice(0, -1)}`,
    `\u0001${go.text}\n${go.peterLine}`,
    `\r${go.text}\n${go.peterLine}`,
    `\t${go.text}\n${go.peterLine}`,
    `${go.text}\n${go.peterLine.replace('PeterNeumann', 'Bad Name')}`,
    `${go.text}\n${go.peterLine.replace('PeterNeumann', 'Bad+Name')}`,
    `${go.text}\n${go.peterLine.replace('PeterNeumann', 'Bad\u00a0Name')}`,
    `${go.text}\n${go.peterLine}Unexpected line.\n`,
    `${go.text}\n${go.peterLine.replace('\u2014', '-')}`,
    `${go.text}\n${go.peterLine.replace('\u2014 ', '\u2014  ')}`,
    `${go.text}\n${go.peterLine.replace('\n', ' \n')}`,
    `${go.text}\n${go.peterLine.replace('=\n', '\n')}`,
    `${go.text}\n${go.peterLine.replace('nAM=', 'nAN=')}`,
    `${go.text}\n\u2014 a AAAAAA==\n`,
    `${go.text}\n\u2014 a \n`,
  ])('malformed: %j', (text) => expect(noteCode(utf8(text))).toBe('log_note_malformed'));

  it('malformed: bytes that are not UTF-8', () => {
    expect(noteCode(concatBytes(Uint8Array.of(0xff), signed(go.peterLine)))).toBe('log_note_malformed');
  });

  it('a byte order mark is text: it was not signed', () => {
    const bytes = concatBytes(Uint8Array.of(0xef, 0xbb, 0xbf), signed(go.peterLine));
    expect(parseNote(bytes).text.charCodeAt(0)).toBe(0xfeff);
    expect(verifyCode(bytes, [peter])).toBe('log_note_signature_invalid');
  });

  it('have limits, and what unknown keys repeat is ignored up to them', () => {
    const most = go.enochLine.repeat(LIMITS.noteSignatures - 1) + go.peterLine;
    expect(LIMITS.noteSignatures).toBeGreaterThanOrEqual(16);
    expect(namesOf(signed(most), [peter])).toEqual(['PeterNeumann']);
    expect(noteCode(signed(most + go.peterLine))).toBe('log_note_malformed');
    expect(noteCode(utf8(`${'x'.repeat(LIMITS.noteBytes)}\n\n${go.peterLine}`))).toBe('log_note_malformed');
  });

  it('are refused for a known key that signed twice or wrongly', () => {
    expect(verifyCode(signed(go.peterLine + go.peterLine), [peter])).toBe('log_note_signature_repeated');
    const wrong = `${go.peterLine.slice(0, 60)}ABCD${go.peterLine.slice(60)}`;
    expect(verifyCode(signed(wrong), [peter])).toBe('log_note_signature_invalid');
    expect(verifyCode(signed(wrong + go.enochLine), [enoch, peter])).toBe('log_note_signature_invalid');
  });

  it('ignore a key of the same name with another id, or of the same id with another name', () => {
    const misnamed = go.peterLine.replace('PeterNeumann', 'CarmenSandiego');
    const otherId = go.peterLine.replace('x08g', 'xxxx');
    expect(verifyCode(signed(misnamed + otherId), [peter])).toBe('log_note_unsigned');
    expect(namesOf(signed(misnamed + otherId + go.peterLine), [peter])).toEqual(['PeterNeumann']);
  });

  it('are not written when they would not read back', () => {
    const signatures = [logSigner('a').sign('x')];
    for (const note of [
      { text: 'no newline', signatures },
      { text: 'lone \ud800\n', signatures },
      { text: 'tab\t\n', signatures },
      { text: 'none\n', signatures: [] },
      { text: 'name\n', signatures: [{ name: 'a b', keyId: 1, signature: new Uint8Array(64) }] },
    ])
      expect(refusalOf(() => formatNote(note))?.code).toBe('log_note_malformed');
  });
});

describe('cosignatures', () => {
  const text = c2sp.checkpoint;

  it('are over the message of the specification', () => {
    expect(cosignatureMessage(text, BigInt(c2sp.cosignatureTime))).toEqual(utf8(c2sp.cosignatureMessage));
    const [, witness] = parseNote(utf8(c2sp.cosigned)).signatures;
    expect(witness?.name).toBe('witness.example.com/w1');
    const read = readCosignature(witness?.signature ?? new Uint8Array(0));
    expect(read?.timeSeconds).toBe(BigInt(c2sp.cosignatureTime));
  });

  it('carry a time of others', () => {
    const signature = fromBase64(formats.timestamped).subarray(4);
    const read = readCosignature(signature);
    expect(read?.timeSeconds).toBe(BigInt(formats.timestampedTime));
    expect(read && cosignatureBytes(read)).toEqual(signature);
    expect(readCosignature(fromBase64(formats.notTimestamped).subarray(4))).toBeUndefined();
  });

  it('verify beside the log, with their time', () => {
    const log = logSigner('log');
    const witness = witnessSigner('w', 1_700_000_000n);
    const note: Note = { text, signatures: [log.sign(text), witness.sign(text)] };
    expect(verifyNote(parseNote(formatNote(note)), [log.key, witness.key], verify)).toEqual([
      { key: log.key, timeSeconds: undefined },
      { key: witness.key, timeSeconds: 1_700_000_000n },
    ]);
    const answer = utf8(formatSignatureLines([witness.sign(text)]));
    expect(parseSignatureLines(answer)).toEqual([witness.sign(text)]);
  });

  it('do not verify with another time, another text or as another type', () => {
    const seed = new Uint8Array(32).fill(7);
    const witness = witnessSigner('w', 5n, seed);
    const bytes = witness.sign(text).signature;
    const isInvalid = (signature: Uint8Array, key = witness.key, over = text): boolean =>
      refusalOf(() => verifyNote({ text: over, signatures: [noteSignature(key, signature)] }, [key], verify))?.code ===
      'log_note_signature_invalid';
    expect(isInvalid(bytes)).toBe(false);
    for (let bit = 0; bit < bytes.length * 8; bit += 13) expect(isInvalid(flipped(bytes, bit))).toBe(true);
    expect(isInvalid(bytes, witness.key, `${text}extension\n`)).toBe(true);
    expect(isInvalid(bytes.subarray(8))).toBe(true);
    expect(isInvalid(concatBytes(bytes, Uint8Array.of(0)))).toBe(true);
    const asLog = logSigner('w', seed);
    expect(asLog.key.id).not.toBe(witness.key.id);
    expect(isInvalid(bytes.subarray(8), asLog.key)).toBe(true);
    expect(isInvalid(asLog.sign(text).signature)).toBe(true);
  });

  it('have no time beyond 2^63 - 1', () => {
    const late = concatBytes(Uint8Array.of(0x80), new Uint8Array(71));
    expect(readCosignature(late)).toBeUndefined();
    expect(() => cosignatureMessage(text, 2n ** 63n)).toThrow(RangeError);
    expect(() => cosignatureMessage(text, -1n)).toThrow(RangeError);
    expect(() => cosignatureBytes({ timeSeconds: 2n ** 63n, signature: new Uint8Array(64) })).toThrow(RangeError);
  });
});

describe('any bytes', () => {
  const note = utf8(c2sp.cosigned);

  it('parse to what formats back to them, or are refused as a note', () => {
    const near = fc.nat(note.length * 8 - 1).map((bit) => flipped(note, bit) as Uint8Array);
    const cuts = fc.tuple(fc.nat(note.length), fc.nat(note.length)).map(([a, b]) => note.slice(Math.min(a, b), b));
    const lines = fc
      .array(fc.constantFrom('\n', 'a', '\u2014 ', 'w ', toBase64(new Uint8Array(68)), '\n\n', '+', '='))
      .map((parts) => utf8(parts.join('')));
    fc.assert(
      fc.property(fc.oneof(near, cuts, lines, fc.uint8Array({ maxLength: 300 })), (bytes) => {
        let parsed: Note | undefined;
        const refusal = refusalOf(() => {
          parsed = parseNote(bytes);
        });
        if (parsed === undefined) expect(refusal?.code).toBe('log_note_malformed');
        else expect(formatNote(parsed)).toEqual(bytes);
      }),
      { numRuns: 2_000 },
    );
  });

  it('are a verifier key in one spelling only', () => {
    const near = fc
      .tuple(fc.constantFrom(...formats.keys, go.peterKey), fc.nat(80), fc.string({ unit: 'binary', maxLength: 2 }))
      .map(([text, at, part]) => text.slice(0, at) + part + text.slice(at + 1));
    fc.assert(
      fc.property(fc.oneof(near, fc.string({ unit: 'binary' })), (text) => {
        let key: VerifierKey | undefined;
        const refusal = refusalOf(() => {
          key = parseVerifierKey(text);
        });
        if (key === undefined) expect(refusal?.code).toBe('log_key_malformed');
        else expect(formatVerifierKey(key)).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });
});

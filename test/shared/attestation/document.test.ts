/** The decoder alone: every way in which bytes are not the one form of an attestation document. */

import { type AttestationDocument, decodeAttestationDocument } from '@quantumvault/shared/attestation/document.ts';
import { concatBytes, fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { describe, expect, test } from 'vitest';
import { noteCode } from '../../support/codes-seen.ts';
import * as s from './synthetic.ts';

const CERTIFICATE = s.filled(0x30, 600);
const PAYLOAD = 'attestation_payload_malformed';
const ENVELOPE = 'attestation_envelope_malformed';

async function fields(): Promise<s.Fields> {
  return s.fieldsOf({ cabundle: [CERTIFICATE, CERTIFICATE], certificate: CERTIFICATE });
}

/** 'ok', or the code and the path named. */
function decoded(bytes: Uint8Array): string {
  try {
    decodeAttestationDocument(bytes);
    return 'ok';
  } catch (error) {
    noteCode(codeOf(error));
    return error instanceof QvError ? `${error.code} ${error.facts.path ?? ''}`.trim() : codeOf(error);
  }
}

async function withFields(change: (fields: s.Fields) => unknown, encoding: 'definite' | 'indefinite' = 'indefinite') {
  const changed = await fields();
  change(changed);
  return decoded(s.envelope(s.encodePayload(changed, encoding)));
}

async function document(change: (fields: s.Fields) => unknown): Promise<AttestationDocument> {
  const changed = await fields();
  change(changed);
  return decodeAttestationDocument(s.envelope(s.encodePayload(changed)));
}

const payload = s.encodePayload(await fields());
const definite = s.encodePayload(await fields(), 'definite');
const { bytes, map, array, NULL, PROTECTED } = s;
const SIGNATURE = bytes(s.filled(1, 96));
const cose = (...parts: readonly Uint8Array[]): Uint8Array => array(parts);

describe('envelope', () => {
  const rows: readonly (readonly [string, Uint8Array, string])[] = [
    ['as it should be', cose(bytes(PROTECTED), map([]), bytes(payload), SIGNATURE), 'ok'],
    ['nothing', new Uint8Array(0), `${ENVELOPE} cose`],
    ['three parts', cose(bytes(PROTECTED), map([]), bytes(payload)), `${ENVELOPE} cose`],
    ['five parts', cose(bytes(PROTECTED), map([]), bytes(payload), SIGNATURE, NULL), `${ENVELOPE} cose`],
    ['tag 18', concatBytes(Uint8Array.of(0xd2), s.envelope(payload)), `${ENVELOPE} cose`],
    [
      'indefinite array',
      concatBytes(fromHex('9f'), s.envelope(payload).subarray(1), fromHex('ff')),
      `${ENVELOPE} cose`,
    ],
    ['array length not shortest', concatBytes(fromHex('9804'), s.envelope(payload).subarray(1)), `${ENVELOPE} cose`],
    ['protected as text', cose(s.text('xxxx'), map([]), bytes(payload), SIGNATURE), `${ENVELOPE} protected`],
    ['protected as a map', cose(PROTECTED, map([]), bytes(payload), SIGNATURE), `${ENVELOPE} protected`],
    [
      'protected with a second parameter',
      cose(bytes(fromHex('a201382203f6')), map([]), bytes(payload), SIGNATURE),
      'attestation_algorithm_unsupported protected',
    ],
    [
      'protected with ES512',
      cose(bytes(fromHex('a1013823')), map([]), bytes(payload), SIGNATURE),
      'attestation_algorithm_unsupported protected',
    ],
    [
      'protected with the algorithm by name',
      cose(bytes(concatBytes(fromHex('a101'), s.text('ES384'))), map([]), bytes(payload), SIGNATURE),
      'attestation_algorithm_unsupported protected',
    ],
    [
      'unprotected with a parameter',
      cose(bytes(PROTECTED), fromHex('a10126'), bytes(payload), SIGNATURE),
      `${ENVELOPE} unprotected`,
    ],
    [
      'unprotected indefinite',
      cose(bytes(PROTECTED), fromHex('bfff'), bytes(payload), SIGNATURE),
      `${ENVELOPE} unprotected`,
    ],
    ['unprotected null', cose(bytes(PROTECTED), NULL, bytes(payload), SIGNATURE), `${ENVELOPE} unprotected`],
    [
      'unprotected as a string',
      cose(bytes(PROTECTED), bytes(map([])), bytes(payload), SIGNATURE),
      `${ENVELOPE} unprotected`,
    ],
    ['payload detached', cose(bytes(PROTECTED), map([]), NULL, SIGNATURE), `${ENVELOPE} payload`],
    ['payload empty', cose(bytes(PROTECTED), map([]), fromHex('40'), SIGNATURE), `${ENVELOPE} payload`],
    [
      'payload over 16,384 bytes',
      cose(bytes(PROTECTED), map([]), bytes(s.filled(0, 16_385)), SIGNATURE),
      `${ENVELOPE} payload`,
    ],
    [
      'payload in chunks',
      cose(bytes(PROTECTED), map([]), concatBytes(fromHex('5f'), bytes(payload), fromHex('ff')), SIGNATURE),
      `${ENVELOPE} payload`,
    ],
    [
      'signature of 95 bytes',
      cose(bytes(PROTECTED), map([]), bytes(payload), bytes(s.filled(1, 95))),
      `${ENVELOPE} signature`,
    ],
    [
      'signature of 97 bytes',
      cose(bytes(PROTECTED), map([]), bytes(payload), bytes(s.filled(1, 97))),
      `${ENVELOPE} signature`,
    ],
    ['a trailing byte', concatBytes(s.envelope(payload), fromHex('00')), `${ENVELOPE} end`],
    ['a trailing break', concatBytes(s.envelope(payload), fromHex('ff')), `${ENVELOPE} end`],
    ['32 KiB and one byte', s.filled(0, 32 * 1024 + 1), 'attestation_too_large'],
    ['32 KiB', s.filled(0, 32 * 1024), `${ENVELOPE} cose`],
  ];
  for (const [what, input, result] of rows) test(`${what}: ${result}`, () => expect(decoded(input)).toBe(result));
});

describe('payload', () => {
  const put = (name: string, value: Uint8Array) => (changed: s.Fields) => changed.set(name, value);
  const rows: readonly (readonly [string, (fields: s.Fields) => unknown, string])[] = [
    ['as it should be', () => undefined, 'ok'],
    ['module_id missing', (f) => f.delete('module_id'), `${PAYLOAD} module_id`],
    ['digest missing', (f) => f.delete('digest'), `${PAYLOAD} digest`],
    ['timestamp missing', (f) => f.delete('timestamp'), `${PAYLOAD} timestamp`],
    ['pcrs missing', (f) => f.delete('pcrs'), `${PAYLOAD} pcrs`],
    ['certificate missing', (f) => f.delete('certificate'), `${PAYLOAD} certificate`],
    ['cabundle missing', (f) => f.delete('cabundle'), `${PAYLOAD} cabundle`],
    [
      'optional fields absent',
      (f) => ['public_key', 'user_data', 'nonce'].forEach((name) => void f.delete(name)),
      'ok',
    ],
    ['an unknown field', put('hostname', NULL), `${PAYLOAD} field`],
    ['__proto__', put('__proto__', NULL), `${PAYLOAD} field`],
    [
      'NitroTPM',
      (f) => f.delete('pcrs') && f.set('nitrotpm_pcrs', map([])),
      'attestation_nitrotpm_unsupported nitrotpm_pcrs',
    ],
    ['NitroTPM beside pcrs', put('nitrotpm_pcrs', map([])), 'attestation_nitrotpm_unsupported nitrotpm_pcrs'],
    ['module_id null', put('module_id', NULL), `${PAYLOAD} module_id`],
    ['module_id empty', put('module_id', s.text('')), `${PAYLOAD} module_id`],
    ['module_id as bytes', put('module_id', bytes(utf8('i-0'))), `${PAYLOAD} module_id`],
    ['module_id too long', put('module_id', s.text('i'.repeat(129))), `${PAYLOAD} module_id`],
    ['module_id with an escape sequence', put('module_id', s.text('i-0\u001b[2K')), `${PAYLOAD} module_id`],
    ['module_id beyond ASCII', put('module_id', s.text('і-0')), `${PAYLOAD} module_id`],
    ['digest SHA256', put('digest', s.text('SHA256')), `${PAYLOAD} digest`],
    ['digest in lower case', put('digest', s.text('sha384')), `${PAYLOAD} digest`],
    ['timestamp zero', put('timestamp', s.uint(0)), `${PAYLOAD} timestamp`],
    ['timestamp negative', put('timestamp', fromHex('20')), `${PAYLOAD} timestamp`],
    ['timestamp as a float', put('timestamp', fromHex('fb4276d2e4d2000000')), `${PAYLOAD} timestamp`],
    ['timestamp as a bignum', put('timestamp', fromHex('c24101')), `${PAYLOAD} timestamp`],
    ['timestamp beyond 2^53', put('timestamp', fromHex('1b0020000000000000')), `${PAYLOAD} timestamp`],
    ['timestamp not shortest', put('timestamp', fromHex('1b0000000000000001')), `${PAYLOAD} timestamp`],
    ['pcrs null', put('pcrs', NULL), `${PAYLOAD} pcrs`],
    ['pcrs empty', put('pcrs', map([])), `${PAYLOAD} pcrs`],
    ['pcrs as an array', put('pcrs', array([bytes(s.filled(1))])), `${PAYLOAD} pcrs`],
    [
      'pcrs indefinite',
      put('pcrs', concatBytes(fromHex('bf'), s.uint(0), bytes(s.filled(1)), fromHex('ff'))),
      `${PAYLOAD} pcrs`,
    ],
    ['32 pcrs', put('pcrs', s.encodePcrs(new Map(Array.from({ length: 32 }, (_, i) => [i, s.filled(1)])))), 'ok'],
    ['pcr index 32', put('pcrs', s.encodePcrs(new Map([[32, s.filled(1)]]))), `${PAYLOAD} pcrs`],
    ['pcr index negative', put('pcrs', map([[fromHex('20'), bytes(s.filled(1))]])), `${PAYLOAD} pcrs`],
    ['pcr index as text', put('pcrs', map([[s.text('0'), bytes(s.filled(1))]])), `${PAYLOAD} pcrs`],
    ['pcr index not shortest', put('pcrs', map([[fromHex('1800'), bytes(s.filled(1))]])), `${PAYLOAD} pcrs`],
    [
      'pcr index twice',
      put(
        'pcrs',
        map([
          [s.uint(0), bytes(s.filled(1))],
          [s.uint(0), bytes(s.filled(2))],
        ]),
      ),
      `${PAYLOAD} pcrs`,
    ],
    [
      'pcrs descending',
      put(
        'pcrs',
        s.encodePcrs(
          new Map([
            [1, s.filled(1)],
            [0, s.filled(1)],
          ]),
        ),
      ),
      `${PAYLOAD} pcrs`,
    ],
    [
      '33 pcrs',
      put('pcrs', map(Array.from({ length: 33 }, (_, i) => [s.uint(i), bytes(s.filled(1))]))),
      `${PAYLOAD} pcrs`,
    ],
    ['pcr of 32 bytes', put('pcrs', s.encodePcrs(new Map([[0, s.filled(1, 32)]]))), `${PAYLOAD} pcrs.0`],
    ['pcr of 64 bytes', put('pcrs', s.encodePcrs(new Map([[0, s.filled(1, 64)]]))), `${PAYLOAD} pcrs.0`],
    ['pcr of 0 bytes', put('pcrs', s.encodePcrs(new Map([[0, s.filled(1, 0)]]))), `${PAYLOAD} pcrs.0`],
    ['pcr as text', put('pcrs', map([[s.uint(0), s.text('a'.repeat(48))]])), `${PAYLOAD} pcrs.0`],
    ['certificate empty', put('certificate', bytes(new Uint8Array(0))), `${PAYLOAD} certificate`],
    ['certificate of 1024 bytes', put('certificate', bytes(s.filled(1, 1024))), 'ok'],
    ['certificate of 1025 bytes', put('certificate', bytes(s.filled(1, 1025))), `${PAYLOAD} certificate`],
    ['certificate null', put('certificate', NULL), `${PAYLOAD} certificate`],
    ['cabundle null', put('cabundle', NULL), `${PAYLOAD} cabundle`],
    ['cabundle empty', put('cabundle', array([])), `${PAYLOAD} cabundle`],
    ['cabundle of 8', put('cabundle', array(new Array(8).fill(bytes(CERTIFICATE)))), 'ok'],
    ['cabundle of 9', put('cabundle', array(new Array(9).fill(bytes(CERTIFICATE)))), `${PAYLOAD} cabundle`],
    ['cabundle of 14,000', put('cabundle', array(new Array(14_000).fill(Uint8Array.of(0x40)))), `${PAYLOAD} cabundle`],
    [
      'cabundle with an empty one',
      put('cabundle', array([bytes(CERTIFICATE), fromHex('40')])),
      `${PAYLOAD} cabundle.1`,
    ],
    ['cabundle with a string', put('cabundle', array([s.text('abc')])), `${PAYLOAD} cabundle.0`],
    [
      'cabundle indefinite',
      put('cabundle', concatBytes(fromHex('9f'), bytes(CERTIFICATE), fromHex('ff'))),
      `${PAYLOAD} cabundle`,
    ],
    ['public_key of 1025 bytes', put('public_key', bytes(s.filled(1, 1025))), `${PAYLOAD} public_key`],
    ['user_data of 1024 bytes', put('user_data', bytes(s.filled(1, 1024))), 'ok'],
    ['user_data of 1025 bytes', put('user_data', bytes(s.filled(1, 1025))), `${PAYLOAD} user_data`],
    ['user_data undefined', put('user_data', fromHex('f7')), `${PAYLOAD} user_data`],
    ['user_data false', put('user_data', fromHex('f4')), `${PAYLOAD} user_data`],
    ['nonce of 1025 bytes', put('nonce', bytes(s.filled(1, 1025))), `${PAYLOAD} nonce`],
    ['nonce as text', put('nonce', s.text('nonce')), `${PAYLOAD} nonce`],
    ['nonce in chunks', put('nonce', fromHex('5f4101ff')), `${PAYLOAD} nonce`],
    ['a tagged value', put('nonce', concatBytes(fromHex('c2'), bytes(s.filled(1)))), `${PAYLOAD} nonce`],
    ['1000 levels of arrays', put('nonce', concatBytes(s.filled(0x81, 1000), NULL)), `${PAYLOAD} nonce`],
  ];
  for (const [what, change, result] of rows) {
    test(`${what}: ${result}`, async () => {
      expect(await withFields(change)).toBe(result);
      expect(await withFields(change, 'definite')).toBe(result);
    });
  }

  const nonce = concatBytes(s.text('nonce'), NULL);
  const shapes: readonly (readonly [string, Uint8Array, string])[] = [
    ['a key twice, definite', concatBytes(fromHex('a2'), nonce, nonce), `${PAYLOAD} nonce`],
    ['a key twice, indefinite', concatBytes(fromHex('bf'), nonce, nonce, fromHex('ff')), `${PAYLOAD} nonce`],
    ['a key as bytes', concatBytes(fromHex('a1'), bytes(utf8('nonce')), NULL), `${PAYLOAD} field`],
    ['a key as a number', concatBytes(fromHex('a1'), s.uint(1), NULL), `${PAYLOAD} field`],
    ['no break at the end', payload.subarray(0, -1), `${PAYLOAD} field`],
    ['bytes after the map', concatBytes(payload, fromHex('00')), `${PAYLOAD} end`],
    ['a second break', concatBytes(payload, fromHex('ff')), `${PAYLOAD} end`],
    ['a break in a definite map', concatBytes(fromHex('a9'), payload.subarray(1)), `${PAYLOAD} end`],
    ['one pair less than claimed', concatBytes(fromHex('aa'), definite.subarray(1)), `${PAYLOAD} field`],
    ['a map length not shortest', concatBytes(fromHex('b809'), definite.subarray(1)), `${PAYLOAD} payload`],
    ['2^62 pairs', fromHex('bb4000000000000000'), `${PAYLOAD} payload`],
    ['1000 pairs', fromHex('b903e8'), `${PAYLOAD} payload`],
    ['an array', array([NULL]), `${PAYLOAD} payload`],
    ['null', NULL, `${PAYLOAD} payload`],
    ['an empty map', map([]), `${PAYLOAD} module_id`],
    ['reserved additional information', fromHex('bc'), `${PAYLOAD} payload`],
    ['a length that is cut off', fromHex('b9'), `${PAYLOAD} payload`],
    ['a string longer than what follows', fromHex('a16a61'), `${PAYLOAD} field`],
  ];
  for (const [what, input, result] of shapes)
    test(`${what}: ${result}`, () => expect(decoded(s.envelope(input))).toBe(result));
});

describe('what it returns', () => {
  test('null, absent and empty stay apart', async () => {
    const read = await document((f) => {
      f.delete('public_key');
      f.set('user_data', bytes(new Uint8Array(0)));
    });
    expect(read.presence).toEqual({ public_key: 'absent', user_data: 'present', nonce: 'null' });
    expect('publicKey' in read).toBe(false);
    expect('nonce' in read).toBe(false);
    expect(read.userData).toEqual(new Uint8Array(0));
  });

  test('all fields', async () => {
    const read = await document((f) => f.set('nonce', bytes(utf8('n'))).set('public_key', bytes(utf8('p'))));
    expect(read.moduleId).toBe(s.MODULE_ID);
    expect(read.timestampMs).toBe(s.NOW_MS);
    expect([...read.pcrs.keys()]).toEqual(Array.from({ length: 16 }, (_, index) => index));
    expect(toHex(read.pcrs.get(1) ?? new Uint8Array(0))).toBe('11'.repeat(48));
    expect(read.certificate).toEqual(CERTIFICATE);
    expect(read.cabundle).toEqual([CERTIFICATE, CERTIFICATE]);
    expect([read.nonce, read.publicKey]).toEqual([utf8('n'), utf8('p')]);
    expect(read.payloadEncoding).toBe('indefinite');
  });

  test('a copy: changing the input, a Node Buffer included, changes nothing', async () => {
    const input = Buffer.from(s.envelope(payload));
    const read = decodeAttestationDocument(input);
    input.fill(0);
    expect(read.certificate).toEqual(CERTIFICATE);
    expect(toHex(read.protectedHeader)).toBe('a1013822');
  });
});

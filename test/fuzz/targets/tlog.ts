/** The log's formats: notes, checkpoints, cosignatures, what witnesses are asked, tiles, receipt files. */
import { readFileSync } from 'node:fs';
import { hash } from '@quantumvault/shared/brands.ts';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { looksLikeReceipt, parseReceiptFile, receiptFileJson } from '@quantumvault/shared/evidence/receipt-file.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatCheckpoint, openCheckpoint, parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { cosignatureBytes, readCosignature } from '@quantumvault/shared/tlog/cosignature.ts';
import {
  formatNote,
  formatSignatureLines,
  noteMessage,
  noteSignature,
  parseNote,
  parseSignatureLines,
} from '@quantumvault/shared/tlog/note.ts';
import {
  cutEntries,
  decodeEntries,
  decodeTile,
  encodeEntries,
  encodeTile,
} from '@quantumvault/shared/tlog/tile-data.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import {
  formatAddCheckpoint,
  formatSize,
  parseAddCheckpoint,
  parseSize,
} from '@quantumvault/shared/tlog/witness-request.ts';
import nacl from 'tweetnacl';
import { jsonMutator } from '../engine/json-tree.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
import { isRefused } from './checks.ts';
import * as sample from './samples.ts';

const ORIGIN = `example.com/qv/test/${sample.boot}`;
const log = {
  origin: ORIGIN,
  key: verifierKey(ORIGIN, 'ed25519', sample.pair(5).publicKey),
  witnesses: [verifierKey('w1', 'cosignature', sample.pair(7).publicKey)],
};
const checkpointText = formatCheckpoint({ origin: ORIGIN, size: 7n, root: sample.hash, extensions: [] });
const logLine = noteSignature(log.key, nacl.sign.detached(noteMessage(checkpointText), sample.pair(5).secretKey));

function cosigned(): Uint8Array {
  const [witness] = log.witnesses;
  must(witness !== undefined, 'a witness');
  const timeSeconds = 1_795_383_600n;
  const message = utf8(`cosignature/v1\ntime ${timeSeconds}\n${checkpointText}`);
  const bytes = cosignatureBytes({ timeSeconds, signature: nacl.sign.detached(message, sample.pair(7).secretKey) });
  return formatNote({ text: checkpointText, signatures: [logLine, noteSignature(witness, bytes)] });
}

const vectors = JSON.parse(readFileSync(new URL('../../vectors/tlog/notes.json', import.meta.url), 'utf8')) as {
  readonly c2sp: Readonly<Record<'note' | 'cosigned', string>>;
};
const NOTE_CODES = [
  'log_note_malformed',
  'log_note_signature_invalid',
  'log_note_signature_repeated',
  'log_note_unsigned',
  'log_checkpoint_malformed',
  'log_origin_mismatch',
] as const;
const verify = (signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean =>
  nacl.sign.detached.verify(message, signature, key);

export const notes: Target = {
  name: 'notes',
  covers: [
    'shared/src/tlog/note.ts#parseNote',
    'shared/src/tlog/note.ts#parseSignatureLines',
    'shared/src/tlog/checkpoint.ts#parseCheckpoint',
    'shared/src/tlog/cosignature.ts#readCosignature',
  ],
  seeds: () => ({
    checkpoint: formatNote({ text: checkpointText, signatures: [logLine] }),
    cosigned: cosigned(),
    c2sp: utf8(vectors.c2sp.note),
    'c2sp-cosigned': utf8(vectors.c2sp.cosigned),
    extended: formatNote({
      text: formatCheckpoint({ origin: 'a', size: 0n, root: sample.hash, extensions: ['x', 'y z'] }),
      signatures: [logLine],
    }),
  }),
  mutators: [textMutator],
  dictionary: ['\n\n', '\u2014 ', '\u2014', '\u0000', '\r', '\u00a0', '\ufeff', '00', '9223372036854775808', '='].map(
    utf8,
  ),
  maxBytes: 8 * 1024,
  codes: NOTE_CODES,
  executions: 3_000,
  run(input) {
    const note = parseNote(input);
    mustEqualBytes(formatNote(note), input, 'another spelling of a note');
    must(note.signatures.length >= 1 && note.signatures.length <= LIMITS.noteSignatures, 'number of signatures');
    const lines = utf8(formatSignatureLines(note.signatures));
    must(
      formatSignatureLines(parseSignatureLines(lines)) === formatSignatureLines(note.signatures),
      'other signature lines',
    );
    for (const { signature } of note.signatures) {
      const cosignature = readCosignature(signature);
      if (cosignature !== undefined) mustEqualBytes(cosignatureBytes(cosignature), signature, 'another cosignature');
    }
    const checkpoint = accept(parseCheckpoint(note.text));
    must(formatCheckpoint(checkpoint) === note.text, 'another spelling of a checkpoint');
    return checkpoint;
  },
};

/** With real keys: what opens is the text that was signed. */
export const checkpoints: Target = {
  name: 'checkpoints',
  covers: ['shared/src/tlog/checkpoint.ts#openCheckpoint'],
  seeds: () => ({ signed: formatNote({ text: checkpointText, signatures: [logLine] }), cosigned: cosigned() }),
  mutators: [textMutator],
  maxBytes: 4_096,
  codes: NOTE_CODES,
  // Each signature that is looked at takes tweetnacl milliseconds.
  executions: 100,
  run(input) {
    const opened = accept(openCheckpoint(input, log, verify));
    must(opened.note.text === checkpointText, 'a text that nobody signed opens');
    must(opened.checkpoint.origin === ORIGIN && opened.checkpoint.size === 7n, 'another checkpoint');
    must(
      new Set(opened.cosignatures.map(({ key }) => key.name)).size === opened.cosignatures.length,
      'a witness counts twice',
    );
    return opened.checkpoint;
  },
};

export const witnessRequests: Target = {
  name: 'witness-requests',
  covers: ['shared/src/tlog/witness-request.ts#parseAddCheckpoint', 'shared/src/tlog/witness-request.ts#parseSize'],
  seeds: () => ({
    first: formatAddCheckpoint({ oldSize: 0n, proof: [], note: cosigned() }),
    grown: formatAddCheckpoint({
      oldSize: 9_223_372_036_854_775_807n,
      proof: [sample.hash, hash(sample.filled(32, 0xff))],
      note: utf8('x'),
    }),
    longest: formatAddCheckpoint({
      oldSize: 5n,
      proof: Array.from({ length: 63 }, () => sample.hash),
      note: utf8('n'),
    }),
    size: utf8(formatSize(1234n)),
  }),
  mutators: [textMutator],
  dictionary: ['old ', '\n\n', '9223372036854775808', '00', '=\n'].map(utf8),
  maxBytes: 8 * 1024,
  codes: ['witness_request_malformed'],
  executions: 3_000,
  run(input) {
    const size = parseSize(input);
    if (size !== undefined) mustEqualBytes(utf8(formatSize(size)), input, 'another spelling of a size');
    const request = accept(parseAddCheckpoint(input));
    mustEqualBytes(formatAddCheckpoint(request), input, 'another spelling of a request');
    return request;
  },
};

/** The first byte is the width, less one. */
export const tiles: Target = {
  name: 'tiles',
  covers: [
    'shared/src/tlog/tile-data.ts#decodeTile',
    'shared/src/tlog/tile-data.ts#decodeEntries',
    'shared/src/tlog/tile-data.ts#cutEntries',
  ],
  seeds: () => ({
    tile: concatBytes(Uint8Array.of(1), encodeTile([sample.hash, sample.hash])),
    entries: concatBytes(Uint8Array.of(2), encodeEntries([utf8('a'), new Uint8Array(), sample.filled(300, 1)])),
    one: concatBytes(Uint8Array.of(0), encodeEntries([sample.leaf])),
  }),
  maxBytes: 16 * 1024,
  codes: ['log_tile_malformed'],
  executions: 4_000,
  run(input) {
    const width = (input[0] ?? 0) + 1;
    const bytes = input.subarray(1);
    if (bytes.length === width * 32) mustEqualBytes(encodeTile(decodeTile(bytes, width)), bytes, 'another tile');
    if (isRefused((whole) => decodeEntries(whole, width), bytes)) return checkCut(bytes, width);
    const entries = accept(decodeEntries(bytes, width));
    must(entries.length === width, 'number of entries');
    mustEqualBytes(encodeEntries(entries), bytes, 'another bundle');
    mustEqualBytes(cutEntries(bytes, width), bytes, 'another bundle when it is cut to its own width');
    return entries;
  },
};

/** A bundle that is wider than asked for. @throws QvError log_tile_malformed */
function checkCut(bytes: Uint8Array, width: number): Uint8Array {
  const cut = accept(cutEntries(bytes, width));
  mustEqualBytes(cut, bytes.subarray(0, cut.length), 'what was cut off is not the beginning');
  mustEqualBytes(encodeEntries(decodeEntries(cut, width)), cut, 'another bundle');
  return cut;
}

export const receiptFiles: Target = {
  name: 'receipt-files',
  covers: [
    'shared/src/evidence/receipt-file.ts#parseReceiptFile',
    'shared/src/evidence/receipt-file.ts#looksLikeReceipt',
  ],
  seeds: () => {
    const proven = { receipt: sample.receipt, proof: [sample.hash, sample.hash] };
    return {
      file: utf8(
        JSON.stringify(receiptFileJson({ ...proven, index: 41n, checkpoint: cosigned(), bootRecord: proven })),
      ),
    };
  },
  mutators: [jsonMutator(), textMutator],
  dictionary: ['"qv/receipt/v1"', '"index"', '9223372036854775808', '""'].map(utf8),
  maxBytes: 8 * 1024,
  codes: ['receipt_malformed'],
  executions: 2_500,
  run(input) {
    const file = accept(parseReceiptFile(input));
    must(looksLikeReceipt(input), 'it does not look like what it is');
    const printed = utf8(JSON.stringify(receiptFileJson(file)));
    must(
      JSON.stringify(receiptFileJson(parseReceiptFile(printed))) === new TextDecoder().decode(printed),
      'another receipt when printed',
    );
    return file;
  },
};

/** Checkpoints: one spelling, of one log, signed by it. */
import type { Hash } from '@quantumvault/shared/brands.ts';
import { fromBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import {
  type Checkpoint,
  formatCheckpoint,
  openCheckpoint,
  parseCheckpoint,
} from '@quantumvault/shared/tlog/checkpoint.ts';
import { formatNote } from '@quantumvault/shared/tlog/note.ts';
import { EMPTY_ROOT, MAX_LEAVES } from '@quantumvault/shared/tlog/tree.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { logSigner, vectors, verify, witnessSigner } from './keys.ts';

const { goTree, c2sp, formats } = vectors;
const ROOT = 'CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=';
const checkpointCode = (text: string) => refusalOf(() => parseCheckpoint(text))?.code;

describe('the text', () => {
  it('is the one of the specification', () => {
    const checkpoint: Checkpoint = {
      origin: 'example.com/behind-the-sofa',
      size: 20_852_163n,
      root: fromBase64(ROOT) as Hash,
      extensions: [],
    };
    expect(parseCheckpoint(c2sp.checkpoint)).toEqual(checkpoint);
    expect(formatCheckpoint(checkpoint)).toBe(c2sp.checkpoint);
  });

  it('is the one of Go’s checksum database, with extensions too', () => {
    const checkpoint = parseCheckpoint(goTree.text);
    expect(checkpoint.size).toBe(BigInt(goTree.size));
    expect(checkpoint.root).toEqual(leafHash(utf8(goTree.leaf)));
    expect(parseCheckpoint(`${goTree.text}JOE\nJOE\n`).extensions).toEqual(['JOE', 'JOE']);
  });

  it('counts from 0 to 2^63 - 1', () => {
    for (const size of [0n, 1n, MAX_LEAVES]) expect(parseCheckpoint(`log\n${size}\n${ROOT}\n`).size).toBe(size);
    const beyond = { origin: 'log', size: MAX_LEAVES + 1n, root: EMPTY_ROOT, extensions: [] };
    expect(refusalOf(() => formatCheckpoint(beyond))?.code).toBe('log_checkpoint_malformed');
    expect(refusalOf(() => formatCheckpoint({ ...beyond, size: -1n }))?.code).toBe('log_checkpoint_malformed');
  });

  it.each([
    ...goTree.bad,
    ...formats.badCheckpoints,
    '',
    '\n',
    `log\n1\n${ROOT}`,
    `log\n01\n${ROOT}\n`,
    `log\n00\n${ROOT}\n`,
    `log\n+1\n${ROOT}\n`,
    `log\n1 \n${ROOT}\n`,
    `log\n0x1\n${ROOT}\n`,
    `log\n\n${ROOT}\n`,
    `log\n\u0661\n${ROOT}\n`,
    `log\n${MAX_LEAVES + 1n}\n${ROOT}\n`,
    `\n1\n${ROOT}\n`,
    `log\n1\n${ROOT}=\n`,
    `log\n1\n${ROOT.slice(4)}\n`,
    `log\n1\n${ROOT.replace('q2I', 'q2J')}\n`,
    `log\n1\n${ROOT}\n\n`,
    `log\n1\n${ROOT}\next\n\next\n`,
    `log\n1\n${ROOT}\next`,
    `log\r\n1\n${ROOT}\n`,
    `l\u0000g\n1\n${ROOT}\n`,
    `\ud800\n1\n${ROOT}\n`,
  ])('is not %j', (text) => expect(checkpointCode(text)).toBe('log_checkpoint_malformed'));

  it('is not written with lines that are not lines', () => {
    const good = { origin: 'log', size: 1n, root: EMPTY_ROOT, extensions: [] };
    for (const bad of [{ origin: '' }, { origin: 'a\nb' }, { extensions: [''] }, { extensions: ['a\nb'] }])
      expect(refusalOf(() => formatCheckpoint({ ...good, ...bad }))?.code).toBe('log_checkpoint_malformed');
  });

  it('formats back to what was parsed, whatever it is', () => {
    const line = fc.string({ unit: 'binary', maxLength: 12 });
    const near = fc
      .tuple(
        line,
        fc.oneof(fc.bigInt({ min: 0n, max: MAX_LEAVES }).map(String), line),
        fc.array(line, { maxLength: 2 }),
      )
      .map(([origin, size, extensions]) => [origin, size, ROOT, ...extensions, ''].join('\n'));
    fc.assert(
      fc.property(fc.oneof(near, line), (text) => {
        let checkpoint: Checkpoint | undefined;
        const refusal = refusalOf(() => {
          checkpoint = parseCheckpoint(text);
        });
        if (checkpoint === undefined) expect(refusal?.code).toBe('log_checkpoint_malformed');
        else expect(formatCheckpoint(checkpoint)).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('opening', () => {
  const signer = logSigner('example.com/log');
  const witnesses = [witnessSigner('w1', 5n), witnessSigner('w2', 6n)] as const;
  const log = { origin: 'example.com/log', key: signer.key, witnesses: witnesses.map(({ key }) => key) };
  const checkpoint: Checkpoint = { origin: log.origin, size: 0n, root: EMPTY_ROOT, extensions: [] };
  const text = formatCheckpoint(checkpoint);
  const openCode = (bytes: Uint8Array) => refusalOf(() => openCheckpoint(bytes, log, verify))?.code;

  it('gives the checkpoint and the cosignatures of known witnesses', () => {
    const stranger = witnessSigner('w3', 7n);
    const signatures = [signer, stranger, witnesses[1]].map(({ sign }) => sign(text));
    const opened = openCheckpoint(formatNote({ text, signatures }), log, verify);
    expect(opened.checkpoint).toEqual(checkpoint);
    expect(opened.note.signatures).toHaveLength(3);
    expect(opened.cosignatures).toEqual([{ key: witnesses[1].key, timeSeconds: 6n }]);
  });

  it('does not count a log that signs as a witness does', () => {
    const self = witnessSigner('self', 5n);
    const bytes = formatNote({ text, signatures: [self.sign(text)] });
    const opened = openCheckpoint(bytes, { origin: log.origin, key: self.key, witnesses: [] }, verify);
    expect(opened.cosignatures).toEqual([]);
  });

  it('needs the log’s own signature, whoever else signed', () => {
    expect(openCode(formatNote({ text, signatures: [witnesses[0].sign(text)] }))).toBe('log_note_unsigned');
  });

  it('refuses another log’s checkpoint, and a note that is none', () => {
    const other = formatCheckpoint({ ...checkpoint, origin: 'example.com/other' });
    expect(openCode(formatNote({ text: other, signatures: [signer.sign(other)] }))).toBe('log_origin_mismatch');
    const noCheckpoint = 'anything\n';
    expect(openCode(formatNote({ text: noCheckpoint, signatures: [signer.sign(noCheckpoint)] }))).toBe(
      'log_checkpoint_malformed',
    );
  });
});

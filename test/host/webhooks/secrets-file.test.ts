/** Files of webhook secrets: one per line, as bytes, read again when they change, wiped when replaced. */
import { createHash } from 'node:crypto';
import { chmodSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLog, silentLog } from '@quantumvault/host/log.ts';
import {
  type ReadLine,
  readSharedSecret,
  readTextSecret,
  SecretsFile,
} from '@quantumvault/host/webhooks/secrets-file.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import type { Secret } from '@quantumvault/shared/secret.ts';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import { temporaryFolder } from '../../support/temporary.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

const spelled = (secret: Uint8Array): string => `whsec_${toBase64(secret)}`;
const secret = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);
const bytesOf = (kept: Secret): Uint8Array => kept.use((bytes) => Uint8Array.from(bytes));
const path = (): string => join(folder.path, 'secrets');
const FIELD = 'webhooks[0].secretsFile';

function write(text: string, mode = 0o600): void {
  const next = join(folder.path, 'next');
  writeFileSync(next, text, { mode });
  chmodSync(next, mode);
  renameSync(next, path());
}

function open(text: string, readLine: ReadLine = readSharedSecret, mode?: number): SecretsFile {
  write(text, mode);
  return new SecretsFile(path(), { field: FIELD, readLine, log: silentLog });
}

describe('shared secrets', () => {
  it('are what stands behind whsec_, one per line', () => {
    const file = open(`# of alpha\n${spelled(secret(24, 1))}\r\n\n${spelled(secret(64, 2))}`);
    expect(file.current.map(bytesOf)).toEqual([secret(24, 1), secret(64, 2)]);
    file.close();
  });

  it('of any bytes are what base64 says', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 24, maxLength: 64 }), (bytes) => {
        const read = readSharedSecret(Buffer.from(spelled(bytes)));
        expect(read && bytesOf(read)).toEqual(bytes);
      }),
    );
  });

  const good = spelled(secret(24, 255));
  it.each([
    ['of another form', toBase64(secret(24, 1))],
    ['too short', spelled(secret(23, 1))],
    ['too long', spelled(secret(65, 1))],
    ['not base64', good.replace('/', '*')],
    ['base64 with blanks', ` ${good}`],
    ['base64 without padding', spelled(secret(25, 1)).replace(/=+$/, '')],
    ['base64 with bits behind the last byte', spelled(secret(25, 0)).replace(/A==$/, 'B==')],
    ['base64 with padding inside', `whsec_${'AAA='.repeat(9)}`],
    ['empty', 'whsec_'],
  ])('%s are refused, by their line and without quoting them', async (_, line) => {
    const refused = await expectCode(() => open(`${good}\n${line}\n`), 'config_invalid');
    expect(refused.facts).toEqual({ path: FIELD, value: 'line 2 is no secret of this kind' });
  });
});

describe('secrets typed into alerts', () => {
  it('are kept as their hashes', () => {
    const text = 'correct-horse-battery';
    const file = open(`${text}\n`, readTextSecret);
    expect(file.current.map(bytesOf)).toEqual([new Uint8Array(createHash('sha256').update(text).digest())]);
    file.close();
  });

  it.each(['short', 'a'.repeat(257), 'with a blank inside', 'zwölf-zeichen-und-mehr'])('%s is none', async (line) => {
    const refused = await expectCode(() => open(line, readTextSecret), 'config_invalid');
    expect(refused.facts.value).toBe('line 1 is no secret of this kind');
  });
});

describe('the file', () => {
  it('is refused when it is missing, empty, too full, or readable by others', async () => {
    const missing = () =>
      new SecretsFile(join(folder.path, 'none'), { field: FIELD, readLine: readSharedSecret, log: silentLog });
    expect((await expectCode(missing, 'config_invalid')).facts.path).toBe(FIELD);
    expect((await expectCode(() => open('# nothing\n'), 'config_invalid')).facts.value).toBe('no secret');
    const nine = Array.from({ length: 9 }, (_, at) => spelled(secret(24, at))).join('\n');
    expect((await expectCode(() => open(nine), 'config_invalid')).facts.value).toBe('more than 8 secrets');
    const open644 = () => open(spelled(secret(24, 1)), readSharedSecret, 0o644);
    expect((await expectCode(open644, 'config_invalid')).facts.value).toBe('other users may read or write it');
    expect((await expectCode(() => open('#'.repeat(20_000)), 'config_invalid')).facts.value).toBe('too large');
  });

  it('is read again when it changes; what it replaces is wiped, and a bad one changes nothing', async () => {
    const lines: string[] = [];
    const log = createLog('info', { write: (line) => void lines.push(line) });
    write(spelled(secret(24, 1)));
    const file = new SecretsFile(path(), { field: FIELD, readLine: readSharedSecret, log });
    const [first] = file.current;
    file.refresh();
    expect(file.current[0]).toBe(first);
    write(`${spelled(secret(24, 2))}\n${spelled(secret(24, 1))}\n`);
    file.refresh();
    expect(file.current).toHaveLength(2);
    await expectCode(() => first?.use(() => 0), 'secret_exposed');
    const kept = file.current;
    write('nonsense');
    file.refresh();
    file.refresh();
    expect(file.current).toBe(kept);
    // Said once, and nothing of the content.
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
      'secrets of a webhook source changed',
      'secrets of a webhook source are not usable',
    ]);
    expect(lines.join()).not.toContain('nonsense');
    file.close();
    for (const each of kept) await expectCode(() => each.use(() => 0), 'secret_exposed');
    expect(file.current).toEqual([]);
  });

  it('is looked at by itself', async () => {
    write(spelled(secret(24, 1)));
    const file = new SecretsFile(path(), {
      ...{ field: FIELD, readLine: readSharedSecret, log: silentLog },
      pollMilliseconds: 10,
    });
    write(`${spelled(secret(24, 2))}\n${spelled(secret(24, 3))}\n`);
    await expect.poll(() => file.current.length).toBe(2);
    file.close();
  });
});

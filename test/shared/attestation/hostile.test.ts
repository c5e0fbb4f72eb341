/**
 * Documents made to hurt whoever reads them, each in a process of its own with a heap of 64 MB and two seconds: the
 * verdict must be a refusal that the process itself prints, not a crash, an abort for memory or a hang.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { concatBytes, fromHex } from '@quantumvault/shared/bytes.ts';
import { afterAll, expect, test } from 'vitest';
import * as s from './synthetic.ts';
import { negative } from './vectors.ts';

const CHILD = fileURLToPath(new URL('hostile-child.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'qv-hostile-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** What the child printed, given that it ended by itself within two seconds of having loaded the verifier. */
async function verdict(file: string): Promise<string> {
  const child = spawn(process.execPath, ['--max-old-space-size=64', '--max-semi-space-size=4', CHILD, file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let printed = '';
  let watchdog: NodeJS.Timeout | undefined;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
    watchdog ??= setTimeout(() => child.kill('SIGKILL'), 2000);
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(watchdog);
  expect([code, signal]).toEqual([0, null]);
  return printed.trim().replace(/^ready\s+/, '');
}

const claim = (head: string): Uint8Array => concatBytes(fromHex('8444a1013822a0'), fromHex(head));
const inPayload = (payload: Uint8Array): Uint8Array => s.envelope(payload);
const field = (name: string, value: Uint8Array): Uint8Array => concatBytes(s.text(name), value);
const MANY = 16_000;
const deepSequence = (): Uint8Array => {
  let nest = s.integer(1);
  while (nest.length < 1015) nest = s.sequence(nest);
  return nest;
};

async function withCertificates(certificate: Uint8Array): Promise<Uint8Array> {
  const cabundle = new Array(8).fill(certificate);
  return s.envelope(s.encodePayload(await s.fieldsOf({ cabundle, certificate })));
}

const HOSTILE: Readonly<Record<string, Uint8Array>> = {
  'payload of 2^62 bytes': claim('5b4000000000000000'),
  'payload of 2^32 bytes': claim('5affffffff'),
  'array of 2^32': fromHex('9affffffff'),
  'map of 2^62 pairs': inPayload(fromHex('bb4000000000000000')),
  'cabundle of 2^32': inPayload(concatBytes(fromHex('a1'), field('cabundle', fromHex('9affffffff')))),
  'pcrs of 2^32': inPayload(concatBytes(fromHex('a1'), field('pcrs', fromHex('baffffffff')))),
  'cabundle of thousands': inPayload(
    concatBytes(fromHex('a1'), field('cabundle', s.array(new Array(MANY).fill(Uint8Array.of(0x40))))),
  ),
  'arrays nested 16,000 deep': inPayload(concatBytes(fromHex('a1'), field('nonce', s.filled(0x81, MANY)))),
  'tags nested 16,000 deep': inPayload(concatBytes(fromHex('a1'), field('nonce', s.filled(0xc1, MANY)))),
  'maps nested 16,000 deep': inPayload(s.filled(0xbf, MANY)),
  'an indefinite map of one field again and again': inPayload(
    concatBytes(fromHex('bf'), ...new Array(2000).fill(field('nonce', s.NULL))),
  ),
  'chunked strings': inPayload(
    concatBytes(fromHex('a1'), field('nonce', concatBytes(fromHex('5f'), s.filled(0x40, MANY)))),
  ),
  'arrays nested 32,000 deep outside': s.filled(0x84, 32_000),
  '64 MB': s.filled(0x84, 64 * 1024 * 1024),
  'certificates nested to the brim': await withCertificates(deepSequence()),
  'certificates of empty elements': await withCertificates(s.sequence(s.filled(0x05, 1000))),
  'certificates of noise': await withCertificates(s.filled(0x30, 1024)),
};

test.each(Object.keys(HOSTILE))('%s', async (name) => {
  const file = join(folder, 'hostile.bin');
  writeFileSync(file, HOSTILE[name] ?? '');
  expect(await verdict(file)).toMatch(/^attestation_(too_large|[a-z]+_malformed)$/);
});

test.each(negative)('$name', async ({ name, file }) => {
  const expected = name === 'definite-malleated-s' ? /^attestation_pcrs_not_allowed$/ : /^attestation_/;
  expect(await verdict(fileURLToPath(file))).toMatch(expected);
});

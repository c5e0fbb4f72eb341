/** qv measure: what it prints for people and machines, its exit codes, and images larger than its memory. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { bytesText, inLeaves, progressBar } from '@quantumvault/host/cli/progress.ts';
import { runCli } from '@quantumvault/host/cli/run.ts';
import { parsePcrSets } from '@quantumvault/shared/attestation/pcrs.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { noteCode } from '../../support/codes-seen.ts';
import * as eif from '../../support/eif.ts';
import { newSigner, signed } from '../../support/eif-signer.ts';

const folder = mkdtempSync(join(tmpdir(), 'qv-measure-'));
afterAll(() => rmSync(folder, { recursive: true }));

const signer = newSigner();
const MIB = 1024 * 1024;

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

async function qv(...argv: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const code = await runCli(argv, { stdout, stderr });
  const text = (stream: PassThrough): string => String(stream.read() ?? '');
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

const plain = file('plain.eif', eif.writeImage({ sections: eif.plainSections }));
const signedImage = file('signed.eif', eif.writeImage({ sections: signed(eif.plainSections, signer) }));
const [PCR0, PCR1, PCR2] = eif.expectedPcrs(eif.plainSections);
const HashAlgorithm = 'Sha384 { ... }';

describe('--json', () => {
  test('Measurements in nitro-cli’s shape, in its order', async () => {
    const { code, stdout, stderr } = await qv('measure', plain, '--json');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain(
      `"Measurements":{"HashAlgorithm":"${HashAlgorithm}","PCR0":"${PCR0}","PCR1":"${PCR1}","PCR2":"${PCR2}"}`,
    );
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, exit: 0, signature: null });
  });

  test('a signed image has PCR8', async () => {
    const { code, stdout } = await qv('measure', '--json', signedImage);
    expect(code).toBe(0);
    const { Measurements, signature } = JSON.parse(stdout) as Record<string, unknown>;
    expect(Measurements).toEqual({ HashAlgorithm, PCR0, PCR1, PCR2, PCR8: eif.measured(signer.der) });
    expect(signature).toMatchObject({
      verifies: true,
      algorithm: 'ES384',
      certificate: { subject: 'CN=signer', notBefore: '2026-01-01T00:00:00.000Z' },
    });
  });

  test('what it prints is a set of expected PCRs, as it stands', async () => {
    const { stdout } = await qv('measure', signedImage, '--json');
    const [set] = parsePcrSets(utf8(stdout), 'measured');
    expect([...(set?.pcrs ?? [])].map(([index, value]) => [index, toHex(value)])).toEqual([
      [0, PCR0],
      [1, PCR1],
      [2, PCR2],
      [8, eif.measured(signer.der)],
    ]);
  });

  test.each([
    ['CRC', { sections: eif.plainSections, crc: 1 }, 'eif_crc_mismatch'],
    [
      'signature',
      { sections: signed(eif.plainSections, signer, { registerValue: new Uint8Array(48) }) },
      'eif_signature_register_mismatch',
    ],
  ])('a %s that does not hold: exit 1, and nothing takes the PCRs for expected ones', async (_what, spec, expected) => {
    const path = file('wrong.eif', eif.writeImage(spec));
    const { code, stdout } = await qv('measure', path, '--json');
    expect(code).toBe(1);
    const printed = JSON.parse(stdout) as Record<string, unknown>;
    expect(printed).toMatchObject({ ok: false, exit: 1, error: { code: expected }, unverifiedMeasurements: { PCR0 } });
    noteCode(expected);
    expect(() => parsePcrSets(utf8(stdout), 'measured')).toThrow();
    const text = await qv('measure', path);
    expect(text.code).toBe(1);
    expect(text.stdout).toMatch(/^✗ eif_/);
    expect(text.stdout).toContain(PCR0);
  });

  test('an unusable image: exit 2 and its code', async () => {
    const path = file('cut.eif', eif.writeImage({ sections: eif.plainSections }).subarray(0, 700));
    const { code, stdout } = await qv('measure', path, '--json');
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, exit: 2, error: { code: 'eif_truncated' } });
  });
});

describe('for people', () => {
  test('PCRs, sections and what PCRs do not cover', async () => {
    const { code, stdout } = await qv('measure', signedImage);
    expect(code).toBe(0);
    for (const part of [PCR0, PCR1, PCR2, eif.measured(signer.der), 'reboot=k panic=30', 'ES384 over PCR0, verifies'])
      expect(stdout).toContain(part);
    expect(stdout).toContain('PCRs do not cover');
    for (const part of ['header', 'metadata', 'boundaries']) expect(stdout).toMatch(new RegExp(`– .*${part}`));
  });

  test('nothing in an image drives the terminal', async () => {
    const sections = [
      eif.kernel,
      eif.section('cmdline', 'quiet\u001b[2J\r\n'),
      eif.section(
        'metadata',
        JSON.stringify({ 'Image\u001b[1mName': '\u009b31m\u202e', DockerInfo: '\u001b]0;x\u0007' }),
      ),
      eif.ramdisk(),
    ];
    const { stdout } = await qv('measure', file('escape.eif', eif.writeImage({ sections })));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(stdout).toContain('quiet?[2J');
  });
});

test('wrong use and unreadable files: exit 2', async () => {
  for (const argv of [['measure'], ['measure', plain, plain], ['measure', '--what', plain]]) {
    const { code, stderr } = await qv(...argv);
    expect(code).toBe(2);
    expect(stderr).toContain('usage_invalid');
  }
  for (const path of [folder, join(folder, 'none'), '/dev/null']) {
    const { code, stdout } = await qv('measure', path, '--json');
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'input_unreadable', path } });
  }
});

describe('progress', () => {
  class Terminal extends PassThrough {
    readonly isTTY = true;
  }
  const ticking = (): (() => number) => {
    let time = 0;
    return () => (time += 200);
  };

  test('on a terminal one line, drawn over and erased', () => {
    const terminal = new Terminal();
    const bar = progressBar(terminal, 'Measuring', { now: ticking() });
    bar.update(512 * MIB, 2048 * MIB);
    bar.update(2048 * MIB, 2048 * MIB);
    bar.clear();
    const [empty, first, second, end] = String(terminal.read()).split('\r\u001b[2K');
    expect([empty, end]).toEqual(['', '']);
    expect(first).toBe(`Measuring ${'█'.repeat(7)}${'░'.repeat(21)}  25 %  512.0 MiB of 2.0 GiB`);
    expect(second).toContain('100 %');
  });

  test('in leaves', () => {
    const terminal = new Terminal();
    const bar = progressBar(terminal, 'Verifying', { now: ticking(), amounts: inLeaves });
    bar.update(1_234_567, 2_469_134);
    // A host that sends more than it said.
    bar.update(5, 4);
    expect(String(terminal.read())).toMatch(/ 50 % {2}1,234,567 of 2,469,134 leaves.*100 % {2}5 of 4 leaves/s);
  });

  test('nothing elsewhere, and nothing for work that ends at once', () => {
    for (const stream of [new PassThrough(), new Terminal()]) {
      const bar = progressBar(stream, 'Measuring', { now: 'isTTY' in stream ? () => 0 : ticking() });
      bar.update(1, 2);
      bar.clear();
      expect(stream.read()).toBeNull();
    }
  });

  test('sizes', () => {
    expect([0, 1023, 1024, 1536 * 1024, 3 * 1024 ** 3].map(bytesText)).toEqual([
      '0 bytes',
      '1023 bytes',
      '1.0 KiB',
      '1.5 MiB',
      '3.0 GiB',
    ]);
  });
});

/** The image on disk as a hole: nothing of it is ever held here. */
function sparseImage(name: string, ramdiskBytes: number): string {
  const ramdisk = { ...eif.ramdisk(''), size: BigInt(ramdiskBytes) };
  const before = [eif.kernel, eif.cmdline, eif.metadata, eif.ramdisk()];
  const sections = [...before, ramdisk];
  const header = eif.writeHeader({ sections });
  const parts = [...before.flatMap((each) => [eif.sectionHeader(each), each.data]), eif.sectionHeader(ramdisk)];
  let crc = crc32(header.subarray(0, 544));
  for (const part of parts) crc = crc32(part, crc);
  const zeros = new Uint8Array(MIB);
  for (let done = 0; done < ramdiskBytes; done += MIB) crc = crc32(zeros, crc);
  new DataView(header.buffer).setUint32(544, crc);
  const path = join(folder, name);
  const descriptor = openSync(path, 'w');
  let size = 0;
  for (const part of [header, ...parts]) size += writeSync(descriptor, part);
  ftruncateSync(descriptor, size + ramdiskBytes);
  closeSync(descriptor);
  return path;
}

const QV = fileURLToPath(new URL('../../../host/src/cli/qv.ts', import.meta.url));
/** Printed last, to stderr: the most memory the process ever had, in KiB. */
const REPORT_MEMORY = 'data:text/javascript,process.on("exit",()=>console.error(process.resourceUsage().maxRSS))';

async function child(path: string): Promise<{ code: number; stdout: string; maxMebibytes: number }> {
  const argv = ['--max-old-space-size=64', '--import', REPORT_MEMORY, QV, 'measure', path, '--json'];
  const process_ = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  process_.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  process_.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = (await once(process_, 'close')) as [number];
  return { code, stdout, maxMebibytes: Number(stderr.trim()) / 1024 };
}

describe('larger than memory', () => {
  test('512 MiB with a heap of 64 MB', async () => {
    const small = await child(plain);
    const large = await child(sparseImage('large.eif', 512 * MIB));
    expect(large.code).toBe(0);
    expect(JSON.parse(large.stdout)).toMatchObject({ ok: true, Measurements: { PCR1 } });
    // Node itself is most of it; what the image adds does not depend on its size.
    expect(large.maxMebibytes).toBeLessThan(small.maxMebibytes + 64);
  }, 120_000);

  test('a claim of 2 TiB that the file does not hold is refused at once', async () => {
    const sections = [eif.kernel, eif.cmdline, eif.metadata, eif.ramdisk(), { ...eif.ramdisk(''), size: 1n << 41n }];
    const { code, stdout } = await child(file('short.eif', eif.writeImage({ sections })));
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'eif_truncated' } });
  });
});

/**
 * Stands in for nitro-cli 1.5.0: writes an enclave image file of its blobs and the image that docker has, and prints
 * what nitro-cli prints, on the stream where it prints it. The ramdisks are not cpio archives; the measurements are
 * computed as AWS says, of exactly what the file holds.
 */
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cmdline, expectedPcrs, kernel, measured, metadata, section, writeImage } from '../../support/eif.ts';
import { behaviour, fail, imageFile, noteCall, optionOf } from './state.ts';

const { fault, version = '1.5.0' } = behaviour().nitro ?? {};
const args = process.argv.slice(2);
noteCall({ program: 'nitro-cli', args });

const HELP = 'For more details, please visit https://docs.aws.amazon.com/enclaves/latest/user/cli-errors.html#';
const DETAIL = 'In this case, the error backtrace provides detailed information on the failure reason.';

/** Of the image, only its files are measured: not when it was made, nor by what. */
function layerOf(archive: string): Uint8Array {
  const read = (name: string): Uint8Array =>
    spawnSync('tar', ['--extract', '--to-stdout', '--file', archive, name], { maxBuffer: 1024 * 1024 * 1024 }).stdout;
  const [{ Layers }] = JSON.parse(Buffer.from(read('manifest.json')).toString()) as [{ Layers: [string] }];
  return read(Layers[0]);
}

function buildEnclave(): void {
  process.stderr.write('Start building the Enclave Image...\n');
  const image = imageFile(optionOf(args, '--docker-uri'));
  if (fault === 'build' || !existsSync(image))
    fail(
      48,
      `[ E48 ] EIF building error. Such error appears when trying to build an EIF file. ${DETAIL}\n\n${HELP}E48`,
    );
  process.stderr.write('Using the locally available Docker image...\n');
  const blob = (name: string): Uint8Array => readFileSync(join(process.env['NITRO_CLI_BLOBS'] ?? '', name));
  const sections = [
    { ...kernel, data: blob('bzImage') },
    { ...cmdline, data: blob('cmdline') },
    { ...section('ramdisk', ''), data: Buffer.concat([blob('init'), blob('nsm.ko')]) },
    { ...section('ramdisk', ''), data: layerOf(image) },
    metadata,
  ];
  writeFileSync(optionOf(args, '--output-file'), writeImage({ sections }));
  const [PCR0, PCR1, PCR2] = expectedPcrs(sections);
  const certificate = args.includes('--signing-certificate') ? optionOf(args, '--signing-certificate') : undefined;
  const PCR8 = certificate && measured(new X509Certificate(readFileSync(certificate)).raw);
  process.stderr.write('Enclave Image successfully created.\n');
  const pcrs = fault === 'no-pcrs' ? { PCR0 } : { PCR0, PCR1, PCR2, PCR8 };
  process.stdout.write(`${JSON.stringify({ Measurements: { HashAlgorithm: 'Sha384 { ... }', ...pcrs } }, null, 2)}\n`);
}

if (args[0] === '--version') process.stdout.write(`Nitro CLI ${version}\n`);
else if (args[0] === 'build-enclave') buildEnclave();
else fail(2, `error: unrecognized subcommand '${args[0]}'`);

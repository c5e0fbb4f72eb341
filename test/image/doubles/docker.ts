/**
 * Stands in for docker: answers `version`, `build`, `save` and `load` as Docker Engine 25 does, faults included. Its
 * build does not run the Dockerfile; it makes an image of the form that enclave.Dockerfile makes, whose code depends on
 * everything in the context.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { behaviour, fail, imageFile, noteCall, optionOf } from './state.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const { changes, fault, image, version = '25.0.14' } = behaviour().docker ?? {};
const args = process.argv.slice(2);

function tar(folder: string, file: string): void {
  const options = [
    '--create',
    '--sort=name',
    '--numeric-owner',
    '--owner=0',
    '--group=0',
    '--mtime=@0',
    '--mode=a+rX,go-w',
  ];
  const done = spawnSync('tar', [...options, '--file', file, '--directory', folder, ...readdirSync(folder).sort()]);
  if (done.status !== 0) throw new Error(String(done.stderr));
}

function filesOf(context: string): string[] {
  return readdirSync(context, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(context.length + 1))
    .sort();
}

function buildImage(): void {
  const context = args.at(-1) ?? '';
  const files = filesOf(context);
  noteCall({ program: 'docker', args, context: files });
  if (changes !== undefined) appendFileSync(changes, ' ');
  if (!files.includes(optionOf(args, '--file').slice(context.length + 1)))
    fail(1, 'ERROR: failed to solve: failed to read dockerfile: open enclave.Dockerfile: no such file or directory');
  if (fault === 'build')
    fail(
      1,
      'ERROR: failed to solve: process "/bin/sh -c node .toolchain/run.mjs" did not complete successfully: exit code: 2',
    );
  const work = mkdtempSync(join(tmpdir(), 'qv-docker-'));
  try {
    const layer = join(work, 'layer');
    mkdirSync(join(layer, 'enclave'), { recursive: true });
    mkdirSync(join(layer, 'dev'));
    const code = createHash('sha256').update(image === 'other-code' ? 'other' : '');
    for (const file of files) code.update(file).update(readFileSync(join(context, file)));
    writeFileSync(join(layer, 'enclave', 'enclave.cjs'), `${code.digest('hex')}\n`);
    copyFileSync(join(context, 'enclave-config.json'), join(layer, 'enclave', 'config.json'));
    if (image === 'link') symlinkSync('/proc/1', join(layer, 'dev', 'link'));
    writeArchive(work, layer);
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** An OCI layout with docker's manifest.json beside it, as since Docker 25. */
function writeArchive(work: string, layerFolder: string): void {
  const tag = optionOf(args, '--tag');
  const archive = join(work, 'archive');
  const blobs = join(archive, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  tar(layerFolder, join(work, 'layer.tar'));
  const layer = addBlob(blobs, readFileSync(join(work, 'layer.tar')));
  const config = addBlob(
    blobs,
    Buffer.from(JSON.stringify({ config: { Cmd: ['/enclave/node'] }, rootfs: { type: 'layers' } })),
  );
  const layers = image === 'two-layers' ? [layer, layer] : [layer];
  writeFileSync(join(archive, 'manifest.json'), JSON.stringify([{ Config: config, RepoTags: [tag], Layers: layers }]));
  writeFileSync(join(archive, 'oci-layout'), '{"imageLayoutVersion": "1.0.0"}');
  tar(archive, imageFile(tag));
}

function addBlob(folder: string, bytes: Uint8Array): string {
  const name = sha256(bytes);
  writeFileSync(join(folder, name), bytes);
  return `blobs/sha256/${name}`;
}

if (args[0] === 'build') buildImage();
else {
  noteCall({ program: 'docker', args });
  if (args[0] === 'version' && args[2] === '{{.Server.Version}}') {
    if (fault === 'daemon')
      fail(1, 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?');
    process.stdout.write(`${version}\n`);
  } else if (args[0] === 'save') {
    if (fault === 'save') fail(1, 'Error response from daemon: reference does not exist');
    copyFileSync(imageFile(args.at(-1) ?? ''), optionOf(args, '--output'));
  } else if (args[0] === 'load') {
    const file = optionOf(args, '--input');
    const read = spawnSync('tar', ['--extract', '--to-stdout', '--file', file, 'manifest.json'], { encoding: 'utf8' });
    const [
      {
        RepoTags: [tag],
      },
    ] = JSON.parse(read.stdout) as [{ RepoTags: [string] }];
    copyFileSync(file, imageFile(tag));
    process.stdout.write(`Loaded image: ${tag}\n`);
  } else fail(1, `docker: '${args[0]}' is not a docker command.\nSee 'docker --help'`);
}

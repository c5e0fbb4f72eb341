// Runs a command of this repository under its own pinned Node and pnpm, whatever Node started it (>= 20).
//
//   node .toolchain/run.mjs node <file> [args]     the pinned Node
//   node .toolchain/run.mjs pnpm [args]            the pinned pnpm, run by the pinned Node
//
// Both come from npm by the hashes in package-lock.json next to this file. npm treats a failed hash of an
// optional package as "not installed" and exits 0, so the version is compared with the pin before anything runs.
// Everything this file prints goes to stderr: stdout belongs to the command.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);
const stamps = join(here, 'node_modules', '.stamps');
const nodePackage = `node-linux-${process.arch}`;
const nodeBinary = join(here, 'node_modules', nodePackage, 'bin', 'node');
const pnpmScript = join(here, 'node_modules', 'pnpm', 'bin', 'pnpm.cjs');

function stop(message) {
  process.stderr.write(`toolchain: ${message}\n`);
  process.exit(2);
}

function hashOf(...files) {
  const hash = createHash('sha256');
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest('hex');
}

const stampHolds = (name, value) =>
  existsSync(join(stamps, name)) && readFileSync(join(stamps, name), 'utf8') === value;

function writeStamp(name, value) {
  mkdirSync(stamps, { recursive: true });
  writeFileSync(join(stamps, name), value);
}

/** Runs an install step quietly; its output is shown only when it fails. */
function step(title, file, args, options) {
  process.stderr.write(`toolchain: ${title}\n`);
  const done = spawnSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options });
  if (done.error) stop(`${title}: ${done.error.message}`);
  if (done.status !== 0) stop(`${title} failed (exit ${done.status})\n${done.stdout}${done.stderr}`);
}

function installToolchain(pin) {
  const lock = join(here, 'package-lock.json');
  const wanted = hashOf(lock, join(here, 'package.json'));
  if (!stampHolds('toolchain', wanted)) {
    // A tree from an older lockfile must not survive: npm ci removes it, but a cut-off one may lack parts.
    rmSync(join(here, 'node_modules'), { recursive: true, force: true });
    const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm'];
    step(
      `installing Node ${pin} and pnpm by hash`,
      npm[0],
      [...npm.slice(1), 'ci', '--ignore-scripts', '--no-audit', '--no-fund'],
      { cwd: here },
    );
  }
  if (!existsSync(nodeBinary))
    stop(`${nodePackage} ${pin} was not installed: its hash did not match, or the download failed`);
  const version = spawnSync(nodeBinary, ['--version'], { encoding: 'utf8' }).stdout?.trim();
  if (version !== `v${pin}`)
    stop(`the pinned Node is ${pin}, but ${nodeBinary} says ${version || 'nothing (glibc is required)'}`);
  writeStamp('toolchain', wanted);
}

function installWorkspace(env) {
  const manifests = [
    'package.json',
    'shared/package.json',
    'enclave/package.json',
    'host/package.json',
    'test/package.json',
  ];
  const files = ['pnpm-lock.yaml', 'pnpm-workspace.yaml', ...manifests]
    .map((file) => join(root, file))
    .filter(existsSync);
  const wanted = hashOf(...files);
  if (stampHolds('workspace', wanted) && existsSync(join(root, 'node_modules'))) return;
  step('installing the workspace from the lockfile', nodeBinary, [pnpmScript, 'install', '--frozen-lockfile'], {
    cwd: root,
    env,
  });
  writeStamp('workspace', wanted);
}

/** Standard ones, and those that an argument names (`--key-fd 3`): Node closes any other that it inherited. */
function descriptors(args) {
  const named = args.flatMap((word, index) => {
    if (!/^--[a-z]+-fd(?:=|$)/.test(word)) return [];
    const value = word.split('=')[1] ?? args[index + 1] ?? '';
    return /^[1-9]?\d$/.test(value) ? [Number(value)] : [];
  });
  return Array.from({ length: Math.max(2, ...named) + 1 }, (_, at) => (at < 3 || named.includes(at) ? at : 'ignore'));
}

/** Runs the command, passes signals on, and ends as it ended. */
function run(file, args, env) {
  const child = spawn(file, args, { stdio: descriptors(args), env });
  const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of forwarded) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => stop(error.message));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}

if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
  stop(`Linux on x64 or arm64 is required, this is ${process.platform} on ${process.arch}`);
}
const pin = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8')).optionalDependencies[nodePackage];
const env = { ...process.env, PATH: `${dirname(nodeBinary)}${delimiter}${process.env.PATH ?? ''}` };
installToolchain(pin);
const [tool, ...args] = process.argv.slice(2);
if (tool === 'node') {
  installWorkspace(env);
  run(nodeBinary, args, env);
} else if (tool === 'pnpm') {
  run(nodeBinary, [pnpmScript, ...args], env);
} else {
  stop('say "node <file>" or "pnpm <args>"');
}

/**
 * What of the installed packages could run without being JavaScript that somebody imports: scripts that a package
 * manager would start, and binaries. Found by looking at every file, whatever it is called.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fields, LIFECYCLE } from './lockfile.ts';

/** By `name@version`. */
export interface Installed {
  /** Name of the script to its command. */
  readonly scripts: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Path inside the package to its SHA-256 in hex. */
  readonly binaries: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** The installed and the listed packages, and what each is for; lockfile fields as they are. */
export interface Comparison {
  readonly found: Installed;
  readonly listed: Installed;
  /** All `name@version` that are installed here. */
  readonly installed: readonly string[];
  /** `packages` of the lockfiles, by `name@version`. */
  readonly locked: Readonly<Record<string, unknown>>;
  readonly machine: { readonly platform: string; readonly arch: string };
}

/** First bytes in hex: ELF, WebAssembly, Mach-O of both orders and of several processors, an archive of objects. */
const MAGICS = ['7f454c46', '0061736d', 'cffaedfe', 'cefaedfe', 'feedfacf', 'feedface', 'cafebabe', '213c6172'];
/** What Windows starts: two bytes, so the name has to say it, too. */
const WINDOWS = { magic: '4d5a', name: /\.(exe|dll|node|bare|com|scr)$/i };
/** Names that only a binary has: listed even where the first bytes are none of the above. */
const NAMES = /\.(node|wasm|bare|so(\.\d+)*|dylib|dll|exe|a|o|lib)$/i;

/** Folders of the packages that pnpm has laid out under `node_modules/.pnpm`, and npm under `.toolchain`. */
export function packageFolders(root: string): string[] {
  const pnpm = join(root, 'node_modules', '.pnpm');
  const holders = readdirSync(pnpm).map((name) => join(pnpm, name, 'node_modules'));
  // The last is where pnpm hoists links to all of them.
  const all = [...holders.filter((folder) => existsSync(folder)), join(root, '.toolchain', 'node_modules')];
  return all.flatMap((folder) =>
    readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      if (!entry.isDirectory() || entry.name.startsWith('.')) return [];
      if (!entry.name.startsWith('@')) return [join(folder, entry.name)];
      return readdirSync(join(folder, entry.name), { withFileTypes: true })
        .filter((inner) => inner.isDirectory())
        .map((inner) => join(folder, entry.name, inner.name));
    }),
  );
}

export function keyOf(folder: string): string {
  const { name, version } = fields(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')));
  return `${String(name)}@${String(version)}`;
}

export function scan(folders: readonly string[]): Installed {
  const scripts = new Map<string, Record<string, string>>();
  const binaries = new Map<string, Record<string, string>>();
  for (const folder of folders) {
    const key = keyOf(folder);
    const own = scriptsOf(folder);
    if (Object.keys(own).length > 0) scripts.set(key, own);
    // A package may lie in several folders, for several peers.
    const rows = { ...binaries.get(key), ...binariesOf(folder) };
    if (Object.keys(rows).length > 0) binaries.set(key, rows);
  }
  return { scripts: sorted(scripts), binaries: sorted(binaries) };
}

/** What differs between what is installed and the committed list, one line each. */
export function installedFindings({ found, listed, installed, locked, machine }: Comparison): string[] {
  const lines: string[] = [];
  for (const kind of ['scripts', 'binaries'] as const) {
    // What is no longer locked may lie about for a week; nothing leads to it.
    for (const key of installed.filter((it) => it in locked)) {
      const has = found[kind][key] ?? {};
      const should = listed[kind][key] ?? {};
      for (const name of new Set([...Object.keys(has), ...Object.keys(should)])) {
        if (should[name] === undefined) lines.push(`${key}: ${name} is not listed`);
        else if (has[name] === undefined) lines.push(`${key}: ${name} is listed and not there`);
        else if (has[name] !== should[name]) lines.push(`${key}: ${name} is another one than listed`);
      }
    }
    for (const key of Object.keys(listed[kind])) if (!(key in locked)) lines.push(`${key}: listed and not locked`);
  }
  for (const [key, entry] of Object.entries(locked)) {
    // What names no processor is JavaScript; what is missing of it is needed by what is for other systems alone.
    if (installed.includes(key) || fields(entry)['cpu'] === undefined) continue;
    if (fits(entry, machine.platform, machine.arch)) lines.push(`${key}: locked for this machine and not installed`);
    // The other architecture that this project runs on; nothing of other systems is ever installed.
    const runsHere = fits(entry, 'linux', 'x64') || fits(entry, 'linux', 'arm64');
    if (runsHere && listed.binaries[key] === undefined) lines.push(`${key}: for Linux, and not listed`);
  }
  return lines;
}

/** Whether a package manager would install it on Linux with glibc, or whatever the machine is. */
function fits(entry: unknown, platform: string, arch: string): boolean {
  const has = (field: string, value: string): boolean => {
    const wanted = fields(entry)[field];
    return wanted === undefined || [wanted].flat().includes(value);
  };
  return has('os', platform) && has('cpu', arch) && has('libc', 'glibc');
}

function scriptsOf(folder: string): Record<string, string> {
  const stated = fields(fields(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')))['scripts']);
  // `prepare` and `prepublish` are for who makes a package: of the registry's, nothing runs them.
  const run = LIFECYCLE.filter((name) => /install$/.test(name) && stated[name] !== undefined);
  const scripts = Object.fromEntries(run.map((name) => [name, String(stated[name])]));
  // npm runs this without being told to.
  const implied = existsSync(join(folder, 'binding.gyp')) && !('install' in scripts);
  return implied ? { ...scripts, install: 'node-gyp rebuild, for its binding.gyp' } : scripts;
}

function binariesOf(folder: string): Record<string, string> {
  const rows: Record<string, string> = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    if (isBinary(path)) rows[relative(folder, path)] = createHash('sha256').update(readFileSync(path)).digest('hex');
  }
  return rows;
}

function isBinary(path: string): boolean {
  if (NAMES.test(path)) return true;
  const first = Buffer.alloc(4);
  const file = openSync(path, 'r');
  try {
    readSync(file, first, 0, 4, 0);
  } finally {
    closeSync(file);
  }
  const magic = first.toString('hex');
  return MAGICS.includes(magic) || (magic.startsWith(WINDOWS.magic) && WINDOWS.name.test(path));
}

function sorted(map: ReadonlyMap<string, Record<string, string>>): Record<string, Record<string, string>> {
  const order = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : 1);
  const rows = [...map].map(([key, inner]): [string, Record<string, string>] => [
    key,
    Object.fromEntries(Object.entries(inner).sort(order)),
  ]);
  return Object.fromEntries(rows.sort(order));
}

/**
 * Writes cpio archives in the "newc" form (magic 070701), the only one the kernel unpacks as an initramfs
 * (Linux Documentation/driver-api/early-userspace/buffer-format.rst). Written: files, folders, symbolic links, device
 * nodes. Never written: hard links, times (always 0), checksums. The same entries give the same bytes in any order.
 */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

interface EntryBase {
  /** Relative to the root, no `.`, `..` or empty parts. Folders above it are written by themselves, mode 0755. */
  readonly path: string;
  /** 0 when absent. */
  readonly uid?: number;
  readonly gid?: number;
}

export type CpioEntry =
  | (EntryBase & { readonly kind: 'folder'; readonly mode?: number })
  | (EntryBase & { readonly kind: 'file'; readonly content: Uint8Array; readonly mode?: number })
  | (EntryBase & { readonly kind: 'symlink'; readonly target: string })
  | (EntryBase & {
      readonly kind: 'device';
      readonly type: 'character' | 'block';
      readonly major: number;
      readonly minor: number;
      readonly mode?: number;
    });

/** Type bits of st_mode (Linux inode(7)). */
const TYPE = { folder: 0o040000, file: 0o100000, symlink: 0o120000, character: 0o020000, block: 0o060000 } as const;
const DEFAULT_MODE = { folder: 0o755, file: 0o644, symlink: 0o777, device: 0o600 } as const;
const MAX_FIELD = 0xffff_ffff;
const TRAILER = 'TRAILER!!!';
const NOTHING = new Uint8Array();

/**
 * @returns one archive; several may follow each other in one initramfs, the later one's files win
 * @throws Error for a path that is not relative and plain, that is given twice, or that lies in something that is not a folder
 */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  let inode = 0;
  for (const entry of ordered(entries)) {
    inode += 1;
    const { mode, content, rdevMajor, rdevMinor } = inodeOf(entry);
    const fields = { inode, mode, uid: entry.uid ?? 0, gid: entry.gid ?? 0, rdevMajor, rdevMinor };
    parts.push(...record(entry.path, content, fields));
  }
  parts.push(...record(TRAILER, NOTHING, { inode: 0, mode: 0, uid: 0, gid: 0, rdevMajor: 0, rdevMinor: 0 }));
  return Buffer.concat(parts);
}

/** A folder of this machine as entries below `prefix`: its files, folders and links; owned by root. */
export function folderEntries(folder: string, prefix: string): CpioEntry[] {
  const entries: CpioEntry[] = [{ kind: 'folder', path: prefix, mode: lstatSync(folder).mode & 0o7777 }];
  for (const name of readdirSync(folder)) {
    const source = join(folder, name);
    const path = `${prefix}/${name}`;
    const status = lstatSync(source);
    if (status.isDirectory()) entries.push(...folderEntries(source, path));
    else if (status.isSymbolicLink()) entries.push({ kind: 'symlink', path, target: readlinkSync(source) });
    else if (status.isFile()) entries.push(fileEntry(path, source, status.mode & 0o7777));
    else throw new Error(`${source} is neither a file nor a folder nor a link`);
  }
  return entries;
}

/** A file of this machine, links followed. */
export function fileEntry(path: string, source: string, mode = 0o644): CpioEntry {
  return { kind: 'file', path, content: readFileSync(source), mode };
}

/** By path, folders that only follow from paths added: the kernel makes none by itself. */
function ordered(entries: readonly CpioEntry[]): CpioEntry[] {
  const byPath = new Map<string, CpioEntry>();
  for (const entry of entries) {
    const parts = entry.path.split('/');
    if (entry.path.includes('\0') || parts.some((part) => ['', '.', '..'].includes(part)) || entry.path === TRAILER)
      throw new Error(`not a path inside an archive: ${JSON.stringify(entry.path)}`);
    if (byPath.has(entry.path)) throw new Error(`twice in an archive: ${entry.path}`);
    byPath.set(entry.path, entry);
  }
  for (const { path } of entries) {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const parent = path.slice(0, end);
      const known = byPath.get(parent);
      if (known === undefined) byPath.set(parent, { kind: 'folder', path: parent });
      else if (known.kind !== 'folder') throw new Error(`not a folder, but ${path} lies in it: ${parent}`);
    }
  }
  return [...byPath.values()].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

interface Inode {
  readonly mode: number;
  readonly content: Uint8Array;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
}

function inodeOf(entry: CpioEntry): Inode {
  const noDevice = { content: NOTHING, rdevMajor: 0, rdevMinor: 0 };
  switch (entry.kind) {
    case 'folder':
      return { ...noDevice, mode: TYPE.folder | (entry.mode ?? DEFAULT_MODE.folder) };
    case 'file':
      return { ...noDevice, mode: TYPE.file | (entry.mode ?? DEFAULT_MODE.file), content: entry.content };
    case 'symlink':
      return { ...noDevice, mode: TYPE.symlink | DEFAULT_MODE.symlink, content: Buffer.from(entry.target) };
    case 'device':
      return {
        mode: TYPE[entry.type] | (entry.mode ?? DEFAULT_MODE.device),
        content: NOTHING,
        rdevMajor: entry.major,
        rdevMinor: entry.minor,
      };
  }
}

interface HeaderFields extends Omit<Inode, 'content'> {
  readonly inode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Header, name with its NUL, content; name and content each padded to four bytes. */
function record(path: string, content: Uint8Array, fields: HeaderFields): Uint8Array[] {
  const name = Buffer.from(`${path}\0`);
  const header = [
    '070701',
    hex(fields.inode),
    hex(fields.mode),
    hex(fields.uid),
    hex(fields.gid),
    hex(1), // nlink: the kernel takes more than one as a hard link to an earlier entry
    hex(0), // mtime
    hex(content.length),
    hex(0), // device the file was on, major and minor
    hex(0),
    hex(fields.rdevMajor),
    hex(fields.rdevMinor),
    hex(name.length),
    hex(0), // checksum: none in 070701
  ].join('');
  const head = Buffer.concat([Buffer.from(header), name]);
  return [head, padding(head.length), content, padding(content.length)];
}

const padding = (length: number): Uint8Array => new Uint8Array((4 - (length % 4)) % 4);

function hex(value: number): string {
  if (!Number.isInteger(value) || value < 0 || value > MAX_FIELD)
    throw new Error(`does not fit a cpio field: ${value}`);
  return value.toString(16).toUpperCase().padStart(8, '0');
}

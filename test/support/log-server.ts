/** The published layout of logs in memory: as files by path, over HTTP, and in a folder. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import type { BootId } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { parseNote } from '@quantumvault/shared/tlog/note.ts';
import { encodeEntries } from '@quantumvault/shared/tlog/tile-data.ts';
import { TILE_WIDTH, tilePath, tilesOf } from '@quantumvault/shared/tlog/tiles.ts';
import type { Served } from './log-builder.ts';

export type Files = Map<string, Uint8Array>;

export const bootsJson = (boots: readonly { boot: BootId; size: bigint }[]): Uint8Array =>
  utf8(JSON.stringify({ boots: boots.map(({ boot, size }) => ({ boot, size: String(size) })) }));

/** What a host publishes, by paths below `v1/log/`; bundles and notes only, which is all that is read. */
export function filesOf({ logs, policies }: Served): Files {
  const files: Files = new Map();
  const boots: { boot: BootId; size: bigint }[] = [];
  for (const [boot, { entries, note }] of logs) {
    const { size } = parseCheckpoint(parseNote(note).text);
    boots.push({ boot, size });
    files.set(`${boot}/checkpoint`, note);
    for (const tile of tilesOf(size)) {
      if (tile.level !== 'entries') continue;
      const start = Number(tile.index) * TILE_WIDTH;
      const bundle = entries.slice(start, start + tile.width);
      if (bundle.length === tile.width) files.set(`${boot}/${tilePath(tile)}`, encodeEntries(bundle));
    }
  }
  files.set('boots', bootsJson(boots));
  for (const [name, bytes] of policies) files.set(`policies/${name}`, bytes);
  return files;
}

export function writeFiles(folder: string, files: Files): void {
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** One HTTP server; what it answers may be replaced at any time. */
export class LogServer {
  readonly #server: Server;
  files: Files = new Map();
  /** Instead of the files, for the paths it names. */
  readonly handlers = new Map<string, Handler>();
  /** Paths asked for, below `/v1/log/`. */
  readonly requests: string[] = [];
  connections = 0;

  constructor() {
    this.#server = createServer((request, response) => {
      const path = (request.url ?? '').replace(/^\/v1\/log\//, '');
      this.requests.push(path);
      const handler = this.handlers.get(path);
      const bytes = this.files.get(path);
      if (handler !== undefined) handler(request, response);
      else if (bytes === undefined) response.writeHead(404).end('nothing here');
      else response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(bytes);
    });
    this.#server.on('connection', () => {
      this.connections++;
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  reset(files: Files): void {
    this.files = files;
    this.handlers.clear();
    this.requests.length = 0;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** What the stand-ins for docker and nitro-cli share with the test: how to behave, what was asked of them, images. */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The folder, in their environment. */
export const STATE_VARIABLE = 'QV_DOUBLES';

/** Absent means as a working tool would. */
export interface Behaviour {
  readonly docker?: {
    readonly version?: string;
    readonly fault?: 'daemon' | 'build' | 'save';
    /** What is odd about the image. */
    readonly image?: 'other-code' | 'two-layers' | 'link';
    /** A file that somebody changes while the image is built. */
    readonly changes?: string;
  };
  readonly nitro?: { readonly version?: string; readonly fault?: 'build' | 'no-pcrs' };
}

export interface Call {
  readonly program: string;
  readonly args: readonly string[];
  /** Of docker build: each file of its context. */
  readonly context?: readonly string[];
}

function folder(): string {
  const path = process.env[STATE_VARIABLE];
  if (path === undefined) throw new Error(`${STATE_VARIABLE} is not set`);
  return path;
}

export function behaviour(): Behaviour {
  const path = join(folder(), 'behaviour.json');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Behaviour) : {};
}

export function noteCall(call: Call): void {
  appendFileSync(join(folder(), 'calls'), `${JSON.stringify(call)}\n`);
}

/** Where the archive of an image is, as docker save writes it. */
export function imageFile(name: string): string {
  const images = join(folder(), 'images');
  mkdirSync(images, { recursive: true });
  return join(images, `${name.replaceAll('/', '_')}.tar`);
}

/** The value behind an option, which has to be there. */
export function optionOf(args: readonly string[], option: string): string {
  const value = args[args.indexOf(option) + 1];
  if (!args.includes(option) || value === undefined) fail(125, `flag needs an argument: ${option}`);
  return value;
}

export function fail(status: number, message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(status);
}

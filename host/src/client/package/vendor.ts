/**
 * The third-party code of the package, bundled in at the versions of this repository's lockfile: what is installed is
 * what was tested, nothing is resolved anew on the user's machine, and no optional native part comes along.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import type { Sources } from './sources.ts';

export interface Vendored {
  /** File name below `vendor/` by specifier. */
  readonly names: ReadonlyMap<string, string>;
  /** JavaScript by file name. */
  readonly files: ReadonlyMap<string, string>;
  /** Markdown: every package with version and licence text. */
  readonly notices: string;
}

export async function vendor(packages: Sources['packages']): Promise<Vendored> {
  const names = new Map<string, string>();
  const files = new Map<string, string>();
  const roots = new Set<string>();
  for (const [specifier, { folder, names: imported }] of packages) {
    const name = `${specifier.replace(/^@/, '').replace(/\.js$/, '').replaceAll('/', '-')}.js`;
    const { outputFiles, metafile } = await build({
      absWorkingDir: folder,
      // Only what is imported, and by name also where a package is CommonJS.
      stdin: {
        contents: `export { ${[...imported].sort().join(', ')} } from ${JSON.stringify(specifier)};`,
        resolveDir: folder,
      },
      bundle: true,
      // No Node built-ins: Web Crypto, TextEncoder and the like are everywhere.
      platform: 'browser',
      target: 'es2022',
      format: 'esm',
      charset: 'utf8',
      legalComments: 'none',
      // Readable on purpose, and without the paths of the machine it was built on.
      minify: false,
      metafile: true,
      write: false,
      logLevel: 'error',
      outfile: name,
    });
    names.set(specifier, name);
    files.set(name, withoutPaths(outputFiles[0]?.text ?? ''));
    for (const input of Object.keys(metafile.inputs)) {
      if (input.includes('node_modules')) roots.add(packageRoot(resolve(folder, input)));
    }
  }
  return { names, files, notices: notices([...roots]) };
}

/** esbuild names each file by its path from here, which is another one in another checkout. */
function withoutPaths(text: string): string {
  return text.replaceAll(/(?:\.\.\/)*node_modules\/(?:\.pnpm\/[^/\s"]+\/node_modules\/)?/g, '');
}

function packageRoot(file: string): string {
  let folder = dirname(file);
  // Packages have further package.json files inside, which only say what kind of modules a folder holds.
  while (!isPackage(folder)) folder = dirname(folder);
  return folder;
}

function isPackage(folder: string): boolean {
  const manifest = join(folder, 'package.json');
  return existsSync(manifest) && manifestOf(folder).version !== undefined;
}

interface Manifest {
  readonly name?: string;
  readonly version?: string;
  readonly license?: string;
}

const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

function notices(roots: readonly string[]): string {
  const sections = roots.map((root) => {
    const { name = '', version = '', license = 'no licence named' } = manifestOf(root);
    const file = readdirSync(root).find((each) => /^(?:licen[cs]e|copying)/i.test(each));
    const text = file === undefined ? `${license}; the package carries no licence text.` : read(join(root, file));
    return `## ${name} ${version}\n\n${license}\n\n${indented(text)}\n`;
  });
  return [
    '# Third-party code',
    '',
    'Bundled in `dist/vendor`, at exactly these versions, without changes but those of bundling.',
    '',
    ...[...new Set(sections)].sort(),
  ].join('\n');
}

const read = (path: string): string => readFileSync(path, 'utf8').trim();

/** As code, so that Markdown shows it as it is. */
const indented = (text: string): string => text.replaceAll(/\r?\n/g, '\n').replaceAll(/^(?=.)/gm, '    ');

/**
 * The rule of rule.ts over all of the product, as a part of `npm run lint`; or over the folders that are named. What is
 * there to try it on says itself as which file it is to be read.
 */
import { globSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { check, type Exception, type Finding } from './rule.ts';

const ROOT = join(import.meta.dirname, '../..');
const SOURCES = ['shared/src', 'enclave/src', 'host/src'];
const READ_AS = /^\/\/ read as (\S+)\n/;

export interface OfFile<T> {
  readonly file: string;
  readonly found: T;
}

/** @param folders from the root of the repository */
export function checkSources(folders: readonly string[] = SOURCES): {
  readonly files: number;
  readonly findings: readonly OfFile<Finding>[];
  readonly exceptions: readonly OfFile<Exception>[];
} {
  const patterns = folders.map((folder) => `${relative(ROOT, resolve(ROOT, folder))}/**/*.ts`);
  const files = globSync(patterns, { cwd: ROOT, exclude: (name) => name === 'node_modules' }).sort();
  const verdicts = files.map((file) => {
    const text = readFileSync(join(ROOT, file), 'utf8');
    return { file, ...check(READ_AS.exec(text)?.[1] ?? file, text) };
  });
  return {
    files: files.length,
    findings: verdicts.flatMap(({ file, findings }) => findings.map((found) => ({ file, found }))),
    exceptions: verdicts.flatMap(({ file, exceptions }) => exceptions.map((found) => ({ file, found }))),
  };
}

if (import.meta.main) {
  const { files, findings, exceptions } = checkSources(process.argv.length > 2 ? process.argv.slice(2) : undefined);
  for (const { file, found } of findings)
    console.error(`${relative(process.cwd(), join(ROOT, file))}:${found.line}: a secret is ${found.what}`);
  console.log(
    `Secrets: followed in ${files} files, ${exceptions.length} exceptions with a reason, ${findings.length} faults`,
  );
  if (findings.length > 0) process.exitCode = 1;
}

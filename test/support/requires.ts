/**
 * Programs that some tests need and not every machine has. Without one, its tests are skipped with a line that says
 * what to install; where QV_REQUIRE names it (names separated by commas, or `all`), that is a failure instead.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * @param debianPackage what installs it
 * @returns its path, or undefined: skip the tests
 */
export function requireProgram(name: string, debianPackage = name): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const found = folders.map((folder) => join(folder, name)).find(isExecutable);
  if (found !== undefined) return found;
  return unavailable(name, `${name} is not installed (Debian package ${debianPackage})`);
}

/**
 * Says what is missing, once per call.
 * @param name what QV_REQUIRE calls it
 * @throws Error where QV_REQUIRE names it
 */
export function unavailable(name: string, needs: string): undefined {
  const required = (process.env['QV_REQUIRE'] ?? '').split(',');
  if (required.includes('all') || required.includes(name)) throw new Error(`${needs}, and QV_REQUIRE asks for it`);
  console.warn(`skipped: ${needs}`);
  return undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

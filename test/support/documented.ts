/** Whether the OpenAPI document says that a path answers with a code: asked of every problem that a test is given. */
import { codesOf } from '@quantumvault/host/openapi/document.ts';
import { OPERATIONS } from '@quantumvault/host/openapi/operations.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';

const PATHS = OPERATIONS.map((operation) => ({
  pattern: new RegExp(`^${operation.route.replace(/:\w+/g, '[^/]+').replace(/\*$/, '.*')}$`),
  codes: codesOf(operation),
}));

/**
 * @param url of the reply; the method is not known, so the operations of one path count together
 * @returns undefined when it is documented, or the URL is none of the host's; else what its author has to do
 */
export function undocumented(url: string, code: ErrorCode): string | undefined {
  // Another method, or no such path.
  if (url === '' || code === 'route_unknown') return undefined;
  const { pathname } = new URL(url);
  const operations = PATHS.filter(({ pattern }) => pattern.test(pathname));
  if (operations.length === 0 || operations.some(({ codes }) => codes.includes(code))) return undefined;
  return `${pathname} answers ${code}, which its operation in host/src/openapi/ does not list; then npm run build:openapi`;
}

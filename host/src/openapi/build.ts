/** Writes the document where it is committed: `npm run build:openapi`. A test compares it with a new one. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openApiText } from './document.ts';

export const OPENAPI_FILE = fileURLToPath(new URL('../../openapi/openapi.json', import.meta.url));

if (import.meta.main) writeFileSync(OPENAPI_FILE, openApiText());

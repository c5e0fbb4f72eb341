import { readFileSync } from 'node:fs';

export const BASE_STYLE = readFileSync(new URL('./base.css', import.meta.url), 'utf8');

/** Connections of qv to a host, with the API token of whoever calls, where QV_API_TOKEN_FILE names its file. */
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type Connection, type ConnectionOptions, connectionTo } from '../client/http.ts';
import { readPrivateFile } from '../private-file.ts';
import { API_TOKEN } from '../reads/tokens-file.ts';
import type { Arguments } from './command.ts';

export const TOKEN_VARIABLE = 'QV_API_TOKEN_FILE';

const LOOPBACK = /^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])$/;

/** @throws TypeError when `url` is none; QvError usage_invalid, input_unreadable */
export function hostConnection(url: string | URL, options: ConnectionOptions = {}): Connection {
  const path = process.env[TOKEN_VARIABLE];
  if (path === undefined || path === '') return connectionTo(url, options);
  const connection = connectionTo(url, { ...options, apiToken: readToken(path) });
  const { protocol, hostname } = connection.url;
  if (protocol !== 'https:' && !LOOPBACK.test(hostname))
    throw new QvError('usage_invalid', { value: `${TOKEN_VARIABLE}: an API token goes over https alone` });
  return connection;
}

/** @throws QvError usage_invalid */
export function requireUrl(args: Arguments): string {
  const url = args.text('url');
  if (!URL.canParse(url)) throw new QvError('usage_invalid', { value: '--url is no URL' });
  return url;
}

function readToken(path: string): string {
  let text: string;
  try {
    // secret-rule: an API token is sent as text
    text = readPrivateFile(path, TOKEN_VARIABLE, LIMITS.apiTokenFileBytes).bytes.toString('latin1').trim();
  } catch (error) {
    const value = error instanceof QvError ? error.facts.value : (error as NodeJS.ErrnoException).code;
    throw new QvError('input_unreadable', { path: TOKEN_VARIABLE, value: value ?? 'unreadable' }, { cause: error });
  }
  if (!API_TOKEN.test(text)) throw new QvError('usage_invalid', { value: `${TOKEN_VARIABLE}: not an API token` });
  return text;
}

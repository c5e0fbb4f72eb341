/** Where the running host's admin socket is: the same option for every command that needs it. */
import type { Arguments, OptionSpec } from './command.ts';

const DEFAULT_SOCKET = '/run/quantumvault/admin.sock';

export const ADMIN_OPTION: OptionSpec = {
  value: '<socket>',
  help: `the host’s admin socket; ${DEFAULT_SOCKET} unless given`,
};

/** Also takes the `unix:/path` form. */
export function adminSocket(args: Arguments, fallback: string = DEFAULT_SOCKET): string {
  return (args.optional('admin') ?? fallback).replace(/^unix:/, '');
}

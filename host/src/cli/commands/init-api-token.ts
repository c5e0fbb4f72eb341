/** qv init api-token */
import { address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Command } from '../command.ts';
import { table, tick } from '../terminal.ts';

export const initApiToken: Command = {
  name: 'init api-token',
  summary: 'Give somebody an API token that reads over HTTP, and nothing else.',
  details: [
    'Adds its SHA-256 to the file, which is made when missing, mode 0600; a running host reads it.',
    'Prints the token once, for Authorization: Bearer. To take it back, remove its entry from the file.',
    'qv itself sends the token in the file that the variable QV_API_TOKEN_FILE names.',
    'A name that exists keeps its token: the command then answers already_initialised and exits 1.',
    'Call it as the user of the host, who must be able to read the file.',
  ],
  options: {
    name: { value: '<name>', help: 'whose it is: at most 64 of A-Z a-z 0-9 . _ @ -', required: true },
    role: { value: '<role>', help: 'backend, auditor or support', required: true },
    file: { value: '<file>', help: 'apiTokensFile of the host’s configuration', required: true },
    wallet: { value: '<address>', help: 'the only wallets it may see; default: all', multiple: true },
  },
  run: async (args) => {
    const { addApiToken, ROLES, TOKEN_NAME } = await import('../api-tokens.ts');
    const name = args.text('name');
    if (!TOKEN_NAME.test(name)) throw new QvError('usage_invalid', { value: `--name must match ${TOKEN_NAME.source}` });
    const role = ROLES.find((candidate) => candidate === args.text('role'));
    if (role === undefined) throw new QvError('usage_invalid', { value: `--role is one of ${ROLES.join(', ')}` });
    const wallets = args.list('wallet').map((wallet) => address(wallet, '--wallet'));
    const file = args.text('file');
    const token = await addApiToken(file, { name, role, wallets });
    const facts: [string, string][] = [
      ['Name', name],
      ['Role', role],
      ['Wallets', wallets.length === 0 ? 'all' : wallets.join(', ')],
    ];
    return {
      exit: 'ok',
      json: { name, role, wallets, file, token },
      text: (style) => [`${tick(style)} Added the token.`, ...table(facts, style), token],
    };
  },
};

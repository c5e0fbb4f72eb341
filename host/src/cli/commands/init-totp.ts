/** qv init totp */
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Command } from '../command.ts';
import { table, tick } from '../terminal.ts';

export const initTotp: Command = {
  name: 'init totp',
  summary: 'Give somebody of support staff a login that can freeze, with a new TOTP secret.',
  details: [
    'Adds the login to the operators file, which is made when missing, mode 0600; a running host reads it.',
    'Prints the otpauth:// URI once, for the authenticator application: whoever sees it has the login.',
    'A login that exists keeps its secret: the command then answers already_initialised and exits 1.',
    'Call it as the user of the host, who must be able to read the file.',
  ],
  options: {
    login: { value: '<name>', help: 'at most 64 of A-Z a-z 0-9 . _ @ -, not beginning with a mark', required: true },
    file: { value: '<file>', help: 'operatorsFile of the host’s configuration', required: true },
  },
  run: async (args) => {
    const { addOperator, LOGIN_NAME } = await import('../operators.ts');
    const login = args.text('login');
    if (!LOGIN_NAME.test(login))
      throw new QvError('usage_invalid', { value: `--login must match ${LOGIN_NAME.source}` });
    const file = args.text('file');
    const uri = await addOperator(file, login);
    return {
      exit: 'ok',
      json: { login, file, uri },
      text: (style) => [`${tick(style)} Added the login.`, ...table([['Login', login]], style), uri],
    };
  },
};

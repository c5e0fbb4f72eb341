/** qv init operator */
import type { Command } from '../command.ts';
import { OPERATOR_KEY, operatorKey } from '../succession/operator-key.ts';
import { table, tick } from '../terminal.ts';

export const initOperator: Command = {
  name: 'init operator',
  summary: 'Print the public key of an operator’s private key.',
  details: [
    'The public key goes into the measured configuration of the enclaves, as one of operators.keys.',
    'Make the private one on the machine where it stays: openssl genpkey -algorithm ed25519 -out operator.pem',
  ],
  options: { 'operator-key': OPERATOR_KEY },
  run: async (args) => {
    const { address } = operatorKey(args.text('operator-key'));
    return {
      exit: 'ok',
      json: { key: address },
      text: (style) => [`${tick(style)} An operator’s key.`, ...table([['Public key', address]], style)],
    };
  },
};

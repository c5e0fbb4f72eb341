/** qv init witness */
import { QvError } from '@quantumvault/shared/errors.ts';
import { formatVerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import type { Command } from '../command.ts';
import { table, tick } from '../terminal.ts';

export const initWitness: Command = {
  name: 'init witness',
  summary: 'Make the key and the memory of a new witness, once.',
  details: [
    'Prints the verifier key, which goes into the measured configuration of the enclaves it is to witness.',
    'A directory that has either keeps it: the command then answers already_initialised and exits 1.',
    'Never restore it from a backup: a witness with an older memory can be led to cosign a fork.',
  ],
  options: {
    dir: { value: '<dir>', help: 'made when missing; for one witness alone', required: true },
    name: { value: '<name>', help: 'its name: a URL without scheme, witness.example/w1', required: true },
  },
  run: async (args) => {
    const { initDirectory, WITNESS_NAME } = await import('../../witness/directory.ts');
    const dir = args.text('dir');
    const name = args.text('name');
    if (!WITNESS_NAME.test(name))
      throw new QvError('usage_invalid', { value: `--name must match ${WITNESS_NAME.source}` });
    const key = formatVerifierKey(initDirectory(dir, name));
    return {
      exit: 'ok',
      json: { dir, name, key },
      text: (style) => [`${tick(style)} Made a witness.`, ...table([['Verifier key', key]], style)],
    };
  },
};

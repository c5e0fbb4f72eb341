/** qv init row-key */

import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Command } from '../command.ts';
import { initRowKey as createRowKey } from '../row-key.ts';
import { tick } from '../terminal.ts';

export const initRowKey: Command = {
  name: 'init row-key',
  summary: 'Have the running host and enclave make the deployment’s row key, once.',
  details: ['A deployment that has a row key keeps it: the command then answers already_initialised and exits 1.'],
  options: { admin: ADMIN_OPTION },
  run: async (args) => {
    await createRowKey(adminSocket(args));
    return { exit: 'ok', json: { created: true }, text: (style) => [`${tick(style)} Made the row key.`] };
  },
};

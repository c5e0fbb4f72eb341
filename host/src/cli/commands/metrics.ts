/** qv metrics */
import { adminCall } from '../admin-client.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Command } from '../command.ts';

export const metrics: Command = {
  name: 'metrics',
  summary: 'Print the running host’s metrics, as Prometheus reads them.',
  details: ['The same text as GET /metrics, where the host’s configuration has that served.'],
  options: { admin: ADMIN_OPTION },
  run: async (args) => {
    const { text } = await adminCall(adminSocket(args), 'metrics', {});
    return { exit: 'ok', json: { metrics: text }, text: () => text.trimEnd().split('\n') };
  },
};

/** qv version */
import { readFileSync } from 'node:fs';
import type { Command } from '../command.ts';

const manifest = (): { version: string } =>
  JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string };

export const version: Command = {
  name: 'version',
  summary: 'Print the versions of qv and of the Node that runs it.',
  options: {},
  run: async () => {
    const { version: qv } = manifest();
    return {
      exit: 'ok',
      json: { qv, node: process.versions.node },
      text: () => [`qv ${qv} (Node ${process.versions.node})`],
    };
  },
};

/** The addon's checks, in a guest. `main.ts <folder of the addons> <mebibytes> <connections>` */
import { join } from 'node:path';
import { runChecks } from '../checks.ts';
import { ADDON_CHECKS } from './all.ts';
import { loadAddon } from './kit.ts';

const [folder = '', mebibytes = '', connections = ''] = process.argv.slice(2);
const addon = {
  ...loadAddon(join(folder, 'qv-native.node')),
  countedPath: join(folder, 'counted.node'),
  mebibytes: Number(mebibytes),
  connections: Number(connections),
};
process.exit((await runChecks(ADDON_CHECKS, addon)) ? 0 : 1);

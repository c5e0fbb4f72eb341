/** The addon's checks, in a guest. `main.ts <addon> <mebibytes> <connections>` */
import { runChecks } from '../checks.ts';
import { FLOW } from './flow.ts';
import { loadAddon } from './kit.ts';
import { LIFETIME } from './lifetime.ts';

const [path = '', mebibytes = '', connections = ''] = process.argv.slice(2);
const addon = { ...loadAddon(path), mebibytes: Number(mebibytes), connections: Number(connections) };
process.exit((await runChecks([...FLOW, ...LIFETIME], addon)) ? 0 : 1);

/** The checks, as a unit of the systemd that they are about. */
import { runChecks } from '../checks.ts';
import { UNIT_CHECKS } from './checks.ts';

process.exit((await runChecks(UNIT_CHECKS, undefined)) ? 0 : 1);

/**
 * `npm run demo`: the main job from end to end, in real processes on this machine; with `-- --upgrade` an upgrade of the
 * image instead. `-- --json` prints one JSON object on standard output and nothing else. Exits 0 when every step and check holds, 1 otherwise; stops what it started.
 */
import { parseArgs } from 'node:util';
import { ERRORS, QvError } from '@quantumvault/shared/errors.ts';
import { demo, STEPS } from './demo-steps.ts';
import { catchInterruption } from './interruption.ts';
import { narrator, silent } from './narrator.ts';
import { UPGRADE_STEPS, upgradeWalkThrough } from './upgrade/walk-through.ts';

function parseOptions(): { json: boolean; upgrade: boolean } {
  const flag = { type: 'boolean', default: false } as const;
  try {
    return parseArgs({ options: { json: flag, upgrade: flag } }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nusage: npm run demo [-- [--upgrade] [--json]]\n`);
    process.exit(2);
  }
}

const { json, upgrade } = parseOptions();
const interruption = catchInterruption();

function explain(error: unknown): { message: string; code?: string } {
  if (!(error instanceof QvError)) return { message: error instanceof Error ? error.message : String(error) };
  const facts = [error.facts.path, error.facts.value].filter(Boolean).join(': ');
  return { code: error.code, message: `${ERRORS[error.code].meaning}${facts === '' ? '' : ` (${facts})`}` };
}

try {
  const [run, steps] = upgrade ? ([upgradeWalkThrough, UPGRADE_STEPS] as const) : ([demo, STEPS] as const);
  const found = await run(json ? silent : narrator(process.stdout, steps), interruption.signal);
  if (json) process.stdout.write(`${JSON.stringify({ ok: true, ...found })}\n`);
} catch (error) {
  const interrupted = interruption.signal.aborted;
  process.exitCode = interrupted ? interruption.exitCode() : 1;
  const reason = explain(interrupted ? interruption.signal.reason : error);
  if (json) process.stdout.write(`${JSON.stringify({ ok: false, error: reason })}\n`);
  else process.stderr.write(`\ndemo: ${reason.code === undefined ? '' : `${reason.code}: `}${reason.message}\n`);
}

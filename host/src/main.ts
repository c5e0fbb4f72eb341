/**
 * The host process: `node main.ts --config <file> [--exit-with-parent]`. Prints one line of JSON when it listens;
 * logs go to standard error. Ends with 0 after SIGTERM, SIGINT or, if asked, when its standard input ends.
 */
import { parseArgs } from 'node:util';
import { codeOf, ERRORS, QvError } from '@quantumvault/shared/errors.ts';
import { endOnFaults, placesOf } from '@quantumvault/shared/faults.ts';
import { loadHostConfig } from './config.ts';
import { createLog, surviveLogFaults } from './log.ts';
import { startHost } from './start.ts';
import { transportFor } from './transport.ts';

// The database, its log and the sockets are for this user alone; what others may use is opened by name.
process.umask(0o077);
surviveLogFaults();
endOnFaults((line, fault) => {
  const level = line.startsWith('fatal') ? 'fatal' : 'warn';
  process.stderr.write(`${JSON.stringify({ level, value: line, places: placesOf(fault) })}\n`);
});

try {
  const { values } = parseArgs({
    options: { config: { type: 'string' }, 'exit-with-parent': { type: 'boolean', default: false } },
  });
  if (values.config === undefined) throw new QvError('config_invalid', { path: '--config', value: 'missing' });
  const config = loadHostConfig(values.config);
  const host = await startHost(config, { transport: transportFor(config), log: createLog(config.logLevel) });
  const stop = (): void => void host.close().then(({ unwritten }) => process.exit(unwritten === 0 ? 0 : 1));
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  if (values['exit-with-parent']) process.stdin.once('close', stop).resume();
  process.stdout.write(
    `${JSON.stringify({
      ready: true,
      http: host.url,
      admin: host.adminSocket,
      metrics: host.metricsUrl,
      opsPage: host.opsPageUrl,
    })}\n`,
  );
} catch (error) {
  const facts = error instanceof QvError ? error.facts : { value: String(error) };
  const code = codeOf(error);
  process.stderr.write(`${JSON.stringify({ level: 'fatal', code, title: ERRORS[code].meaning, ...facts })}\n`);
  process.exit(1);
}

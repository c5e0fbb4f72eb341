#!/usr/bin/env node
/** The `qv` binary: only wires the process to `runCli`. */
import { runCli } from './run.ts';

// Whoever read the output has gone (`| head`): the command still ends with its own code.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}
process.exitCode = await runCli(process.argv.slice(2), process);

#!/usr/bin/env node
/** The `qv` binary: only wires the process to `runCli`. */
import { runCli } from './run.ts';

process.exitCode = await runCli(process.argv.slice(2), process);

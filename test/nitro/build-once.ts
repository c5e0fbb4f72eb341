/** Before any test file: building the machine blocks for minutes, which a worker of the test runner must not. */
import type { TestProject } from 'vitest/node';
import { buildNitroMachine, type NitroMachine } from './machine.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Undefined when something is missing, which has been said by then. */
    nitroMachine: NitroMachine | undefined;
  }
}

export default function setup({ provide }: TestProject): void {
  const machine = buildNitroMachine();
  if (machine !== undefined) process.stderr.write(`emulated by ${machine.versions.join(', ')}\n`);
  provide('nitroMachine', machine);
}

/** Before any test file: building the machine blocks for minutes, which a worker of the test runner must not. */
import { requireNitroMachine } from './machine.ts';

export default function setup(): void {
  requireNitroMachine();
}

/** How long the stop button takes while 64 connections ask for signatures. The count of what came after it is a test. */
import { type FreezeLoadReport, freezeLoad } from '../load/freeze-load.ts';
import { startStack } from '../stack/stack.ts';

const FREEZES = 200;

export async function freezeRun(): Promise<FreezeLoadReport> {
  const stack = await startStack({ witnesses: 'none', logLevel: 'error' });
  try {
    return await freezeLoad(stack, FREEZES);
  } finally {
    await stack.stop();
  }
}

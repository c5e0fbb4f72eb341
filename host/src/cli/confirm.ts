/** Asks somebody at a terminal before something is done that nothing takes back. */
import { createInterface } from 'node:readline';
import { QvError } from '@quantumvault/shared/errors.ts';

/** Standard input, or a test's. */
export type Keyboard = NodeJS.ReadableStream & { readonly isTTY?: boolean };

/**
 * @param word what has to be typed, whole, for it to be done
 * @throws QvError usage_invalid when something else was typed, or nobody is there to ask
 */
export async function confirmByTyping(
  { what, consequences, word }: { what: string; consequences: readonly string[]; word: string },
  screen: NodeJS.WritableStream,
  keyboard: Keyboard = process.stdin,
): Promise<void> {
  if (keyboard.isTTY !== true)
    throw new QvError('usage_invalid', { value: '--yes is required where nobody can be asked' });
  screen.write(`${what}\n${consequences.map((line) => `  ${line}\n`).join('')}Type ${word} to go on: `);
  const lines = createInterface({ input: keyboard, terminal: false });
  try {
    for await (const line of lines) {
      if (line.trim() === word) return;
      break;
    }
  } finally {
    lines.close();
    keyboard.pause();
  }
  throw new QvError('usage_invalid', { value: 'not confirmed: nothing was done' });
}

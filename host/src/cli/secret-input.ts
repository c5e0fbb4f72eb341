/** One line that must not be seen: typed without echo, or from standard input. Never from the command line. */
import { QvError } from '@quantumvault/shared/errors.ts';
import { readSource } from './text-input.ts';

export interface Keyboard extends NodeJS.ReadableStream {
  readonly isTTY?: boolean;
  setRawMode?(mode: boolean): unknown;
}

const ENTER = ['\r', '\n', '\u0004'];
const ERASE = ['\u007f', '\b'];
const INTERRUPT = '\u0003';
const MAX_CHARACTERS = 256;

/**
 * @param fromStandardInput all of it, without the line break at its end
 * @throws QvError usage_invalid when there is nobody to ask; input_unreadable when it was interrupted
 */
export async function readSecret(
  prompt: string,
  fromStandardInput: boolean,
  screen: NodeJS.WritableStream,
  keyboard: Keyboard = process.stdin,
): Promise<string> {
  if (fromStandardInput) return new TextDecoder().decode(await readSource('-')).trim();
  if (keyboard.isTTY !== true || keyboard.setRawMode === undefined) {
    throw new QvError('usage_invalid', { value: 'no terminal to ask on: pass it on standard input and say -' });
  }
  screen.write(prompt);
  keyboard.setRawMode(true);
  try {
    return await typedLine(keyboard);
  } finally {
    keyboard.setRawMode(false);
    keyboard.pause();
    screen.write('\n');
  }
}

/** In raw mode the terminal neither shows characters nor edits the line. */
function typedLine(keyboard: Keyboard): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const interrupted = (): void => reject(new QvError('input_unreadable', { path: '-', value: 'interrupted' }));
  let line = '';
  const onData = (chunk: Buffer | string): void => {
    for (const key of String(chunk)) {
      // What follows either in the same chunk changes nothing any more.
      if (ENTER.includes(key)) resolve(line);
      else if (key === INTERRUPT) interrupted();
      else if (ERASE.includes(key)) line = line.slice(0, -1);
      else if (line.length < MAX_CHARACTERS) line += key;
    }
  };
  keyboard.on('data', onData);
  keyboard.once('end', interrupted);
  keyboard.resume();
  return promise.finally(() => {
    keyboard.removeListener('data', onData);
    keyboard.removeListener('end', interrupted);
  });
}

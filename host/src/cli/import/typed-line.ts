/**
 * One line typed on the terminal of this process, unseen, into guarded memory: also when standard input is a pipe. The
 * terminal hands over each key as it is pressed and neither shows nor edits; libuv writes them into `chunk`.
 */
import { constants, openSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ReadStream } from 'node:tty';
import { QvError } from '@quantumvault/shared/errors.ts';

const TERMINAL = '/dev/tty';
/** Those by which a terminal or a user ends a program. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** Of a pasted text the lines behind the first arrive within this time: they would be shown, and run by a shell. */
const DROP_MILLISECONDS = 100;

const KEY = { interrupt: 0x03, end: 0x04, backspace: 0x08, kill: 0x15, quit: 0x1c, erase: 0x7f } as const;
const ENTER = [0x0d, 0x0a, KEY.end];

const interrupted = (): QvError => new QvError('input_unreadable', { path: TERMINAL, value: 'interrupted' });

/**
 * Ctrl-U begins anew; Ctrl-C ends it. After a signal the terminal is as it was before the process dies of it.
 * @param line one byte longer than what may be typed; written from its beginning
 * @param chunk overwritten, and wiped
 * @returns how many bytes of `line`
 * @throws QvError usage_invalid when there is no terminal; input_unreadable when it was interrupted, or another control
 *   key was pressed; body_too_large
 */
export async function typedLine(prompt: string, line: Buffer, chunk: Buffer): Promise<number> {
  let file: number;
  try {
    file = openSync(TERMINAL, constants.O_RDWR | constants.O_NOCTTY);
  } catch (error) {
    throw new QvError(
      'usage_invalid',
      { value: 'no terminal to ask on: name a descriptor or a file' },
      { cause: error },
    );
  }
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const typed = new TypedLine(line);
  const keyboard = new ReadStream(file, {
    onread: {
      buffer: chunk,
      callback: (count: number, bytes: Uint8Array): boolean => {
        try {
          const length = typed.take(bytes.subarray(0, count));
          if (length !== undefined) resolve(length);
        } catch (error) {
          reject(error);
        } finally {
          bytes.fill(0);
        }
        return true;
      },
    },
  });
  const onEnd = (): void => reject(interrupted());
  keyboard.on('end', onEnd).on('error', onEnd).on('close', onEnd);
  const onSignal = (signal: NodeJS.Signals): void => {
    keyboard.setRawMode(false);
    line.fill(0);
    chunk.fill(0);
    for (const each of SIGNALS) process.removeListener(each, onSignal);
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    keyboard.setRawMode(true);
    // Shown once nothing typed is shown any more: whoever waits for it may begin.
    writeSync(file, prompt);
    keyboard.resume();
    try {
      return await promise;
    } finally {
      await delay(DROP_MILLISECONDS);
    }
  } finally {
    keyboard.setRawMode(false);
    writeSync(file, '\n');
    for (const signal of SIGNALS) process.removeListener(signal, onSignal);
    keyboard.destroy();
    chunk.fill(0);
  }
}

/** What has been typed so far. */
class TypedLine {
  readonly #line: Buffer;
  #length = 0;
  #hasControl = false;
  #isTooLong = false;
  #hasEnded = false;

  constructor(line: Buffer) {
    this.#line = line;
  }

  /**
   * What follows the end of the line is dropped.
   * @returns the line's length when it has ended with these bytes
   */
  take(bytes: Uint8Array): number | undefined {
    for (const byte of bytes) {
      if (this.#hasEnded) return undefined;
      this.#hasEnded = ENTER.includes(byte) || byte === KEY.interrupt || byte === KEY.quit;
      if (ENTER.includes(byte)) return this.#end();
      if (this.#hasEnded) throw interrupted();
      if (byte === KEY.erase || byte === KEY.backspace) this.#erase();
      else if (byte === KEY.kill) this.#begin();
      else this.#add(byte);
    }
    return undefined;
  }

  #begin(): void {
    this.#line.fill(0);
    this.#length = 0;
    this.#hasControl = false;
    this.#isTooLong = false;
  }

  #add(byte: number): void {
    // An arrow key, say: dropping it would leave the rest of its sequence.
    if (byte < 0x20 && byte !== 0x09) this.#hasControl = true;
    else if (this.#length === this.#line.length - 1) this.#isTooLong = true;
    else this.#line[this.#length++] = byte;
  }

  /** One character, which in UTF-8 may be several bytes. */
  #erase(): void {
    for (let isWhole = false; !isWhole && this.#length > 0; ) {
      const last = this.#line[--this.#length] ?? 0;
      this.#line[this.#length] = 0;
      isWhole = (last & 0xc0) !== 0x80;
    }
  }

  #end(): number {
    if (this.#isTooLong) throw new QvError('body_too_large', { path: TERMINAL });
    if (this.#hasControl) {
      throw new QvError('input_unreadable', { path: TERMINAL, value: 'a control key was pressed, such as an arrow' });
    }
    return this.#length;
  }
}

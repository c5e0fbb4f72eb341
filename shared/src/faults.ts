/**
 * What becomes of faults that nobody foresaw: the process ends, and says what kind of fault it was. Messages and stacks
 * may hold data (what could not be parsed, what was too long) and are printed nowhere.
 */

const MOST_PLACES = 16;
const NAME = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;

/** The kind of an error and its code, as far as they are plain words; never its message. */
export function kindOf(fault: unknown): string {
  try {
    const { name, code } = fault as { readonly name?: unknown; readonly code?: unknown };
    return [name, code].filter((word) => typeof word === 'string' && NAME.test(word)).join(' ') || 'unknown fault';
  } catch {
    return 'unknown fault';
  }
}

const PLACE = /^ {4}at (.+)$/;

/** Where an error was made, from its stack without its message: functions, files, lines. */
export function placesOf(fault: unknown): readonly string[] {
  try {
    const { name, message, stack } = fault as Error;
    const head = message === '' ? name : `${name}: ${message}`;
    // Something else has put its own words there.
    if (!stack?.startsWith(`${head}\n`)) return [];
    return stack
      .slice(head.length + 1)
      .split('\n')
      .flatMap((line) => PLACE.exec(line)?.[1] ?? [])
      .slice(0, MOST_PLACES);
  } catch {
    return [];
  }
}

/**
 * For entry files. Of warnings and deprecations, too, only the kind is said.
 * @param say takes one line, and what it is about
 */
export function endOnFaults(say: (line: string, fault: unknown) => void): void {
  // Rejections that nobody handles arrive here as well: Node's default, and Node prints them itself without this.
  process.on('uncaughtException', (fault) => {
    try {
      say(`fatal: ${kindOf(fault)}`, fault);
    } finally {
      process.exit(1);
    }
  });
  // Node's own listener prints the message.
  process.removeAllListeners('warning');
  process.on('warning', (warning) => say(`warning: ${kindOf(warning)}`, warning));
}

/** How the demo talks: numbered steps, facts under them, colours only on a terminal. */
import { type Style, styleFor, table } from '@quantumvault/host/cli/terminal.ts';

export interface Narrator {
  /** A new numbered step. */
  step(title: string): void;
  /** Something that takes time and begins now. */
  progress(what: string): void;
  facts(rows: readonly (readonly [string, string])[]): void;
  ok(text: string): void;
  no(text: string): void;
  /** Text that somebody is shown, set apart. */
  quote(text: string): void;
  note(text: string): void;
  /** A line to copy into a shell. */
  command(line: string): void;
}

export function narrator(stream: NodeJS.WritableStream, steps: number): Narrator {
  const style: Style = styleFor(stream);
  const startedAt = performance.now();
  let number = 0;
  const write = (line: string): void => void stream.write(`${line}\n`);
  return {
    step: (title) => {
      number++;
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      write('');
      write(`${style('cyan', `[${number}/${steps}]`)} ${style('bold', title)} ${style('dim', `(${seconds} s)`)}`);
    },
    progress: (what) => write(`  ${style('dim', `… ${what}`)}`),
    facts: (rows) => {
      for (const line of table(rows, style)) write(line);
    },
    ok: (text) => write(`  ${style('green', '✓')} ${text}`),
    no: (text) => write(`  ${style('red', '✗')} ${text}`),
    quote: (text) => {
      for (const line of text.split('\n')) write(`  ${style('yellow', '│')} ${line}`);
    },
    note: (text) => write(`  ${style('dim', text)}`),
    command: (line) => write(`    ${style('cyan', line)}`),
  };
}

const nothing = (): void => undefined;

/** For --json: the one object says it all. */
export const silent: Narrator = {
  step: nothing,
  progress: nothing,
  facts: nothing,
  ok: nothing,
  no: nothing,
  quote: nothing,
  note: nothing,
  command: nothing,
};

/** One line that is drawn over until the work is done; nothing at all where nobody watches. */
const WIDTH = 28;
/** Often enough to look alive, seldom enough to cost nothing. */
const INTERVAL_MILLISECONDS = 100;
const ERASE_LINE = '\r\u001b[2K';

export interface ProgressBar {
  readonly update: (done: number, total: number) => void;
  /** Leaves no trace of the bar. */
  readonly clear: () => void;
}

export function progressBar(stream: NodeJS.WritableStream, label: string, now: () => number = Date.now): ProgressBar {
  if (!('isTTY' in stream) || stream.isTTY !== true) return { update: () => {}, clear: () => {} };
  // Work that ends at once shows no bar.
  let drawnAt = now();
  let isDrawn = false;
  return {
    update: (done, total) => {
      if (now() - drawnAt < INTERVAL_MILLISECONDS) return;
      drawnAt = now();
      isDrawn = true;
      stream.write(ERASE_LINE + barText(label, done, total));
    },
    clear: () => {
      if (isDrawn) stream.write(ERASE_LINE);
      isDrawn = false;
    },
  };
}

function barText(label: string, done: number, total: number): string {
  const part = total === 0 ? 1 : done / total;
  const full = Math.floor(part * WIDTH);
  const bar = '█'.repeat(full) + '░'.repeat(WIDTH - full);
  return `${label} ${bar} ${String(Math.floor(part * 100)).padStart(3)} %  ${bytesText(done)} of ${bytesText(total)}`;
}

export function bytesText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? String(value) : value.toFixed(1)} ${units[power]}`;
}

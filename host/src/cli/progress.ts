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

/** How far and how much, in the unit of the work. */
export type Amounts = (done: number, total: number) => string;

export const inBytes: Amounts = (done, total) => `${bytesText(done)} of ${bytesText(total)}`;
export const inLeaves: Amounts = (done, total) => `${countText(done)} of ${countText(total)} leaves`;
export const inWallets: Amounts = (done, total) => `${countText(done)} of ${countText(total)} wallets`;

export function progressBar(
  stream: NodeJS.WritableStream,
  label: string,
  { now = Date.now, amounts = inBytes }: { readonly now?: () => number; readonly amounts?: Amounts } = {},
): ProgressBar {
  if (!('isTTY' in stream) || stream.isTTY !== true) return { update: () => {}, clear: () => {} };
  // Work that ends at once shows no bar.
  let drawnAt = now();
  let isDrawn = false;
  return {
    update: (done, total) => {
      if (now() - drawnAt < INTERVAL_MILLISECONDS) return;
      drawnAt = now();
      isDrawn = true;
      stream.write(`${ERASE_LINE}${barText(label, done, total)}  ${amounts(done, total)}`);
    },
    clear: () => {
      if (isDrawn) stream.write(ERASE_LINE);
      isDrawn = false;
    },
  };
}

/** For work of which nobody knows how much there is. */
export function progressLine(stream: NodeJS.WritableStream): {
  readonly update: (text: string) => void;
  /** Leaves no trace of the line. */
  readonly clear: () => void;
} {
  if (!('isTTY' in stream) || stream.isTTY !== true) return { update: () => {}, clear: () => {} };
  return {
    update: (text) => void stream.write(`${ERASE_LINE}${text}`),
    clear: () => void stream.write(ERASE_LINE),
  };
}

function barText(label: string, done: number, total: number): string {
  const part = total === 0 ? 1 : Math.min(1, done / total);
  const full = Math.floor(part * WIDTH);
  const bar = '█'.repeat(full) + '░'.repeat(WIDTH - full);
  return `${label} ${bar} ${String(Math.floor(part * 100)).padStart(3)} %`;
}

/** 1234567 as 1,234,567. */
export function countText(count: number | bigint): string {
  return count.toString().replace(/\B(?=(?:\d{3})+$)/g, ',');
}

export function bytesText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? String(value) : value.toFixed(1)} ${units[power]}`;
}

/**
 * Leaves as rows for other programs: JSON lines, or CSV (RFC 4180: CRLF, a header, quotes doubled). The columns are
 * those of LEAF_COLUMNS and, last, whether the log was verified.
 *
 * Spreadsheets run what looks like a formula, and the texts of a leaf are chosen by whoever asked. A CSV cell that begins
 * with = + - @, a tab, a line break or an apostrophe therefore gets an apostrophe in front, which a reader takes off
 * again. Amounts are never negative, so none of them is touched. JSON lines are as they are.
 */
import { LEAF_COLUMNS, type LeafRecord } from '@quantumvault/shared/evidence/leaf-record.ts';

export type TableFormat = 'jsonl' | 'csv';
const COLUMNS = [...LEAF_COLUMNS, 'verified'] as const;

/** Before the first row. */
export function tableHead(format: TableFormat): string {
  return format === 'csv' ? `${COLUMNS.join(',')}\r\n` : '';
}

export function tableRow(format: TableFormat, record: LeafRecord, verified: boolean): string {
  const row = { ...record, verified };
  if (format === 'jsonl') return `${JSON.stringify(row)}\n`;
  return `${COLUMNS.map((column) => csvCell(row[column])).join(',')}\r\n`;
}

/** Nothing at all for what is absent; an empty text is quoted. */
export function csvCell(value: unknown): string {
  if (value === null || value === undefined) return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const safe = /^[=+\-@\t\r\n']/.test(text) ? `'${text}` : text;
  return safe === '' || /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

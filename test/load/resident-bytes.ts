import { readFileSync } from 'node:fs';

/** Resident memory of a process (proc_pid_statm(5)), in pages of 4 kB. */
export function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4_096;
}

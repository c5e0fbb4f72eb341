/**
 * Checks that run inside a guest. Each reports by one line of JSON; the tests outside have the same list, so that a
 * check without a report is a failed test.
 */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Check<Context> {
  readonly name: string;
  /** Throws when it fails. @returns what it measured, for people */
  readonly run: (context: Context) => Promise<string | undefined>;
  /** Default 120. What takes longer hangs: software emulation is slow, but not that slow. */
  readonly limitSeconds?: number;
}

export interface CheckReport {
  readonly check: string;
  readonly passed: boolean;
  /** What it measured, or how it failed. */
  readonly facts: string;
}

/** Runs them one after the other and prints a report of each. @returns whether all passed */
export async function runChecks<Context>(checks: readonly Check<Context>[], context: Context): Promise<boolean> {
  let passed = true;
  for (const check of checks) {
    const report = await runCheck(check, context);
    passed &&= report.passed;
    process.stdout.write(`${JSON.stringify(report)}\n`);
  }
  return passed;
}

async function runCheck<Context>(check: Check<Context>, context: Context): Promise<CheckReport> {
  const { name, limitSeconds = 120 } = check;
  const limit = new AbortController();
  const late = sleep(limitSeconds * 1000, undefined, { signal: limit.signal }).then(() => {
    throw new Error(`not done after ${limitSeconds} s`);
  });
  late.catch(() => undefined);
  try {
    const facts = (await Promise.race([check.run(context), late])) ?? '';
    return { check: name, passed: true, facts };
  } catch (error) {
    return {
      check: name,
      passed: false,
      facts: error instanceof Error ? (error.stack ?? error.message) : String(error),
    };
  } finally {
    limit.abort();
  }
}

/** By name, from the lines of a guest. */
export function reportsIn(lines: readonly string[]): Map<string, CheckReport> {
  const reports = new Map<string, CheckReport>();
  for (const line of lines) {
    if (!line.startsWith('{"check":')) continue;
    const report = JSON.parse(line) as CheckReport;
    reports.set(report.check, report);
  }
  return reports;
}

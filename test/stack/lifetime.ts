/** What every process of the local stack does: one line when ready, and an end together with its parent. */

/** One JSON line on standard output, which the parent waits for. */
export function announceReady(facts: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify({ ready: true, ...facts })}\n`);
}

/**
 * Closes and exits on SIGTERM or SIGINT, and when the pipe on standard input closes: that happens whenever the parent
 * ends, also by SIGKILL, so no orphan stays behind. Start these processes with a pipe as standard input.
 */
export function endWithParent(close: () => Promise<void>): void {
  let ending = false;
  const end = (): void => {
    if (ending) return;
    ending = true;
    close().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`${String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.stdin.on('end', end);
  process.stdin.on('close', end);
  process.stdin.on('error', end);
  process.stdin.resume();
}

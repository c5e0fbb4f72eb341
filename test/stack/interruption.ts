/** Ctrl-C and its relatives as one signal that the work looks at, so that everything started is also stopped. */

export interface Interruption {
  readonly signal: AbortSignal;
  /** 128 and the number of the signal, as shells have it. */
  exitCode(): number;
}

const NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** Catches the signals for the rest of the process's life: the first one aborts, the others are waited out. */
export function catchInterruption(): Interruption {
  const controller = new AbortController();
  let exitCode = 1;
  for (const [name, number] of Object.entries(NUMBERS)) {
    process.on(name, () => {
      if (controller.signal.aborted) return;
      exitCode = 128 + number;
      controller.abort(new Error(`stopped by ${name}`));
    });
  }
  // Nobody reads any more (`| head`): end in order rather than by an exception.
  process.stdout.on('error', (error) => controller.abort(error));
  return { signal: controller.signal, exitCode: () => exitCode };
}

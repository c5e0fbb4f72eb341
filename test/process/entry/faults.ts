/** Faults on a signal, each with data in every place of it that could be printed. */

/** Stands for a secret, or for what a caller wrote. */
export const MARKER = 'm4rker-0f-data';

function hostile(): Error {
  const error = new Error(MARKER, { cause: new Error(`cause ${MARKER}`) });
  return Object.assign(error, { code: `E ${MARKER}`, facts: { value: MARKER } });
}

export const FAULTS: Readonly<Partial<Record<NodeJS.Signals, () => unknown>>> = {
  SIGUSR2: () => {
    throw hostile();
  },
  SIGHUP: () => Promise.reject(hostile()),
  SIGALRM: () => Promise.reject(MARKER),
  SIGVTALRM: () => {
    throw Object.assign(new Error(), { name: `${MARKER} ${MARKER}`, message: MARKER });
  },
  SIGPROF: () => {
    throw MARKER;
  },
  SIGWINCH: () => {
    process.emitWarning(MARKER, { type: 'MarkedWarning', detail: MARKER });
    process.emitWarning(MARKER, 'DeprecationWarning', 'DEP0001');
  },
};

export function faultOnSignal(): void {
  for (const [signal, fault] of Object.entries(FAULTS)) process.on(signal, () => void fault());
}

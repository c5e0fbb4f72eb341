/** Work of which only so much runs at a time; some more waits, in order, and the rest is refused. */
import { QvError } from '@quantumvault/shared/errors.ts';

export class Turns {
  readonly #running: number;
  readonly #waiting: number;
  readonly #queue: (() => void)[] = [];
  #underWay = 0;

  constructor(running: number, waiting: number) {
    this.#running = running;
    this.#waiting = waiting;
  }

  /** @throws QvError overloaded; whatever `work` throws */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#underWay < this.#running) this.#underWay++;
    else {
      if (this.#queue.length >= this.#waiting) throw new QvError('overloaded');
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    }
    try {
      return await work();
    } finally {
      // Whoever has waited longest takes the place over.
      const next = this.#queue.shift();
      if (next === undefined) this.#underWay--;
      else next();
    }
  }
}

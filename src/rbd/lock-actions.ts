/** Actions one after the other. What is asked for while it is queued or running already is the same action. */

export class ActionQueue<Action extends string> {
  readonly #perform: (action: Action) => Promise<boolean>;
  readonly #onIdle: () => void;
  readonly #queue: QueuedAction<Action>[] = [];
  #running = false;

  /** `perform` begins at once, within `enqueue`, when nothing runs. */
  constructor(perform: (action: Action) => Promise<boolean>, onIdle: () => void) {
    this.#perform = perform;
    this.#onIdle = onIdle;
  }

  get idle(): boolean {
    return !this.#running;
  }

  enqueue(action: Action): Promise<boolean> {
    const same = this.#queue.find((queued) => queued.action === action);
    if (same) return same.done;
    let settle: QueuedAction<Action>['settle'] = () => {};
    const done = new Promise<boolean>((resolve) => {
      settle = resolve;
    });
    // Not everybody waits for what they set in motion.
    done.catch(() => undefined);
    this.#queue.push({ action, done, settle });
    if (!this.#running) void this.#run();
    return done;
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (let head = this.#queue[0]; head; head = this.#queue[0]) {
      const result = this.#perform(head.action);
      await result.catch(() => undefined);
      this.#queue.shift();
      head.settle(result);
    }
    this.#running = false;
    this.#onIdle();
  }
}

interface QueuedAction<Action> {
  readonly action: Action;
  readonly done: Promise<boolean>;
  settle(result: Promise<boolean>): void;
}

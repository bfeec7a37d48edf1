/**
 * What the monitor has decided and its disk does not have yet.
 *
 * A decision counts for the next one at once, but nobody hears of it before it is on disk: a monitor that dies and comes
 * back must not have told anybody what it no longer knows. Without a disk nothing is ever waited for.
 */

export class Commits {
  /** Of the newest commit, and of the newest that is on disk with all before it. */
  #newest = 0;
  #durable = 0;
  readonly #done = new Set<number>();
  readonly #waiting: { commit: number; run: () => void }[] = [];
  #running = false;
  #failed = false;

  /** A commit is on its way to the disk. When that fails, nobody hears of it or of anything after it. */
  track(commit: Promise<void>): void {
    const number = ++this.#newest;
    commit.then(
      () => {
        this.#done.add(number);
        while (this.#done.delete(this.#durable + 1)) this.#durable++;
        this.#run();
      },
      () => {
        this.#failed = true;
      },
    );
  }

  /** Runs `tell` when everything that was committed so far is on disk: at once when it is. In order. */
  after(tell: () => void): void {
    if (this.#durable === this.#newest && this.#waiting.length === 0 && !this.#running) tell();
    else this.#waiting.push({ commit: this.#newest, run: tell });
  }

  /** Resolves when everything that was committed so far is on disk, and was told. */
  settled(): Promise<void> {
    return new Promise((resolve) => this.after(resolve));
  }

  #run(): void {
    if (this.#running || this.#failed) return;
    this.#running = true;
    try {
      for (let next = this.#waiting[0]; next && next.commit <= this.#durable; ) {
        this.#waiting.shift();
        next.run();
        next = this.#waiting[0];
      }
    } finally {
      this.#running = false;
    }
  }
}

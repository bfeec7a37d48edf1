/**
 * Through here an OSD hears of time, of maps and of its peers: while the gate is shut it hears of nothing, as a process
 * that was stopped (SIGSTOP) or that waits for a dead disk. Everything happens when it opens, in the order of arrival.
 */

import type { Timers } from '../../base/environment.js';
import type { MonLink } from '../mon-link.js';

export class DaemonGate {
  #shut = 0;
  #waiting: (() => void)[] = [];
  #opening: { promise: Promise<void>; open: () => void } | undefined;
  #onHeld: (() => void)[] = [];
  /** Those that keep heartbeats too. */
  #silent = 0;

  get isShut(): boolean {
    return this.#shut > 0;
  }

  /**
   * Shuts it until the returned function is called. `onHeld` hears of everything that has to wait. `silent`: heartbeats wait
   * too, so that peers find out.
   */
  shut(onHeld: () => void, { silent }: { silent: boolean }): () => void {
    this.#shut++;
    if (silent) this.#silent++;
    this.#onHeld.push(onHeld);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      if (silent) this.#silent--;
      this.#onHeld.splice(this.#onHeld.indexOf(onHeld), 1);
      if (--this.#shut === 0) this.#open();
    };
  }

  /** What a peer's call waits for; undefined when the gate is open. */
  passage(): Promise<void> | undefined {
    if (!this.isShut) return undefined;
    this.#held();
    if (!this.#opening) {
      let open = () => {};
      const promise = new Promise<void>((resolve) => {
        open = resolve;
      });
      this.#opening = { promise, open };
    }
    return this.#opening.promise;
  }

  /** What a peer's heartbeat waits for. */
  pingPassage(): Promise<void> | undefined {
    return this.#silent > 0 ? this.passage() : undefined;
  }

  timers(inner: Timers): Timers {
    const gated =
      (arm: (run: () => void) => { cancel(): void }) =>
      (callback: () => void): { cancel(): void } => {
        let live = true;
        const timer = arm(() =>
          this.#pass(() => {
            if (live) callback();
          }),
        );
        return {
          cancel: () => {
            live = false;
            timer.cancel();
          },
        };
      };
    return {
      after: (delayMs, callback, options) =>
        gated((run) => inner.after(delayMs, run, options))(callback),
      nextTurn: gated((run) => inner.nextTurn(run)),
    };
  }

  /** The monitor as this OSD sees it: its maps wait at the gate. */
  monLink(link: MonLink): MonLink {
    return {
      ...link,
      subscribe: (listener) => {
        let live = true;
        const end = link.subscribe((update) =>
          this.#pass(() => {
            if (live) listener(update);
          }),
        );
        return () => {
          live = false;
          end();
        };
      },
    };
  }

  #pass(act: () => void): void {
    if (!this.isShut) {
      act();
      return;
    }
    this.#held();
    this.#waiting.push(act);
  }

  #held(): void {
    for (const onHeld of this.#onHeld) onHeld();
  }

  #open(): void {
    const opening = this.#opening;
    this.#opening = undefined;
    // What an act does may shut the gate again: the others then go on waiting.
    while (!this.isShut && this.#waiting.length > 0) (this.#waiting.shift() as () => void)();
    opening?.open();
  }
}

/**
 * Notices that something goes round without time passing, as timers of no delay that arm each other do: the run would
 * have no end. (Promises that go round without an event cannot be noticed from within.)
 */

/** Of those beyond the limit, looked at before it is told. */
const SUSPECTS = 1000;
const TOLD = 3;

export class Instant {
  readonly #eventsMax: number;
  #at = Number.NEGATIVE_INFINITY;
  #events = 0;
  readonly #suspects = new Map<string, number>();

  constructor(eventsMax: number) {
    this.#eventsMax = eventsMax;
  }

  /** Too many have happened: who asks for more is to be remembered. */
  get isSuspicious(): boolean {
    return this.#events > this.#eventsMax;
  }

  /** One happens now. Throws when too many have. */
  count(now: number, origin: string | undefined): void {
    if (now !== this.#at) {
      this.#at = now;
      this.#events = 0;
      this.#suspects.clear();
    }
    if (++this.#events <= this.#eventsMax) return;
    const who = placeOf(origin);
    this.#suspects.set(who, (this.#suspects.get(who) ?? 0) + 1);
    if (this.#events > this.#eventsMax + SUSPECTS) throw new Error(this.#describe());
  }

  #describe(): string {
    const busiest = [...this.#suspects].sort(([, a], [, b]) => b - a).slice(0, TOLD);
    const places = busiest.map(([place, count]) => `${count} of ${SUSPECTS + 1}: ${place}`);
    return `${this.#eventsMax} events and more at ${this.#at} ms, and time does not pass\n${places.join('\n')}`;
  }
}

/** The innermost calls of a stack, without those of the simulated clock itself. */
function placeOf(origin: string | undefined): string {
  const frames = (origin ?? '').split('\n').slice(1);
  const callers = frames.filter((frame) => !/virtual-(world|process)\.[jt]s/.test(frame));
  return callers.length === 0
    ? 'armed before'
    : callers
        .slice(0, 3)
        .map((f) => f.trim())
        .join(' < ');
}

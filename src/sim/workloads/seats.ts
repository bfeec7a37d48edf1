/**
 * The clients of a run: each has the image mapped, and goes through the steps that the plan has for it, some of them at a
 * time. One whose device fails, or that dies, is replaced by a new process after a while, which goes on with the next steps.
 */

import { isRadosError } from '../../base/errors.js';
import type { BlockDevice } from '../../block/device.js';
import type { Op } from '../checkers/history.js';
import type { PlannedStep } from '../plan.js';
import { Draw, seededRandom } from '../random.js';
import { ACTIONS } from './actions/actions.js';
import { type Failure, judgeFailure } from './failures.js';
import type { WorkloadClient } from './habitat.js';
import { currentName, POOL, type Scene, type Stage } from './stage.js';

const MIB = 1024 * 1024;
const ARENA_BYTES = MIB;
/** Windows, maps and some small arenas: what many clients can have. */
export const CLIENT_MEMORY_BYTES = 24 * MIB;
/** Before another process takes the place of one that died, and before a failed attempt is made again. */
const REPLACE_MS = 1000;

/** One after the other, the processes in one client's place. */
interface Seat {
  readonly number: number;
  /** What is still to be done, of each lane. */
  readonly lanes: PlannedStep[][];
  client: WorkloadClient;
  device: BlockDevice | undefined;
  /** Lets go of the image; other lanes may not have heard of it. */
  leaving?: WorkloadClient;
  /** Of the client that sits there now. */
  readonly pending: Set<Op>;
  /** What has been begun and has not come to an end. */
  readonly doing: Set<string>;
}

export class Seats {
  readonly #scene: Scene;
  readonly #seats: Seat[] = [];
  readonly #running = new Set<Promise<void>>();
  #over = false;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  /** Resolves when all clients have the image mapped. */
  async start(): Promise<void> {
    const { plan, habitat } = this.#scene;
    for (let number = 1; number <= plan.clients; number++) {
      const lanes = new Map<number, PlannedStep[]>();
      for (const step of plan.steps) {
        if (step.client !== number) continue;
        const lane = lanes.get(step.lane) ?? [];
        lanes.set(step.lane, lane);
        lane.push(step);
      }
      this.#seats.push({
        ...{ number, lanes: [...lanes.values()], client: habitat.process() },
        ...{ device: undefined, pending: new Set(), doing: new Set() },
      });
    }
    await Promise.all(this.#seats.map((seat) => this.#occupy(seat)));
  }

  /** No more steps; resolves when those under way have settled and the devices are closed. */
  async finish(): Promise<void> {
    this.#over = true;
    while (this.#running.size > 0) await Promise.all(this.#running);
    this.#scene.trace('all operations have settled');
    await Promise.all(this.#seats.map((seat) => this.#close(seat)));
  }

  /** What each client is at: for who wants to know why it does not come to an end. */
  async describe(): Promise<string[]> {
    return Promise.all(
      this.#seats.map(async ({ client, device, doing }) => {
        const status = device ? await client.cluster.status() : undefined;
        return `${client.name}: ${[...doing].join(', ')} ${JSON.stringify(status, bigintsAsText)}`;
      }),
    );
  }

  async #close(seat: Seat): Promise<void> {
    const { device, client } = seat;
    // Nobody sits down after it, whatever it still learns of itself.
    seat.device = undefined;
    await this.#look(client);
    const { inFlight = 0, waiting = 0, viewBytes = 0 } = device?.load ?? {};
    if (inFlight + waiting + viewBytes > 0) {
      const message = `${client.name} holds ${inFlight} slots, ${viewBytes} bytes; ${waiting} calls wait`;
      this.#scene.violate({ checker: 'leak', message });
    }
    await device?.close().catch((error: unknown) => {
      this.#trace(client, `close: ${codeOf(error)}`);
      this.#judge({ doing: 'close', client, error, device });
    });
    await client.close();
    this.#trace(client, 'is closed');
  }

  /** What the client itself counts of what must not be. */
  async #look(client: WorkloadClient): Promise<void> {
    if (!client.isWorking) return;
    const clients = (await client.cluster.status()).flat();
    for (const { staleSends = 0 } of clients.flatMap(({ images }) => images)) {
      if (staleSends === 0) continue;
      const message = `${client.name} sent ${staleSends} requests by a header that may have been old`;
      this.#scene.violate({ checker: 'freshness', message });
    }
  }

  /** Until the client has the image mapped and works, or is dead: nothing of a dead process ever settles. */
  #occupy(seat: Seat): Promise<void> {
    return Promise.race([this.#map(seat), untilDead(seat.client)]);
  }

  async #map(seat: Seat): Promise<void> {
    const { client } = seat;
    client.onKill(() => {
      if (seat.client === client) this.#evict(seat, 'is dead');
    });
    try {
      const { plan, image } = this.#scene;
      const cluster = await client.connect({
        msMode: plan.msMode,
        memoryBytes: CLIENT_MEMORY_BYTES,
      });
      const name = (await currentName({ client }, image)) ?? image.names[0];
      const device = await cluster.map(`${POOL}/${name}`, { arenaBytes: ARENA_BYTES });
      if (seat.client !== client) return;
      seat.device = device;
      device.on('error', (error) => {
        if (seat.device !== device) return;
        this.#judge({ doing: 'device', client, error, device });
        this.#evict(seat, codeOf(error));
      });
      this.#trace(client, 'has the image mapped');
      this.#scene.onMapped?.(client, device);
      for (const [i, steps] of seat.lanes.entries()) {
        this.#track(seat, `lane ${i}`, this.#lane(seat, device, steps));
      }
    } catch (error) {
      if (seat.client !== client) return;
      this.#judge({ doing: 'map', client, error });
      this.#evict(seat, `cannot map: ${codeOf(error)}`);
    }
  }

  #evict(seat: Seat, why: string): void {
    const { client } = seat;
    this.#trace(client, why);
    this.#vacate(seat, why);
    client.kill();
  }

  #vacate(seat: Seat, why: string): void {
    const { habitat, history } = this.#scene;
    seat.device = undefined;
    for (const op of seat.pending) history.end(op, 'unknown', { error: why });
    seat.pending.clear();
    seat.client = habitat.process();
    const next = seat.client;
    this.#track(
      seat,
      'coming back',
      habitat.sleep(REPLACE_MS).then(() => {
        if (!this.#over && seat.client === next) return this.#occupy(seat);
        return undefined;
      }),
    );
  }

  #track(seat: Seat, what: string, work: Promise<void>): void {
    const name = `${seat.client.name} ${what}`;
    this.#running.add(work);
    seat.doing.add(name);
    const done = () => {
      this.#running.delete(work);
      seat.doing.delete(name);
    };
    work.then(done, (error: unknown) => {
      done();
      this.#scene.violate({ checker: 'errors', message: `${name}: ${describe(error)}` });
    });
  }

  async #lane(seat: Seat, device: BlockDevice, steps: PlannedStep[]): Promise<void> {
    const { client } = seat;
    const { habitat } = this.#scene;
    const death = new AbortController();
    const dead = untilDead(client);
    client.onKill(() => death.abort());
    const isAtWork = () =>
      !this.#over && client.isWorking && seat.client === client && !device.closed;
    while (isAtWork()) {
      const step = steps.shift();
      if (!step) return;
      await habitat.sleep(step.pauseMs, death.signal);
      if (isAtWork()) await Promise.race([this.#perform(seat, device, step), dead]);
    }
  }

  async #perform(seat: Seat, device: BlockDevice, step: PlannedStep): Promise<void> {
    const { client, doing } = seat;
    const what = `${step.action} since ${this.#scene.habitat.now.toFixed(0)} ms`;
    const stage: Stage = {
      ...{ ...this.#scene, client, device, draw: new Draw(seededRandom(step.seed)) },
      pending: seat.pending,
      leave: () => this.#leave(seat),
      isLeaving: () => seat.leaving === client,
    };
    doing.add(what);
    try {
      await ACTIONS[step.action](stage);
    } catch (error) {
      if (client.isWorking) throw error;
    } finally {
      doing.delete(what);
    }
  }

  /** What its other lanes have under way ends with the device. */
  async #leave(seat: Seat): Promise<void> {
    const { client, device } = seat;
    seat.leaving = client;
    // Of a device that is closed nothing is known any more.
    await this.#look(client);
    await device?.close().catch((error: unknown) => {
      if (seat.client === client) this.#judge({ doing: 'close', client, error, device });
    });
    if (seat.client !== client) return;
    this.#vacate(seat, 'left');
    await client.close();
    this.#trace(client, 'has left');
  }

  #judge(failure: Failure): void {
    judgeFailure(this.#scene, failure);
  }

  #trace(client: WorkloadClient, what: string): void {
    this.#scene.trace(`${client.name} ${what}`);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function codeOf(error: unknown): string {
  return isRadosError(error) ? error.code : String(error);
}

const bigintsAsText = (_: string, value: unknown) =>
  typeof value === 'bigint' ? value.toString() : value;

function untilDead(client: WorkloadClient): Promise<void> {
  return new Promise((resolve) => {
    client.onKill(resolve);
  });
}

/**
 * An operation on an image with an object map that does not get to its end, once for each request that it sends:
 *
 *     die       the client is dead before the request goes; another one takes over
 *     refuse    the request fails with EIO, and nothing has happened
 *     lose      the request is carried out, and fails with EIO all the same
 *
 * Whatever it was, the maps are right or flagged (`MapOracle`), what is read is what was there before or what was to be there,
 * object by object, and snapshots are what they were. Whoever opens the image then can do the same again, to its end.
 */

import { expect } from 'vitest';
import { isRadosError, RadosError } from '../../src/base/errors.js';
import { Image } from '../../src/rbd/image.js';
import type { ClusterWorld, WorldClient } from './cluster-world.js';
import { MapOracle } from './map-oracle.js';
import { TracedClient } from './traced-client.js';

export const OBJECT = 1 << 16;

export interface CrashScenario {
  readonly name: string;
  /** Makes the image of that name. */
  create(client: WorldClient, name: string): Promise<unknown>;
  /** Before anything goes wrong. */
  prepare(image: Image): Promise<unknown>;
  /** What goes wrong; done again by the next owner, perhaps when it is done already. */
  act(image: Image): Promise<unknown>;
  /** On its way objects are zeros. */
  readonly hasZeros?: boolean;
}

export type Accident = 'die' | 'refuse' | 'lose';

/** What the head and the snapshots hold. */
type Contents = ReadonlyMap<string, Buffer>;

const HEAD = '(head)';
let images = 0;

export class CrashScene {
  readonly #at: ClusterWorld;
  readonly #scenario: CrashScenario;
  readonly #bystander: WorldClient;
  /** Until it dies. */
  #traced: TracedClient | undefined;
  #before: Contents = new Map();
  #after: Contents = new Map();

  /** With one run that gets to its end: what the others are measured by. */
  static async begin(at: ClusterWorld, scenario: CrashScenario): Promise<CrashScene> {
    const scene = new CrashScene(at, scenario, await at.client());
    const { image } = await scene.#stage();
    scene.#before = await scene.#contents(image);
    await at.until(scenario.act(image));
    scene.#after = await scene.#contents(image);
    await at.until(image.close());
    return scene;
  }

  private constructor(at: ClusterWorld, scenario: CrashScenario, bystander: WorldClient) {
    this.#at = at;
    this.#scenario = scenario;
    this.#bystander = bystander;
  }

  /** At each request one of the accidents, in turns. Returns at how many requests: all there are. */
  async everywhere(...accidents: Accident[]): Promise<number> {
    for (let nth = 1; ; nth++) {
      const accident = accidents[nth % accidents.length] as Accident;
      if (!(await this.run(accident, nth))) return nth - 1;
    }
  }

  /** False when the operation has not so many requests. */
  async run(accident: Accident, nth: number): Promise<boolean> {
    const { image, name, traced } = await this.#stage();
    const ioctx = await this.#at.until(this.#bystander.rados.ioctx('rbd'));
    const hasHappened = await this.#happen(image, traced, accident, nth);
    const what = `${this.#scenario.name}, ${accident} at request ${nth}: ${traced.log.at(-1)}`;
    if (hasHappened) await this.#goOn(new MapOracle(ioctx, name), name, what);
    return hasHappened;
  }

  /** The image is closed by then, or its client dead. */
  async #happen(
    image: Image,
    traced: TracedClient,
    accident: Accident,
    nth: number,
  ): Promise<boolean> {
    const at = this.#at;
    const happened = arm(traced, accident, nth);
    const act = this.#scenario.act(image).catch((error: unknown) => {
      if (!isRadosError(error)) throw error;
    });
    await at.until(Promise.race([act, happened.promise]));
    const isDead = accident === 'die' && happened.is();
    if (isDead) {
      this.#traced = undefined;
      await at.world.advance(100);
    } else {
      await at.until(act);
      traced.onRequest = () => undefined;
      traced.instead = (_, send) => send();
      await at.until(image.close());
    }
    return happened.is();
  }

  /** What is there is right, and whoever comes next can do the same again. */
  async #goOn(oracle: MapOracle, name: string, what: string): Promise<void> {
    const at = this.#at;
    const expectRight = async () =>
      expect([what, await at.until(oracle.violations())]).toEqual([what, []]);
    await expectRight();
    const next = await this.#bystander.open(name);
    await at.until(next.acquireLock());
    const half = this.#differences(await this.#contents(next), this.#before);
    expect([what, half]).toEqual([what, []]);
    await at.until(this.#scenario.act(next).catch(unlessDone));
    await expectRight();
    const rest = this.#differences(new Map([[HEAD, await this.#head(next)]]), this.#after);
    expect([what, rest]).toEqual([what, []]);
    // One that could not be removed is in the trash, and goes with the image.
    const snapshots = next.header.snapshots.filter(({ namespace }) => namespace.type === 'user');
    expect([what, HEAD, ...snapshots.map((each) => each.name)]).toEqual([
      what,
      ...this.#after.keys(),
    ]);
    await at.until(next.close());
  }

  async #stage() {
    const at = this.#at;
    const name = `crash${++images}`;
    await this.#scenario.create(this.#bystander, name);
    this.#traced ??= await TracedClient.connect(at);
    const traced = this.#traced;
    const image = await at.until(Image.open(traced.context, { pool: 'rbd', name }));
    await at.until(image.acquireLock());
    await at.until(this.#scenario.prepare(image));
    return { image, name, traced };
  }

  /** What is neither as it was nor as it was to be, by snapshot and object. */
  #differences(found: Contents, before: Contents): string[] {
    const after = this.#after;
    const wrong: string[] = [];
    for (const [version, bytes] of found) {
      // A snapshot that is new is what it was to be, and one that is there still what it was.
      const was = before.get(version) ?? after.get(version);
      const willBe = after.get(version) ?? was;
      if (!was || !willBe) wrong.push(`${version} is not to be there`);
      else {
        for (let at = 0, no = 0; at < bytes.length; at += OBJECT, no++) {
          const is = bytes.subarray(at, at + OBJECT);
          const may = [part(was, at, is.length), part(willBe, at, is.length)];
          if (this.#scenario.hasZeros && before !== after) may.push(Buffer.alloc(is.length));
          if (!may.some((each) => is.equals(each))) wrong.push(`${version} object ${no}`);
        }
      }
    }
    return wrong;
  }

  /** As the owner of the lock sees it, which skips what its map says is not there. */
  async #contents(owner: Image): Promise<Contents> {
    const contents = new Map([[HEAD, await this.#head(owner)]]);
    for (const { name: snap, namespace } of owner.header.snapshots) {
      if (namespace.type !== 'user') continue;
      const spec = { pool: 'rbd', name: owner.name as string, snap };
      const opened = await this.#at.until(Image.open(this.#bystander.rados, spec));
      contents.set(snap, await this.#head(opened));
      await this.#at.until(opened.close());
    }
    return contents;
  }

  async #head(image: Image): Promise<Buffer> {
    return Buffer.from(await this.#at.until(image.read(0, image.size)));
  }
}

/** Has it happen at the n-th request from here on. */
function arm(traced: TracedClient, accident: Accident, nth: number) {
  let has = false;
  let left = nth;
  if (accident === 'die') {
    const promise = traced.dieAt(() => true, 'before', nth).then(() => void (has = true));
    return { promise, is: () => has };
  }
  traced.instead = async (request, send) => {
    if (--left !== 0) return send();
    has = true;
    if (accident === 'lose') await send();
    throw new RadosError('EIO', `${request.text} failed, as it was told to`, {
      outcome: accident === 'lose' ? 'unknown' : 'not-applied',
    });
  };
  return { promise: new Promise<void>(() => {}), is: () => has };
}

/** What was done before the accident is done. */
function unlessDone(error: unknown): void {
  const done = ['EEXIST', 'ENOENT', 'EINVAL'].some((code) => isRadosError(error, code));
  if (!done) throw error;
}

/** Beyond the end there are zeros. */
function part(bytes: Buffer, at: number, length: number): Buffer {
  const cut = bytes.subarray(at, at + length);
  return cut.length === length ? cut : Buffer.concat([cut], length);
}

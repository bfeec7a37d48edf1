/** What is looked at when a run is over: everything that clients can read, and what the history says about it. */

import { isRadosError } from '../base/errors.js';
import type { Cluster } from '../block/cluster.js';
import { OBJECT_STATE } from '../kernels/object-state.js';
import { checkDiffs } from './checkers/diffs.js';
import type { Fences } from './checkers/fences.js';
import type { History, Op, OpInput } from './checkers/history.js';
import { checkSectors } from './checkers/linearizability.js';
import { checkSnapshots } from './checkers/snapshots.js';
import type { Violation } from './checkers/violation.js';
import { checkMetadata, checkSize } from './checkers/whole-images.js';
import { readAllMetadata } from './workloads/actions/maintenance.js';
import type { WorkloadClient } from './workloads/habitat.js';
import type { KnownImage, KnownSnapshot } from './workloads/known-images.js';
import {
  attempt,
  imagesOf,
  readSectors,
  type Scene,
  sectorsOf,
  withMapped,
} from './workloads/stage.js';

const MAY_BE: ReadonlySet<number> = new Set([OBJECT_STATE.EXISTS, OBJECT_STATE.PENDING]);

/** Reads everything, through a client that knows nothing but the OSDs' word, and says what is wrong. */
export async function inspect(scene: Scene, client: WorkloadClient): Promise<void> {
  await new Inspection(scene, client).perform();
}

class Inspection {
  readonly #scene: Scene;
  readonly #client: WorkloadClient;
  readonly #pending = new Set<Op>();

  constructor(scene: Scene, client: WorkloadClient) {
    this.#scene = scene;
    this.#client = client;
  }

  get #stage() {
    return { ...this.#scene, client: this.#client, pending: this.#pending };
  }

  async perform(): Promise<void> {
    const { images } = this.#scene;
    const there = await imagesOf(this.#stage).list();
    for (const image of images.all) {
      const names = there.filter((name) => image.names.includes(name));
      const [name] = names;
      if (!this.#expect(`image ${image.key}`, image, names) || name === undefined) continue;
      if (await this.#isHalfDone(image, name)) continue;
      await this.#look(image, name);
    }
    const unknown = there.filter((name) => !images.all.some(({ names }) => names.includes(name)));
    if (unknown.length > 0) this.#violate('maintenance', `there are images ${unknown.join()}`);
  }

  /** A removal or a creation that was interrupted leaves a name that cannot be opened; whoever removes it finishes that. */
  async #isHalfDone({ create, removal }: KnownImage, name: string): Promise<boolean> {
    const mayBeHalfMade = create !== undefined && create.end !== 'ok';
    const mayBeHalfRemoved = removal !== undefined && removal.end !== 'failed';
    if (!mayBeHalfMade && !mayBeHalfRemoved) return false;
    const images = imagesOf(this.#stage);
    try {
      await images.info(name);
      return false;
    } catch (error) {
      if (!isRadosError(error, 'ENOENT')) throw error;
    }
    await images.remove(name);
    if ((await images.list()).includes(name)) {
      this.#violate('maintenance', `${name} was half there, was removed, and is there`);
    }
    return true;
  }

  async #look(image: KnownImage, name: string): Promise<void> {
    const cluster = this.#client.cluster;
    const contents = new Map<string | undefined, Uint32Array | undefined>();
    contents.set(undefined, await this.#read(image, name));
    const listed = await imagesOf(this.#stage).snapshots(name).list();
    for (const snapshot of image.snapshots) {
      const found = listed.filter((each) => snapshot.names.includes(each.name));
      const names = found.map((each) => each.name);
      if (!this.#expect(`snapshot ${image.key}@${snapshot.key}`, snapshot, names)) continue;
      const [snap] = found;
      if (!snap) continue;
      if (snapshot.changes.every(({ end }) => end !== 'unknown' && end !== undefined)) {
        if (snap.protected !== snapshot.isProtected) {
          this.#violate('maintenance', `${name}@${snap.name}: protected is ${snap.protected}`);
        }
      }
      contents.set(snap.name, await this.#read(image, `${name}@${snap.name}`, snapshot));
    }
    const known = new Set(image.snapshots.flatMap(({ names }) => names));
    const strange = listed.filter((each) => !known.has(each.name));
    if (strange.length > 0) {
      this.#violate('maintenance', `${name} has snapshots ${strange.map((s) => s.name).join()}`);
    }
    const info = await imagesOf(this.#stage).info(name);
    const isFlat = image.flattens.some(({ end }) => end === 'ok');
    const mayBeFlat = image.flattens.some(({ end }) => end !== 'failed');
    if (isFlat && info.parent)
      this.#violate('maintenance', `${name} was flattened, and is a clone`);
    if (image.parent && !mayBeFlat && !info.parent && info.size > 0) {
      if (!this.#wasCut(image)) this.#violate('maintenance', `${name} has lost its parent`);
    }
    if (image === this.#scene.image) {
      await readAllMetadata({ ...this.#stage, image }, name);
    }
    const wrong = await checkDiffs(
      imagesOf(this.#stage),
      { name, snapshots: listed.map((each) => each.name) },
      (snap) => contents.get(snap),
    );
    for (const message of wrong) this.#violate('diff', message);
    // The last, for it flags maps as invalid, and then nothing is told by them.
    if (info.features.includes('object-map')) {
      await this.#checkObjectMaps(
        cluster,
        name,
        listed.map((each) => each.name),
      );
    }
  }

  /** An image that was cut to nothing has no parent any more. */
  #wasCut({ key, rollbacks }: KnownImage): boolean {
    const { ops } = this.#scene.history;
    return (
      rollbacks.length > 0 || ops.some(({ kind, image }) => kind === 'resize' && image === key)
    );
  }

  /** Whether what is there may be there, and is there if it must. */
  #expect(
    what: string,
    { create, removal }: Pick<KnownImage & KnownSnapshot, 'removal'> & { create?: Op },
    names: readonly string[],
  ): boolean {
    const must =
      (create === undefined || create.end === 'ok') && (!removal || removal.end === 'failed');
    const may = create?.end !== 'failed' && removal?.end !== 'ok';
    if (must && names.length === 0) this.#violate('maintenance', `${what} is lost`);
    if (!may && names.length > 0) this.#violate('maintenance', `${what} is there`);
    if (names.length > 1) this.#violate('maintenance', `${what} is there twice: ${names.join()}`);
    return names.length > 0;
  }

  async #read(
    image: KnownImage,
    spec: string,
    snapshot?: KnownSnapshot,
  ): Promise<Uint32Array | undefined> {
    const at = { image: image.key, firstSector: 0, sectors: 0 };
    const read: Omit<OpInput, 'client'> = {
      ...{ ...at, kind: 'read' as const },
      ...(snapshot ? { snap: snapshot.key } : {}),
    };
    const values = await attempt(this.#stage, read, {
      act: async (op) => {
        const found = await this.#contents(spec);
        Object.assign(op, { values: found, sectors: found.length });
        return found;
      },
    });
    if (!values) this.#violate('liveness', `${spec} cannot be read when all is well`);
    if (snapshot || !values) return values;
    await attempt(
      this.#stage,
      { ...at, kind: 'sizeGet', sectors: values.length },
      {
        act: () => Promise.resolve(),
      },
    );
    return values;
  }

  #contents(spec: string): Promise<Uint32Array> {
    return withMapped(this.#stage, spec, { readOnly: true }, async (device) => {
      const sectors = sectorsOf(device);
      return sectors === 0 ? new Uint32Array(0) : readSectors(device, 0, sectors);
    });
  }

  /** That an object may exist, and has changed, may be said of any: what was begun may have changed nothing. */
  async #checkObjectMaps(
    cluster: Cluster,
    name: string,
    snapshots: readonly string[],
  ): Promise<void> {
    const { images } = cluster.pool('rbd');
    for (const snap of [undefined, ...snapshots]) {
      const which = snap === undefined ? {} : { snap };
      const { errors } = await images.checkObjectMap(name, which);
      const wrong = errors.filter(({ marked }) => !MAY_BE.has(marked));
      if (wrong.length === 0) continue;
      const spec = snap === undefined ? name : `${name}@${snap}`;
      const message = `the map of ${spec} is wrong: ${JSON.stringify(wrong.slice(0, 5))}`;
      this.#violate('object-map', message);
    }
  }

  #violate(checker: string, message: string): void {
    this.#scene.violate({ checker, message });
  }
}

/** Of every image. */
export function judgeHistory(
  history: History,
  { atOnce, fences }: { atOnce: boolean; fences?: Fences },
): Violation[] {
  const violations: Violation[] = [];
  for (const origin of history.origins) {
    const ops = history.ops.filter(({ image }) => image === origin.image);
    const sectors = ops.reduce(
      (most, { firstSector, sectors: count }) => Math.max(most, firstSector + count),
      origin.sectors,
    );
    const overAs = (op: Op) =>
      origin.lagMs === 0
        ? (op.endedAs as number)
        : history.orderAt((op.endedAt as number) + origin.lagMs);
    const seenSince = (op: Op) => fences?.seenSince(op) ?? op.startedAs;
    const initial = origin.values;
    violations.push(
      ...[
        checkSectors(ops, sectors, { initial, overAs, seenSince }),
        checkSize(ops, origin),
      ].filter((violation) => violation !== undefined),
      ...checkSnapshots(ops, { initial, atOnce: atOnce && origin.lagMs === 0 }),
    );
    const metadata = checkMetadata(ops);
    if (metadata) violations.push(metadata);
  }
  return violations;
}

export function describe(error: unknown): string {
  if (isRadosError(error)) return `${error.code}: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

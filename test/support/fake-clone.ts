/** A clone's data objects, in a `FakeObjects`, behind them a parent in memory. */

import { expect } from 'vitest';
import type { SnapContext } from '../../src/encoding/types.js';
import { isWriteOp, OP } from '../../src/messages/osd-op.js';
import { IoContext } from '../../src/rados/io-context.js';
import { ImageData, type ImageDataOptions } from '../../src/rbd/io.js';
import type { Layout } from '../../src/rbd/layout.js';
import type { ObjectStates } from '../../src/rbd/object-states.js';
import type { ParentBytes } from '../../src/rbd/parent.js';
import type { FakeObjects, FakeRequest } from './fake-objects.js';

const numberOf = (oid: string) => Number.parseInt(oid.slice(2), 16);
export const pause = () => new Promise((resolve) => setImmediate(resolve));

/** Its objects are `p.<number>` of pool `rbd` (1). */
export class FakeClone {
  parent: ParentBytes | undefined;
  states: CheckedStates | undefined;
  parentReads = 0;
  /** Waited for by each read of the parent, which is counted. */
  onParentRead: () => Promise<unknown> = pause;
  readonly write: { snapContext: SnapContext } = { snapContext: { seq: 0n, snaps: [] } };
  readonly data: ImageData;

  constructor(
    readonly objects: FakeObjects,
    readonly layout: Layout,
    readonly parentBytes: Buffer,
  ) {
    const clone = () => this;
    this.parent = this.parentOf(parentBytes.length);
    const background = {
      get states() {
        return clone().states;
      },
      get existence() {
        return clone().states;
      },
      get parent() {
        return clone().parent;
      },
    };
    this.data = this.dataWith(background);
  }

  /** An object map of these objects; from now on, whoever changes an object without telling it is found out. */
  mapped(...existing: number[]): CheckedStates {
    this.states = new CheckedStates(existing);
    this.objects.onRequest = (request) => this.states?.check(request);
    return this.states;
  }

  dataWith(background: ImageDataOptions['background']): ImageData {
    return new ImageData({
      ioctx: new IoContext(this.objects, { id: 1, name: 'rbd' }),
      layout: this.layout,
      objectPrefix: 'p',
      target: 'rbd/vm1',
      allocSize: 1,
      allocHintFlags: 0,
      objectOpsMax: 8,
      background,
    });
  }

  parentOf(overlap: number): ParentBytes {
    return {
      overlap,
      read: async (offset, into) => {
        this.parentReads++;
        expect(offset + into.length).toBeLessThanOrEqual(overlap);
        await this.onParentRead();
        return this.parentBytes.copy(into, 0, offset);
      },
    };
  }

  /** Takes a snapshot: later writes keep the bytes of now for it. */
  snapshot(): bigint {
    const { seq, snaps } = this.write.snapContext;
    this.write.snapContext = { seq: seq + 3n, snaps: [seq + 3n, ...snaps] };
    return seq + 3n;
  }

  /** The bytes at a snapshot, through the parent as far as given. */
  at(snapId: bigint, parent: ParentBytes | undefined): Promise<Uint8Array> {
    const background = { states: undefined, existence: undefined, parent };
    return this.dataWith(background).read(0, this.parentBytes.length, undefined, { snapId });
  }
}

/** An object map that knows each object, and finds fault with whoever does not tell it in time. */
export class CheckedStates implements ObjectStates {
  readonly exists: Set<number>;
  readonly #begun = new Map<number, number>();

  constructor(existing: readonly number[]) {
    this.exists = new Set(existing);
  }

  mayExist(objectNo: number): boolean {
    return this.exists.has(objectNo);
  }

  beginWrite(objectNo: number): Promise<void> | undefined {
    this.#begun.set(objectNo, (this.#begun.get(objectNo) ?? 0) + 1);
    return this.exists.has(objectNo)
      ? undefined
      : pause().then(() => void this.exists.add(objectNo));
  }

  endWrite(objectNo: number): void {
    const begun = this.#begun.get(objectNo) ?? 0;
    expect(begun).toBeGreaterThan(0);
    this.#begun.set(objectNo, begun - 1);
  }

  async removeObject(objectNo: number, remove: () => Promise<void>): Promise<void> {
    if (!this.exists.has(objectNo)) return;
    await remove();
    this.exists.delete(objectNo);
  }

  beginCopyUp(objectNo: number): Promise<void> | undefined {
    return this.beginWrite(objectNo);
  }

  check({ oid, ops }: FakeRequest): void {
    const objectNo = numberOf(oid);
    const isChange = ops.some(({ code }) => isWriteOp(code)) && ops[0]?.code !== OP.DELETE;
    if (isChange) expect(this.exists).toContain(objectNo);
    if (isChange) expect(this.#begun.get(objectNo)).toBeGreaterThan(0);
  }
}

/**
 * A load that knows what it was promised: writers append numbered records to their objects, several at a time, and
 * afterwards every acknowledged record must be there, once, in the order in which it was sent.
 */

import { setTimeout as sleep } from 'node:timers/promises';

import { isRadosError } from '../../../src/base/errors.js';
import { appendOp, createOp } from '../../../src/messages/osd-op.js';
import type { IoContext } from '../../../src/rados/io-context.js';

const RECORD_BYTES = 16;

interface Writer {
  oid: string;
  sent: number;
  /** Records by number. */
  acknowledged: Set<number>;
  /** Records whose append failed without certainty. */
  unknown: Set<number>;
}

export class AppendLoad {
  readonly #ioctx: IoContext;
  readonly #writers: Writer[];
  readonly #depth: number;
  readonly #paceMs: number;
  readonly #errors: Error[] = [];
  #running = false;
  #loops: Promise<void>[] = [];

  /** `paceMs`: how long each writer rests between appends. Without rest, OSDs hardly get to recovering. */
  constructor(
    ioctx: IoContext,
    options: { objects?: number; depth?: number; name?: string; paceMs?: number } = {},
  ) {
    const { objects = 12, depth = 4, name = 'load', paceMs = 40 } = options;
    this.#ioctx = ioctx;
    this.#paceMs = paceMs;
    this.#depth = depth;
    this.#writers = Array.from({ length: objects }, (_, i) => ({
      oid: `${name}-${i}`,
      sent: 0,
      acknowledged: new Set(),
      unknown: new Set(),
    }));
  }

  get acknowledged(): number {
    return this.#writers.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0);
  }

  /** Of operations that failed although nothing should. */
  get errors(): readonly Error[] {
    return this.#errors;
  }

  async start(): Promise<void> {
    await Promise.all(this.#writers.map(({ oid }) => this.#ioctx.operate(oid, [createOp(false)])));
    this.#running = true;
    this.#loops = this.#writers.flatMap((writer) =>
      Array.from({ length: this.#depth }, () => this.#loop(writer)),
    );
  }

  /** Appends until told to stop. Records of one object are sent in order, `depth` of them at a time. */
  async #loop(writer: Writer): Promise<void> {
    while (this.#running) {
      const number = writer.sent++;
      const record = Buffer.alloc(RECORD_BYTES);
      record.writeUInt32LE(number);
      record.write(writer.oid.slice(-11), 4);
      try {
        await this.#ioctx.operate(writer.oid, [appendOp(record)]);
        writer.acknowledged.add(number);
      } catch (error) {
        if (isRadosError(error) && error.outcome === 'unknown') writer.unknown.add(number);
        this.#errors.push(error as Error);
        return;
      }
      if (this.#paceMs > 0) await sleep(this.#paceMs);
    }
  }

  /** Waits until this many more records were acknowledged. */
  async progress(records: number, timeoutMs = 60_000): Promise<void> {
    const goal = this.acknowledged + records;
    const deadline = Date.now() + timeoutMs;
    while (this.acknowledged < goal) {
      if (this.#errors.length > 0) throw this.#errors[0] as Error;
      if (Date.now() > deadline) {
        throw new Error(
          `${goal - this.acknowledged} of ${records} records missing after ${timeoutMs} ms`,
        );
      }
      await sleep(5);
    }
  }

  /** Every writer ended by itself, with an error. */
  async ended(): Promise<void> {
    await Promise.all(this.#loops);
  }

  /** Stops, and waits for what is under way. */
  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#loops);
  }

  /** What is wrong with what the cluster now holds: nothing, hopefully. */
  async verify(ioctx: IoContext = this.#ioctx): Promise<string[]> {
    const faults: string[] = [];
    for (const { oid, sent, acknowledged, unknown } of this.#writers) {
      const data = Buffer.from(await ioctx.read(oid, 0, 0));
      if (data.length % RECORD_BYTES !== 0) faults.push(`${oid}: ${data.length} bytes`);
      const found: number[] = [];
      for (let at = 0; at + RECORD_BYTES <= data.length; at += RECORD_BYTES) {
        found.push(data.readUInt32LE(at));
      }
      const numbers = new Set(found);
      if (numbers.size !== found.length) faults.push(`${oid}: records twice`);
      for (const number of acknowledged)
        if (!numbers.has(number)) faults.push(`${oid}: ${number} lost`);
      for (const number of numbers) {
        if (!acknowledged.has(number) && !unknown.has(number)) {
          faults.push(`${oid}: ${number} was never acknowledged (of ${sent})`);
        }
      }
      found.forEach((number, i) => {
        if (i > 0 && number < (found[i - 1] as number))
          faults.push(`${oid}: ${number} out of order`);
      });
    }
    return faults;
  }
}

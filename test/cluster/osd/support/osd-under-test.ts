// One of our OSDs with a pool for each script.

import { OsdDaemon } from '../../../../src/cluster/osd-daemon.js';
import type { PipelineMode } from '../../../../src/cluster/settings.js';
import { MemoryStore } from '../../../../src/cluster/store/memory-store.js';
import { type EntityAddr, msgr2Addr } from '../../../../src/encoding/entity.js';
import './pipeline-rules.js';
import { FakeMon } from './fake-mon.js';
import { type RawTarget, testMessenger } from './raw-client.js';

interface PoolNeed {
  name: string;
  pgNum: number;
}

export class OsdUnderTest {
  readonly #osd: OsdDaemon;
  readonly #epoch: () => number;
  readonly #pools: ReadonlyMap<string, number>;

  private constructor(osd: OsdDaemon, epoch: () => number, pools: ReadonlyMap<string, number>) {
    this.#osd = osd;
    this.#epoch = epoch;
    this.#pools = pools;
  }

  static async start(
    needs: readonly PoolNeed[],
    pipelineMode: PipelineMode = 'object',
  ): Promise<OsdUnderTest> {
    const { crc32c } = testMessenger();
    const pools = new Map(needs.map(({ name }, i) => [name, i + 1]));
    const mon = new FakeMon({
      crc32c,
      osds: 1,
      pools: needs.map(({ name, pgNum }) => ({ id: pools.get(name) as number, name, pgNum })),
    });
    const osd = await OsdDaemon.start({
      ...testMessenger(),
      id: 0,
      host: '127.0.0.1',
      mon,
      peers: { osd: () => undefined },
      objectStore: new MemoryStore(),
      pipelineMode,
    });
    return new OsdUnderTest(osd, () => mon.map.epoch, pools);
  }

  target({ name, pgNum }: PoolNeed): RawTarget {
    const addr = msgr2Addr(this.#osd.addrs) as EntityAddr;
    return { addr, pool: this.#pools.get(name) as number, pgNum, epoch: this.#epoch() };
  }

  stop(): Promise<void> {
    return this.#osd.stop();
  }
}

/** CRUSH by the WebAssembly kernel: the mapper of production. */

import { createCrushKernel } from '../kernels/crush.js';
import type { Kernels } from '../kernels/load.js';
import { layoutCrushMap } from './crush-layout.js';
import { straw2LogTable } from './crush-ln.js';
import type { CrushMap } from './crush-map.js';
import {
  CRUSH_WORK_LIMIT,
  type CrushMapper,
  type CrushMappers,
  crushWorkError,
  type DoRuleInput,
} from './crush-mapper.js';
import { limitedTwinMappers } from './crush-twin.js';

/** One set of mappers per kernels: maps that share a CRUSH map share its image. */
export function wasmMappers(kernels: Kernels, workLimit = CRUSH_WORK_LIMIT): CrushMappers {
  const kernel = createCrushKernel(kernels, straw2LogTable());
  const mappers = new WeakMap<CrushMap, CrushMapper>();

  function createMapper(crush: CrushMap): CrushMapper {
    const layout = layoutCrushMap(crush);
    const loaded = kernel.load(layout.bytes);
    let twin: CrushMapper | undefined;
    return {
      doRule(input: DoRuleInput): Int32Array {
        if (twin) return twin.doRule(input);
        const argSet =
          input.chooseArgs === undefined ? undefined : layout.chooseArgsSets.get(input.chooseArgs);
        let result: Int32Array | undefined;
        try {
          result = loaded.doRule({
            rule: input.rule,
            x: input.x,
            resultMax: input.resultMax,
            weights: input.weights,
            argSet: argSet ?? -1,
            workLimit,
          });
        } catch (error) {
          // No room for a map of this size: the twin is slower and needs none.
          if (!(error instanceof RangeError)) throw error;
          twin = limitedTwinMappers(workLimit)(crush);
          return twin.doRule(input);
        }
        if (!result) throw crushWorkError(input.rule);
        return result;
      },
    };
  }

  return (crush) => {
    let mapper = mappers.get(crush);
    if (!mapper) {
      mapper = createMapper(crush);
      mappers.set(crush, mapper);
    }
    return mapper;
  };
}

/** Objects that come and go as a whole, and calls that are given up. */

import type { IoKind } from '../../checkers/history.js';
import { SECTOR_BYTES } from '../../checkers/stamps.js';
import type { Draw } from '../../random.js';
import { type Action, sectorsOf, type Stage } from '../stage.js';
import { act, operate } from './io.js';

/** After which a call is given up, in milliseconds: before it is sent, while it is under way, or hardly ever. */
const PATIENCE_MS = { min: 0.1, max: 300 };
const CHANGES: readonly IoKind[] = ['write', 'write', 'writeZeroes', 'discard'];

/** Of one object, or of those that a striped image goes through before it comes to the next. */
function periodSectors({ plan: { image } }: Stage): number {
  const objects = image.stripeUnit === undefined ? 1 : (image.stripeCount ?? 1);
  return (2 ** image.order * objects) / SECTOR_BYTES;
}

/** Whole objects are removed, or replaced. */
function wholeObjects(kind: IoKind): Action {
  return async (stage) => {
    const { draw, device, image } = stage;
    const sectors = periodSectors(stage);
    const periods = Math.floor(sectorsOf(device) / sectors);
    if (periods === 0) return;
    const firstSector = draw.int(0, periods - 1) * sectors;
    await act(stage, device, { image: image.key, kind, firstSector, sectors });
  };
}

function patience(draw: Draw): number {
  return draw.logarithmic(PATIENCE_MS.min, PATIENCE_MS.max);
}

/** It may have taken effect, or may yet, unless it says that it has not. */
async function giveUp(stage: Stage): Promise<void> {
  const { draw, habitat } = stage;
  const controller = new AbortController();
  const ms = patience(draw);
  void habitat.sleep(ms).then(() => controller.abort());
  await operate(stage, stage, draw.pick(CHANGES), controller.signal);
}

export const objectActions = {
  writeObject: wholeObjects('write'),
  discardObject: wholeObjects('discard'),
  giveUp,
} satisfies Record<string, Action>;

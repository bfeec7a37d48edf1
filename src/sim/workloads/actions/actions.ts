/** Everything that a client may do, by name: what plans are made of. */

import type { Action } from '../stage.js';
import { cloneActions } from './clones.js';
import { ioActions } from './io.js';
import { maintenanceActions } from './maintenance.js';
import { objectActions } from './objects.js';
import { snapshotActions } from './snapshots.js';

const actions = {
  ...ioActions,
  ...objectActions,
  ...snapshotActions,
  ...cloneActions,
  ...maintenanceActions,
};

export type ActionName = keyof typeof actions;
export const ACTIONS: Readonly<Record<ActionName, Action>> = actions;

import type { PlantedBug } from '../planted-bug.js';
import { CLIENT_BUGS } from './client.js';
import { CLUSTER_BUGS } from './cluster.js';
import { IMAGE_BUGS } from './image.js';

/** All of them, by area. */
export const PLANTED_BUGS: readonly PlantedBug[] = [...CLIENT_BUGS, ...IMAGE_BUGS, ...CLUSTER_BUGS];

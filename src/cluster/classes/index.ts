/** The object classes that every embedded OSD has. */

import { ClassRegistry } from './class-registry.js';
import { lockClass } from './lock.js';
import { rbdClass } from './rbd/index.js';

export function createClasses(): ClassRegistry {
  return new ClassRegistry().register('lock', lockClass).register('rbd', rbdClass);
}

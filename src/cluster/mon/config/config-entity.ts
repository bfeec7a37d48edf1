/** Where an entity stands in the CRUSH map: settings may be for a place, or for a class of devices. */

import { crushLocation, itemClass } from '../crush-tree.js';
import type { MonState } from '../mon-state.js';
import type { ConfigEntity } from './central-config.js';

/** `host` is where a client says that it runs; an OSD stands where the CRUSH map has it. */
export function configEntity(state: MonState, name: string, host = ''): ConfigEntity {
  const { crush } = state.osdMaps.map;
  const osd = /^osd\.(\d+)$/.exec(name)?.[1];
  if (osd !== undefined) {
    const id = Number(osd);
    return { name, location: crushLocation(crush, id), deviceClass: itemClass(crush, id) };
  }
  const bucket = [...crush.itemNames].find(([id, item]) => id < 0 && item === host)?.[0];
  if (host === '' || bucket === undefined) return { name, location: [], deviceClass: undefined };
  const location = [['host', host] as const, ...crushLocation(crush, bucket)];
  return { name, location, deviceClass: undefined };
}

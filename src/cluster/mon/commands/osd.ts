/** Single OSDs: `osd info`, `osd find`, `osd metadata`, `node ls`. */

import { formatAddrvec } from '../../../encoding/entity.js';
import { crushLocation } from '../crush-tree.js';
import { MON_NAME } from '../mon-map.js';
import { VERSION } from '../releases.js';
import { type Command, type CommandArgs, CommandError } from './command.js';
import type { Json } from '../formatter.js';
import type { MonState } from '../mon-state.js';
import { addrvecJson } from './mon.js';
import { existingOsds, osdJson, osdText } from './osd-dump.js';

const ID_ARG = { name: 'id', type: 'CephOsdName' } as const;

/** The OSD that `id` names; it must exist. */
export function requiredOsd(state: MonState, args: CommandArgs): number {
  const osd = args.requiredInt('id');
  if (!state.osdMaps.map.exists(osd)) {
    throw new CommandError('ENOENT', `osd.${osd} does not exist`);
  }
  return osd;
}

function metadata(state: MonState, osd: number): Json {
  const map = state.osdMaps.map;
  const addrs = formatAddrvec(map.clientAddrs[osd] ?? []);
  return {
    id: osd,
    back_addr: addrs,
    ceph_release: 'pacific',
    ceph_version: VERSION,
    ceph_version_short: '16.2.15',
    default_device_class: 'hdd',
    front_addr: addrs,
    hb_back_addr: addrs,
    hb_front_addr: addrs,
    hostname: state.env.hostname,
    osd_objectstore: 'memstore',
  };
}

export const osdCommands: readonly Command[] = [
  {
    prefix: 'osd info',
    args: [{ ...ID_ARG, optional: true }],
    help: "print osd's {id} information (instead of all osds from map)",
    module: 'osd',
    perm: 'r',
    run: ({ state, args, output }) => {
      const map = state.osdMaps.map;
      const osd = args.int('id');
      if (osd !== undefined && !map.exists(osd)) {
        throw new CommandError('EINVAL', `osd.${osd} does not exist`);
      }
      const osds = osd === undefined ? existingOsds(map) : [osd];
      return output({
        plain: () => osds.map((id) => `${osdText(map, id)}\n`).join(''),
        json: () => (osd === undefined ? osds.map((id) => osdJson(map, id)) : osdJson(map, osd)),
        newline: 'ensured',
      });
    },
  },
  {
    prefix: 'osd find',
    args: [ID_ARG],
    help: 'find osd <id> in the CRUSH map and show its location',
    module: 'osd',
    perm: 'r',
    run: ({ state, args, output }) => {
      const osd = requiredOsd(state, args);
      const map = state.osdMaps.map;
      return output({
        json: () => ({
          osd,
          addrs: addrvecJson(map.clientAddrs[osd] ?? []),
          osd_fsid: map.osdUuid[osd] ?? '',
          host: state.env.hostname,
          crush_location: new Map(crushLocation(map.crush, osd)),
        }),
      });
    },
  },
  {
    prefix: 'osd metadata',
    args: [{ ...ID_ARG, optional: true }],
    help: 'fetch metadata for osd {id} (default all)',
    module: 'osd',
    perm: 'r',
    run: ({ state, args, output }) => {
      const one = args.has('id') ? requiredOsd(state, args) : undefined;
      return output({
        json: () =>
          one === undefined
            ? existingOsds(state.osdMaps.map).map((osd) => metadata(state, osd))
            : metadata(state, one),
      });
    },
  },
  {
    prefix: 'node ls',
    args: [{ name: 'type', type: 'CephChoices', optional: true, strings: 'all|osd|mon|mds|mgr' }],
    help: 'list all nodes in cluster [type]',
    module: 'mon',
    perm: 'r',
    run: ({ state, args, output }) => {
      const host = state.env.hostname;
      const nodes: Record<string, Json> = {
        mon: { [host]: [MON_NAME] },
        osd: { [host]: existingOsds(state.osdMaps.map) },
        mds: {},
        mgr: {},
      };
      const type = args.string('type');
      const all = { mon: nodes['mon'] as Json, osd: nodes['osd'] as Json, mgr: {} };
      return output({ json: () => nodes[type] ?? all, newline: 'ensured' });
    },
  },
];

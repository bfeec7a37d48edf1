/** The CRUSH tree with the state of its OSDs: `osd tree`, `osd crush tree`. */

import { MAX_PRIMARY_AFFINITY, type OsdMap } from '../../../osdmap/osdmap.js';
import { itemClass, type TreeItem, walkTree } from '../crush-tree.js';
import { formatTable, type Json, leftColumn, rightColumn } from '../formatter.js';
import { type Command, CommandError } from './command.js';
import { EPOCH_ARG, mapOfEpoch } from './map.js';
import { existingOsds, weightOf } from './osd-dump.js';

const ONE = 0x10000;

/** Five digits, and `0` for nothing (`weightf_t`). */
function formatWeight(weight: number): string {
  return weight < 0.000001 ? '0' : weight.toFixed(5);
}

function affinityOf(map: OsdMap, osd: number): number {
  return (map.primaryAffinity[osd] ?? MAX_PRIMARY_AFFINITY) / MAX_PRIMARY_AFFINITY;
}

type State = 'up' | 'down' | 'in' | 'out' | 'destroyed';

/** The states asked for: of those that exclude each other at most one. */
function parseStates(words: readonly string[]): Set<State> {
  for (const word of words) {
    if (!['up', 'down', 'in', 'out', 'destroyed'].includes(word)) {
      throw new CommandError('EINVAL', `unrecognized state '${word}'`);
    }
  }
  const states = new Set(words as State[]);
  if (states.has('in') && states.has('out')) {
    throw new CommandError('EINVAL', "cannot specify both 'in' and 'out'");
  }
  const alive = [...states].filter((state) => state !== 'in' && state !== 'out');
  if (alive.length > 1) {
    throw new CommandError('EINVAL', "can specify only one of 'up', 'down' and 'destroyed'");
  }
  return states;
}

function isInStates(map: OsdMap, osd: number, states: ReadonlySet<State>): boolean {
  return [...states].every((state) => {
    switch (state) {
      case 'up':
        return map.isUp(osd);
      case 'down':
        return !map.isUp(osd);
      case 'in':
        return !map.isOut(osd);
      case 'out':
        return map.isOut(osd);
      case 'destroyed':
        return false;
    }
  });
}

/** Only what matches, and the buckets above it. */
function filterTree(map: OsdMap, items: readonly TreeItem[], states: ReadonlySet<State>) {
  if (states.size === 0) return [...items];
  const kept = new Set<number>();
  const parents = new Map(items.map(({ id, parent }) => [id, parent]));
  for (const { id } of items) {
    if (id < 0 || !map.exists(id) || !isInStates(map, id, states)) continue;
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) kept.add(at);
  }
  return items
    .filter(({ id }) => kept.has(id))
    .map((item) => ({ ...item, children: item.children.filter((child) => kept.has(child)) }));
}

function typeAndName(map: OsdMap, { id, depth }: TreeItem): string {
  const { crush } = map;
  const margin = '    '.repeat(depth);
  if (id >= 0) return `${margin}osd.${id}`;
  const type = crush.typeNames.get(crush.bucket(id)?.type ?? -1) ?? '';
  return `${margin}${type} ${crush.itemNames.get(id) ?? ''}`;
}

const CRUSH_COLUMNS = [
  rightColumn('ID'),
  rightColumn('CLASS'),
  rightColumn('WEIGHT'),
  leftColumn('TYPE NAME'),
];
const STATE_COLUMNS = [rightColumn('STATUS'), rightColumn('REWEIGHT'), rightColumn('PRI-AFF')];

function crushCells(map: OsdMap, item: TreeItem): string[] {
  return [
    String(item.id),
    item.id >= 0 ? (itemClass(map.crush, item.id) ?? '') : '',
    formatWeight(item.weight / ONE),
    typeAndName(map, item),
  ];
}

function treeText(map: OsdMap, items: readonly TreeItem[]): string {
  const rows = items.map((item) => {
    const { id } = item;
    if (id < 0) return crushCells(map, item);
    if (!map.exists(id)) return [...crushCells(map, item), 'DNE', '0', ''];
    return [
      ...crushCells(map, item),
      map.isUp(id) ? 'up' : 'down',
      formatWeight(weightOf(map, id)),
      formatWeight(affinityOf(map, id)),
    ];
  });
  return formatTable([...CRUSH_COLUMNS, ...STATE_COLUMNS], rows);
}

function itemJson(map: OsdMap, item: TreeItem, options: { state: boolean }): Json {
  const { crush } = map;
  const { id, depth, parent } = item;
  const poolWeights = parent === undefined ? {} : { pool_weights: {} };
  if (id < 0) {
    const type = crush.bucket(id)?.type ?? -1;
    return {
      id,
      name: crush.itemNames.get(id) ?? '',
      type: crush.typeNames.get(type) ?? '',
      type_id: type,
      ...poolWeights,
      children: [...item.children].reverse(),
    };
  }
  const deviceClass = itemClass(crush, id);
  return {
    id,
    ...(deviceClass === undefined ? {} : { device_class: deviceClass }),
    name: `osd.${id}`,
    type: 'osd',
    type_id: 0,
    crush_weight: item.weight / ONE,
    depth,
    ...poolWeights,
    ...(options.state ? stateJson(map, id) : {}),
  };
}

function stateJson(map: OsdMap, osd: number): Record<string, Json> {
  return {
    exists: map.exists(osd) ? 1 : 0,
    status: map.isUp(osd) ? 'up' : 'down',
    reweight: weightOf(map, osd),
    primary_affinity: affinityOf(map, osd),
  };
}

export const osdTreeCommands: readonly Command[] = [
  {
    prefix: 'osd tree',
    args: [
      EPOCH_ARG,
      {
        name: 'states',
        type: 'CephChoices',
        optional: true,
        many: true,
        strings: 'up|down|in|out|destroyed',
      },
    ],
    help: 'print OSD tree',
    module: 'osd',
    perm: 'r',
    run: ({ state, args, output }) => {
      const states = parseStates(args.strings('states'));
      const map = mapOfEpoch(state, args);
      const all = walkTree(map.crush);
      const items = filterTree(map, all, states);
      const placed = new Set(all.map(({ id }) => id));
      const stray: TreeItem[] = existingOsds(map)
        .filter((osd) => !placed.has(osd) && isInStates(map, osd, states))
        .map((id) => ({ id, depth: 0, weight: 0, parent: undefined, children: [] }));
      return output({
        plain: () => treeText(map, [...items, ...stray]),
        json: () => ({
          nodes: items.map((item) => itemJson(map, item, { state: true })),
          stray: stray.map((item) => itemJson(map, item, { state: true })),
        }),
        newline: 'ensured',
      });
    },
  },
  {
    prefix: 'osd crush tree',
    help: 'dump crush buckets and items in a tree view',
    module: 'osd',
    perm: 'r',
    run: ({ state, output }) => {
      const map = state.osdMaps.map;
      const items = walkTree(map.crush);
      return output({
        plain: () =>
          formatTable(
            CRUSH_COLUMNS,
            items.map((item) => crushCells(map, item)),
          ),
        json: () => ({
          nodes: items.map((item) => itemJson(map, item, { state: false })),
          stray: [],
        }),
      });
    },
  },
];

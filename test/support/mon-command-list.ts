/**
 * A script of monitor commands, from a cluster of three OSDs without pools onwards, and what must be put aside before
 * two monitors' answers to it are compared: who, when, where and how far.
 */

export interface MonCommand {
  prefix: string;
  [argument: string]: unknown;
}

export interface MonAnswer {
  r: number;
  rs: string;
  /** Latin-1: a character per byte. */
  out: string;
}

const list: MonCommand[] = [];

function run(prefix: string, args: Record<string, unknown> = {}): void {
  list.push({ prefix, ...args });
}

/** Plain, as JSON and as pretty JSON. */
function show(prefix: string, args: Record<string, unknown> = {}): void {
  run(prefix, args);
  run(prefix, { ...args, format: 'json' });
  run(prefix, { ...args, format: 'json-pretty' });
}

function showAll(): void {
  show('status');
  show('health');
  show('health', { detail: 'detail' });
  show('osd stat');
  show('osd dump');
  show('osd tree');
  show('osd lspools');
  show('osd pool ls');
  show('osd pool ls', { detail: 'detail' });
}

const sure = { yes_i_really_mean_it: true };
const reallySure = { yes_i_really_really_mean_it: true };

// Before there is anything.
showAll();
show('df');
show('df', { detail: 'detail' });
show('fsid');
show('version');
show('versions');
show('mon versions');
show('osd versions');
show('mon dump');
show('mon stat');
show('quorum_status');
show('time-sync-status');
show('osd ls');
show('osd getmaxosd');
show('osd info');
show('osd info', { id: 1 });
run('osd info', { id: 9 });
show('osd tree', { states: ['up'] });
show('osd tree', { states: ['down'] });
run('osd tree', { states: ['in', 'out'] });
run('osd tree', { states: ['up', 'down'] });
show('osd crush rule ls');
show('osd crush rule dump');
show('osd crush rule dump', { name: 'replicated_rule' });
run('osd crush rule dump', { name: 'nope' });
show('osd crush tree');
show('osd crush class ls');
show('osd crush get-device-class', { ids: ['0', '1'] });
show('osd erasure-code-profile ls');
show('osd blocklist ls');
show('config dump');
show('config get', { who: 'client.admin' });
run('config get', { who: 'client.admin', key: 'nope' });
show('config-key ls');
show('node ls');
run('mon dump', { epoch: 9 });
run('osd dump', { epoch: 100000 });
run('osd getmap', { epoch: 100000 });

// What is no command.
list.push({} as MonCommand);
run('');
run('bogus');
run('osd');
run('osd pool');
run('osd dump', { epoch: 'x' });
run('osd stat', { extra: 'zz' });
run('osd stat', { format: 'bogus' });

// Pools.
run('osd pool create', { pool: 'rbd', pg_num: 8, size: 1 });
run('osd pool create', { pool: 'rbd', pg_num: 8 });
run('osd pool create', { pool: 'two', pg_num: 8, pgp_num: 8, pool_type: 'replicated', size: 2 });
run('osd pool create', { pool: 'plain' });
run('osd pool create', { pool: '' });
run('osd pool create');
run('osd pool create', { pool: '.dot', pg_num: 0 });
run('osd pool create', { pool: 'e', pg_num: '7' });
run('osd pool create', { pool: 'e', pg_num: 8, pgp_num: 16 });
run('osd pool create', { pool: 'e', pg_num: 8, rule: 'nope' });
run('osd pool create', { pool: 'e', pg_num: 8, pool_type: 'foo' });
run('osd pool create', { pool: 'ruled', pg_num: 8, rule: 'replicated_rule' });
showAll();
run('osd pool rename', { srcpool: 'two', destpool: '2' });
run('osd pool rename', { srcpool: 'two', destpool: '2' });
run('osd pool rename', { srcpool: 'nope', destpool: 'x' });
run('osd pool rename', { srcpool: 'ruled', destpool: '2' });

// Applications.
run('osd pool application enable', { pool: 'rbd', app: 'rbd' });
run('osd pool application enable', { pool: 'rbd', app: 'rbd' });
run('osd pool application enable', { pool: 'rbd', app: 'rgw' });
run('osd pool application enable', { pool: 'rbd', app: 'rgw', ...sure });
run('osd pool application enable', { pool: 'nope', app: 'rgw' });
run('osd pool application set', { pool: 'rbd', app: 'rbd', key: 'k', value: 'v' });
run('osd pool application set', { pool: 'rbd', app: 'zz', key: 'k', value: 'v' });
show('osd pool application get');
show('osd pool application get', { pool: 'rbd' });
show('osd pool application get', { pool: 'rbd', app: 'rbd' });
show('osd pool application get', { pool: 'rbd', app: 'rbd', key: 'k' });
run('osd pool application get', { pool: 'rbd', app: 'zz' });
run('osd pool application get', { pool: 'rbd', app: 'rbd', key: 'zz' });
run('osd pool application get', { pool: 'nope' });
run('osd pool application rm', { pool: 'rbd', app: 'rbd', key: 'k' });
run('osd pool application rm', { pool: 'rbd', app: 'rbd', key: 'k' });
run('osd pool application rm', { pool: 'rbd', app: 'zz', key: 'k' });
run('osd pool application disable', { pool: 'rbd', app: 'rgw' });
run('osd pool application disable', { pool: 'rbd', app: 'rgw', ...sure });
run('osd pool application disable', { pool: 'rbd', app: 'rgw', ...sure });

// Settings.
show('osd pool get', { pool: 'rbd', var: 'all' });
for (const variable of [
  ...['size', 'min_size', 'pg_num', 'pgp_num', 'crush_rule', 'hashpspool', 'nodelete'],
  ...['nopgchange', 'nosizechange', 'write_fadvise_dontneed', 'noscrub', 'nodeep-scrub'],
  ...['use_gmt_hitset', 'fast_read', 'pg_autoscale_mode', 'bulk', 'compression_mode'],
  ...['pg_num_min', 'hit_set_type', 'target_max_objects', 'erasure_code_profile'],
  ...['allow_ec_overwrites', 'nonsense'],
]) {
  show('osd pool get', { pool: 'rbd', var: variable });
}
run('osd pool get', { pool: 'rbd' });
run('osd pool get', { var: 'size' });
run('osd pool get', { pool: 'nope', var: 'size' });
for (const [name, val] of [
  ...[
    ['size', '2'],
    ['size', '0'],
    ['size', '11'],
    ['size', 'x'],
    ['min_size', '2'],
  ],
  ...[
    ['min_size', '3'],
    ['min_size', '0'],
    ['size', '3'],
    ['size', '2'],
    ['size', '1'],
  ],
  ...[
    ['pg_num', '0'],
    ['nodelete', '1'],
    ['nodelete', 'true'],
    ['nodelete', 'x'],
  ],
  ...[
    ['noscrub', 'true'],
    ['noscrub', '0'],
    ['hashpspool', 'false'],
    ['crush_rule', 'nope'],
  ],
  ...[
    ['crush_rule', 'replicated_rule'],
    ['pg_autoscale_mode', 'on'],
  ],
  ...[
    ['pg_autoscale_mode', 'off'],
    ['pg_autoscale_mode', 'zz'],
    ['nonsense', '1'],
  ],
  ...[
    ['compression_mode', 'force'],
    ['target_size_bytes', '100'],
    ['bulk', 'true'],
  ],
  ...[
    ['bulk', 'false'],
    ['fast_read', '1'],
    ['pg_num_min', '4'],
  ],
] as const) {
  run('osd pool set', { pool: 'rbd', var: name, val });
}
run('osd pool set', { pool: 'nope', var: 'size', val: '1' });
show('osd pool get', { pool: 'rbd', var: 'all' });
show('osd pool get', { pool: 'rbd', var: 'compression_mode' });
show('osd pool ls', { detail: 'detail' });
run('osd pool rm', { pool: 'rbd', pool2: 'rbd', ...reallySure });
run('osd pool set', { pool: 'rbd', var: 'nodelete', val: 'false' });
run('osd pool set', { pool: 'rbd', var: 'compression_mode', val: 'unset' });
run('osd pool set', { pool: 'rbd', var: 'target_size_bytes', val: '0' });
run('osd pool set', { pool: 'rbd', var: 'pg_num_min', val: '0' });
run('osd pool set', { pool: 'rbd', var: 'size', val: '1', ...sure });
run('osd pool set-quota', { pool: 'rbd', field: 'max_bytes', val: '10M' });
run('osd pool set-quota', { pool: 'rbd', field: 'max_objects', val: '10' });
show('osd pool ls', { detail: 'detail' });
run('osd pool set-quota', { pool: 'rbd', field: 'max_bytes', val: '0' });
run('osd pool set-quota', { pool: 'rbd', field: 'max_objects', val: '0' });
run('osd pool set-quota', { pool: 'rbd', field: 'max_objects', val: 'x' });
show('osd pool get-quota', { pool: 'rbd' });

// Snapshots of pools.
run('osd pool mksnap', { pool: '2', snap: 'x' });
run('osd pool mksnap', { pool: '2', snap: 'x' });
show('osd pool ls', { detail: 'detail' });
run('osd pool rmsnap', { pool: '2', snap: 'x' });
run('osd pool rmsnap', { pool: '2', snap: 'x' });
run('osd pool mksnap', { pool: 'nope', snap: 'x' });

// The end of pools.
run('osd pool rm', { pool: '2' });
run('osd pool rm', { pool: '2', pool2: 'rbd', ...reallySure });
run('osd pool rm', { pool: '2', pool2: '2' });
run('osd pool delete', { pool: '2', pool2: '2', ...reallySure });
run('osd pool rm', {
  pool: '2',
  pool2: '2',
  yes_i_really_really_mean_it: '--yes-i-really-really-mean-it',
});
run('osd pool rm', {
  pool: '.dot',
  pool2: '.dot',
  yes_i_really_really_mean_it: '--yes-i-really-really-mean-it',
});
show('osd lspools');

// Flags.
for (const key of [
  ...['full', 'pause', 'noup', 'nodown', 'noout', 'noin', 'nobackfill', 'norebalance'],
  ...['norecover', 'noscrub', 'nodeep-scrub', 'notieragent', 'nosnaptrim', 'bogus'],
]) {
  run('osd set', { key });
}
run('osd set');
showAll();
for (const key of [
  ...['full', 'pause', 'noup', 'nodown', 'noout', 'noin', 'nobackfill', 'norebalance'],
  ...['norecover', 'noscrub', 'nodeep-scrub', 'notieragent', 'nosnaptrim', 'bogus'],
]) {
  run('osd unset', { key });
}

// OSDs in and out, weights.
for (const prefix of ['osd out', 'osd in']) {
  run(prefix, { ids: ['0'] });
  run(prefix, { ids: ['0'] });
  run(prefix, { ids: ['osd.1'] });
  run(prefix, { ids: ['7'] });
  run(prefix, { ids: ['x'] });
  run(prefix, { ids: ['1', '2'] });
  run(prefix, { ids: ['any'] });
  run(prefix, { ids: [] });
}
run('osd out', { ids: ['2'] });
show('osd tree');
show('osd stat');
show('osd dump');
show('osd tree', { states: ['out'] });
run('osd in', { ids: ['2'] });
run('osd reweight', { id: 0, weight: 0.5 });
show('osd tree');
run('osd reweight', { id: 'osd.0', weight: 0.25 });
run('osd reweight', { id: 9, weight: 0.5 });
run('osd reweight', { id: 0, weight: -1.0 });
run('osd reweight', { id: 0, weight: 1.0 });
run('osd primary-affinity', { id: 0, weight: 0.5 });
show('osd tree');
show('osd dump');
run('osd primary-affinity', { id: 9, weight: 0.5 });
run('osd primary-affinity', { id: 0, weight: 1.0 });
run('osd down', { ids: ['9'] });
run('osd down', { ids: ['x'] });

// Exceptions from CRUSH.
run('osd set-require-min-compat-client', { version: 'nope' });
run('osd set-require-min-compat-client', { version: 'mimic', ...sure });
run('osd set-require-min-compat-client', { version: 'luminous', ...sure });
run('osd pg-upmap', { pgid: '1.3', id: [2] });
run('osd pg-upmap', { pgid: '1.3', id: [2, 1] });
run('osd pg-upmap', { pgid: '1.3', id: [9] });
show('osd dump');
run('osd rm-pg-upmap', { pgid: '1.3' });
run('osd rm-pg-upmap', { pgid: '1.3' });
run('osd pg-upmap-items', { pgid: '1.1', id: [0, 1, 1, 2] });
run('osd pg-upmap-items', { pgid: '1.2', id: [1] });
run('osd pg-upmap-items', { pgid: '1.2', id: [1, 1] });
run('osd pg-upmap-items', { pgid: '1.2', id: [0, 9] });
run('osd pg-upmap-items', { pgid: '1.99', id: [0, 1] });
run('osd pg-upmap-items', { pgid: 'zz', id: [0, 1] });
run('osd rm-pg-upmap-items', { pgid: '1.1' });

// Placement: equal, because both maps have the same rule and weights.
for (const object of ['foo', 'a/b', '', 'rbd_data.10']) show('osd map', { pool: 'rbd', object });
show('osd map', { pool: 'rbd', object: 'foo', nspace: 'ns' });
run('osd map', { pool: 'nope', object: 'foo' });
for (let seed = 0; seed < 8; seed++) show('pg map', { pgid: `1.${seed}` });

// Fences. One entry at a time: several come in the order of a hash table.
for (const word of ['blocklist', 'blacklist']) {
  const prefix = `osd ${word}`;
  const op = `${word}op`;
  run(prefix, { [op]: 'add', addr: 'zz' });
  run(prefix, { [op]: 'add' });
  run(prefix, { [op]: 'zz', addr: '1.2.3.4:0/78' });
  for (const addr of [
    ...['1.2.3.4:0/77', '1.2.3.4', 'v1:1.2.3.5:6789/3', 'v2:1.2.3.6:6789/3', '[::1]:5/6'],
  ]) {
    run(prefix, { [op]: 'add', addr, expire: 1e6 });
    show(`${prefix} ls`);
    run(prefix, { [op]: 'rm', addr });
    run(prefix, { [op]: 'rm', addr });
  }
  run(prefix, { [op]: 'add', addr: '1.2.3.4:0/77' });
  show('osd dump');
  run(prefix, { [op]: 'add', addr: '1.2.3.4:0/78', expire: 3600.5 });
  run(`${prefix} clear`);
  show(`${prefix} ls`);
}

// Entities.
run('auth get-or-create', { entity: 'client.t' });
run('auth get-or-create', { entity: 'client.t', caps: ['mon', 'allow r'] });
show('auth get-or-create', { entity: 'client.u', caps: ['mon', 'profile rbd', 'osd', 'allow *'] });
run('auth get-or-create', { entity: 'client.u' });
run('auth get-or-create', { entity: 'client.u', caps: ['mon', 'allow r'] });
show('auth get', { entity: 'client.u' });
show('auth get-key', { entity: 'client.u' });
show('auth print-key', { entity: 'client.u' });
run('auth get-key', { entity: 'client.zz' });
run('auth get', { entity: 'client.zz' });
run('auth get', { entity: 'bogus' });
run('auth caps', { entity: 'client.u', caps: ['mon', 'allow r'] });
show('auth get', { entity: 'client.u' });
run('auth caps', { entity: 'client.zz', caps: ['mon', 'allow r'] });
run('auth caps', { entity: 'client.u', caps: ['mon'] });
show('auth get-or-create-key', { entity: 'client.w', caps: ['osd', 'allow *'] });
run('auth add', { entity: 'client.u' });
run('auth add', { entity: 'client.v', caps: ['mon', 'allow r'] });
run('auth add', { entity: 'client.v', caps: ['mon', 'allow r'] });
show('auth ls');
run('auth del', { entity: 'client.u' });
run('auth del', { entity: 'client.u' });
run('auth rm', { entity: 'client.v' });
run('auth rm', { entity: 'client.t' });
run('auth rm', { entity: 'client.w' });
run('auth get-or-create', { entity: 'bogus' });
run('auth get-or-create', { entity: 'client.q', caps: ['mon', 'bogus cap'] });
run('auth get-or-create', { entity: 'client.q', caps: ['osd', 'bogus cap'] });
run('auth get-or-create', { entity: 'client.q', caps: ['zzz', 'allow *'] });

// Entities in keyrings, and networks in caps.
run('auth export', { entity: 'client.zz' });
run('auth export', { entity: 'bogus' });
run('auth get-or-create', { entity: 'client.exported', caps: ['mon', 'allow r'] });
show('auth export', { entity: 'client.exported' });
run('auth import');
run('auth rm', { entity: 'client.exported' });
for (const [service, caps] of [
  ['mon', 'allow rw network 10.0.0.0/8'],
  ['mon', 'allow r network 10.0.0.0'],
  ['mon', 'allow r network bogus'],
  ['mon', 'allow r network'],
  ['mon', 'allow r network=10.0.0.0/8'],
  ['mon', 'allow service osd r network 10.0.0.0/8'],
  ['mon', 'allow command "osd map" network 10.0.0.0/8'],
  ['mon', 'allow command "osd map" with pool=x network 10.0.0.0/8'],
  ['mon', 'allow profile rbd network 10.0.0.0/8'],
  ['mon', 'profile rbd network fd00::/8'],
  ['osd', 'allow rw network 10.0.0.0/8'],
  ['osd', 'allow rw pool=x network 10.0.0.0/8'],
  ['osd', 'profile rbd pool=x network 10.0.0.0/8'],
  ['osd', 'allow rw network=10.0.0.0/8'],
  ['osd', 'allow rw network bogus'],
  ['osd', 'allow rw network'],
  ['osd', 'allow class lock network 10.0.0.0/8'],
]) {
  run('auth get-or-create', { entity: 'client.net', caps: [service, caps] });
  run('auth rm', { entity: 'client.net' });
}

// The central configuration: values of each type, as they are kept.
for (const [name, values] of Object.entries({
  rbd_cache: [
    'true',
    'FALSE',
    '5',
    '0',
    '-1',
    'yes',
    'maybe',
    '',
    '5K',
    '1.5',
    '99999999999999999999',
  ],
  osd_heartbeat_grace: ['5', '-5', '+5', '010', '5K', '5k', '5KB', '5B', '1.5', '1.5M', '', 'TRUE'],
  osd_max_backfills: ['5', '-5', '5M', '0x10', ' 5', '5 ', '1e3', '1K1', 'abc'],
  osd_recovery_sleep: ['5', '-5', '.5', '0x10', '1e3', '5s', ' 5', '5 ', 'inf', 'abc', '', '1/2'],
  rbd_cache_size: ['5', '32M', '5Ki', '5KB', '5B', '5k', '-5', '1.5M', '1K1', 'abc', 'no', ''],
  mon_op_complaint_time: ['5', '5m', '5 minutes', '1h', '', '-5', '5K', '1.5', '5/', 'abc'],
  mon_cluster_log_file_level: ['5', ' 5 ', '', 'debug'],
  debug_osd: ['5', '1/2', '5/', '-5', '100/100', '5K', '0x10', '', 'abc'],
  rbd_default_features: [
    '61',
    'layering',
    'deep-flatten,layering ',
    'layering,bogus',
    '1024',
    '0x10',
  ],
  rbd_cache_policy: ['writeback', 'bogus'],
  rbd_journal_order: ['11', '12', '26', '27'],
  osd_pool_default_size: ['10', '200'],
  fsid: ['11111111-2222-4333-8444-555555555555'],
  keyring: ['x'],
  'rbd cache': ['true'],
  'rbd-cache': ['true'],
  nope: ['x'],
})) {
  for (const value of values) {
    run('config set', { who: 'global', name, value });
    run('config get', { who: 'client.x', key: name });
  }
  run('config rm', { who: 'global', name });
  run('config get', { who: 'client.x', key: name });
  run('config get', { who: 'mon.a', key: name });
}
// For whom.
for (const who of [
  ...['global', 'client', 'client.foo', 'client.a.b', 'client.', 'osd', 'osd.0', 'osd.x', 'mon'],
  ...['mgr.x', 'mds.x', 'auth', 'osd/class:ssd', 'osd/host:foo', 'osd/bogus:foo', 'host:foo'],
  ...['osd/rack:foo/class:hdd', 'class:ssd', 'osd/', 'osd/foo', '', '*', 'zz', 'foo.x'],
]) {
  run('config set', { who, name: 'rbd_cache_max_dirty', value: '1M' });
}
run('config set', { name: 'rbd_cache', value: '1' });
run('config set', { who: 'client', value: '1' });
run('config set', { who: 'client', name: 'rbd_cache' });
run('config set', { who: 'client', name: 'nope', value: '1', force: true });
run('config set', { who: 'client', name: 'rbd_cache', value: 'maybe', force: true });
run('config set', { who: 'client.foo', name: 'rbd_cache_size', value: '1M' });
run('config set', { who: 'global', name: 'debug_rbd', value: '20' });
run('config set', { who: 'global', name: 'rbd_cache_policy', value: 'writeback' });
show('config dump');
for (const who of ['client.foo', 'client.a.b', 'client', 'osd.0', 'osd', 'mon.a']) {
  show('config get', { who });
}
for (const who of ['global', '', 'zz']) run('config get', { who });
run('config get', { who: 'osd.0', key: 'mon_host' });
run('config get', { who: 'osd.0', key: 'fsid' });
run('config get', { who: 'client.x', key: 'log_to_stderr' });
run('config get', { who: 'mon.a', key: 'log_to_stderr' });
show('config log', { num: 3 });
run('config log', { num: 0 });
run('config rm', { who: 'client.foo', name: 'rbd_cache_size' });
run('config rm', { who: 'client.foo', name: 'rbd_cache_size' });
run('config rm', { who: 'zz', name: 'rbd_cache_size' });
run('config rm', { who: 'client' });
run('config reset');
run('config reset', { num: 100000 });
run('config reset', { num: 3 });
show('config dump');
show('config log', { num: 2 });
run('config reset', { num: 1 });
show('config log', { num: -1 });
show('config dump');
run('config help', { key: 'nope' });
run('config assimilate-conf');
run('config generate-minimal-conf');

// Keys.
run('config-key set', { key: 'a/b', val: 'hello' });
run('config-key set', { key: 'a/b', val: '{"a": 1}' });
run('config-key put', { key: 'a/c', val: 'x' });
run('config-key set', { key: 'empty' });
run('config-key set');
run('config-key get', { key: 'a/b' });
run('config-key get', { key: 'a/b', format: 'json' });
run('config-key get', { key: 'nope' });
run('config-key get');
run('config-key exists', { key: 'a/b' });
run('config-key exists', { key: 'nope' });
show('config-key dump', { key: 'a/' });
show('config-key ls');
show('config-key list');
run('config-key rm', { key: 'a/b' });
run('config-key rm', { key: 'a/b' });
run('config-key del', { key: 'a/c' });
run('config-key rm', { key: 'empty' });
run('config-key rm');

// All OSDs down: last, because they come back when they like.
run('osd set', { key: 'noup' });
run('osd down', { ids: ['0'] });
run('osd down', { ids: ['0'] });
show('health', { detail: 'detail' });
run('osd down', { ids: ['1', '2'] });
showAll();
show('osd map', { pool: 'rbd', object: 'foo' });
show('osd tree', { states: ['down'] });
show('versions');
run('osd unset', { key: 'noup' });

export const MON_COMMANDS: readonly MonCommand[] = list;

/** What differs between any two clusters. */
const PUT_ASIDE: readonly (readonly [RegExp, string])[] = [
  [/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<uuid>'],
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}/g, '<time>'],
  [/"0\.000000"/g, '"<time>+0000"'],
  [/\((since|age) [^)]*\)/g, '($1 <age>)'],
  [
    /(epoch|osdmap e|epoch: e|up_from|up_thru|down_at|last_change|crush_version|snap_epoch)("?:? ?"?)\d+/g,
    '$1$2<n>',
  ],
  [/"(osd_up_since|osd_in_since|quorum_age|features|election_epoch)":( ?)\d+/g, '"$1":$2<n>'],
  [/\b[0-9a-f]{40}\b/g, '<commit>'],
  [/AQ[A-Za-z0-9+/]{36,40}={0,2}/g, '<key>'],
  // A real daemon has two addresses, ours one.
  [/"addrvec":\s*\[[^\]]*\]/g, '"addrvec":<addrs>'],
  [/\[v2:127\.0\.0\.1:\d+\/\d+,v1:127\.0\.0\.1:\d+\/\d+\]/g, '<addr>'],
  [/(v2:)?127\.0\.0\.1:\d+\/\d+/g, '<addr>'],
  // The real host bucket has a shadow of the root before it.
  [/(^|\n)-3( +)/g, '$1-2$2'],
  [/("id":\s*|"children":\s*\[\s*)-3\b/g, '$1-2'],
  // What a real cluster may be short of: a manager, disk space, clocks.
  [/\[WRN\] (MGR_DOWN|MON_DISK_LOW): [^\n]*\n( {4}mon\.a has [^\n]*\n)?/g, ''],
  [/ {12}(no active mgr|mon a is low on available space)\n/g, ''],
  [/(no active mgr|mon a is low on available space)(; )?/g, ''],
  [
    /"(MGR_DOWN|MON_DISK_LOW)":\s*\{\s*"severity":\s*"HEALTH_WARN",\s*"summary":\s*\{[^}]*\},\s*("detail":\s*\[[^\]]*\],\s*)?"muted":\s*false\s*\},?\s*/g,
    '',
  ],
  // Without a manager, which a real cluster here has not, `status` knows of no PG and no object.
  [/\n {2}data:\n[\s\S]*?\n \n/g, '\n  data: <of the manager>\n'],
  [/"pgmap":(\s*)\{[\s\S]*?\}(?=,\s*"fsmap")/g, '"pgmap":$1<of the manager>'],
  // Those of a PG that is still on its way.
  [/\npg_temp [^\n]*/g, ''],
  [/"pg_temp":(\s*)\[[\s\S]*?\](?=,\s*"primary_temp")/g, '"pg_temp":$1[]'],
  // PGs are created a moment after the pool.
  [/,creating\b/g, ''],
  // Keys that only real daemons need.
  [/client\.bootstrap-\w+(-\w+)?\n\tkey: <key>\n(\tcaps: [^\n]*\n)*/g, ''],
  [/mon\.\n\tkey: <key>\n(\tcaps: [^\n]*\n)*/g, ''],
  [/\{\s*"entity":\s*"client\.bootstrap-[^}]*\}\s*\},?\s*/g, ''],
  [/(\tcaps: \[mds\] allow \*\n|"mds":\s*"allow \*",\s*)/g, ''],
];

const POOL_CREATING = 0x8000;

/** An answer without what differs between any two clusters. */
export function comparable(answer: MonAnswer): MonAnswer {
  const clean = (text: string) =>
    PUT_ASIDE.reduce((rest, [pattern, stand]) => rest.replace(pattern, stand), text).replace(
      /"flags":( ?)(\d+)/g,
      (_, space: string, flags: string) => `"flags":${space}${Number(flags) & ~POOL_CREATING}`,
    );
  return { r: answer.r, rs: clean(answer.rs), out: clean(answer.out) };
}

/** Where two answers begin to differ; undefined when they are the same. */
export function firstDifference(ours: MonAnswer, real: MonAnswer): string | undefined {
  const [a, b] = [ours, real].map(({ r, rs, out }) => `${r} ${JSON.stringify(rs)} ${out}`) as [
    string,
    string,
  ];
  if (a === b) return undefined;
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  const around = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 60), at + 120));
  return `at ${at}: ours ${around(a)}, real ${around(b)}`;
}

/**
 * The floors of ARCHITECTURE.md, checked: a module imports from its own folder and from floors below, never upwards,
 * and sideways only where the table says so.
 */
const below = {
  base: [],
  encoding: ['base'],
  kernels: ['encoding', 'base'],
  auth: ['kernels', 'encoding', 'base'],
  messages: ['kernels', 'encoding', 'base'],
  osdmap: ['kernels', 'encoding', 'base'],
  msgr: ['auth', 'messages', 'kernels', 'encoding', 'base'],
  'mon-client': ['msgr', 'auth', 'messages', 'osdmap', 'kernels', 'encoding', 'base'],
};
below['osd-client'] = ['mon-client', ...below['mon-client']];
below.rados = ['osd-client', ...below['osd-client']];
below.rbd = ['rados', ...below.rados];
below.block = ['rbd', ...below.rbd];
below.cluster = ['msgr', 'auth', 'messages', 'osdmap', 'kernels', 'encoding', 'base'];
below.sim = ['cluster', 'block', ...below.block];
below.cli = ['sim', 'cluster', 'block', ...below.block];

const floors = Object.entries(below).map(([folder, allowed]) => ({
  name: `floor-of-${folder}`,
  comment: `src/${folder} may import ${allowed.join(', ') || 'nothing of ours'}`,
  severity: 'error',
  from: { path: `^src/${folder}/` },
  to: { path: '^(src|workers|bench|test)/', pathNot: `^src/(${[folder, ...allowed].join('|')})/` },
}));

module.exports = {
  forbidden: [
    ...floors,
    {
      name: 'no-circles',
      comment: 'modules that need each other are one module, or need an interface between them',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'no-orphans',
      comment: 'a module that nobody imports is dead, unless it is an entry',
      severity: 'error',
      from: { orphan: true, pathNot: ['^workers/', '^bench/', '\\.d\\.ts$', '^src/index\\.ts$', '^src/cli/'] },
      to: {},
    },
    {
      name: 'no-dev-dependencies',
      comment: 'what users install has no devDependencies',
      severity: 'error',
      from: { path: '^(src|workers)/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'unknown', 'undetermined'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
  },
};

import tseslint from 'typescript-eslint';

/** What only the Environment (src/base/node-environment.ts) and the thread roof may touch. */
const environmentOnly = {
  globals: [
    { name: 'setTimeout', message: 'Use environment.timers.' },
    { name: 'setInterval', message: 'Use environment.timers.' },
    { name: 'setImmediate', message: 'Use environment.timers.' },
    { name: 'performance', message: 'Use environment.clock.' },
    { name: 'fetch', message: 'No HTTP here.' },
  ],
  properties: [
    { object: 'Date', property: 'now', message: 'Use environment.clock.now().' },
    { object: 'Math', property: 'random', message: 'Use environment.random.' },
    { object: 'process', property: 'hrtime', message: 'Use environment.clock.' },
    {
      object: 'process',
      property: 'env',
      message: 'Read the process environment in src/cli only.',
    },
  ],
  imports: {
    paths: [
      'net',
      'fs',
      'fs/promises',
      'tls',
      'dgram',
      'dns',
      'dns/promises',
      'timers',
      'timers/promises',
      'os',
    ]
      .flatMap((name) => [name, `node:${name}`])
      .map((name) => ({ name, message: 'Comes from the Environment.' }))
      .concat([
        {
          name: 'node:crypto',
          importNames: ['randomBytes', 'randomUUID', 'randomInt', 'randomFillSync', 'webcrypto'],
          message: 'Use environment.random.',
        },
      ]),
  },
};

export default tseslint.config(
  { ignores: ['dist/**', 'assembly/**', 'node_modules/**', '**/*.mjs'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.base],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Named exports only.' },
        {
          selector: "NewExpression[callee.name='Date'][arguments.length=0]",
          message: 'Use environment.clock.',
        },
      ],
      eqeqeq: 'error',
      'no-console': 'error',
      'prefer-const': 'error',
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: [
      'src/base/node-*.ts',
      'src/base/paths.ts',
      'src/kernels/load.ts',
      'src/sim/virtual-world.ts',
      'src/cli/**',
    ],
    rules: {
      'no-restricted-globals': ['error', ...environmentOnly.globals],
      'no-restricted-properties': ['error', ...environmentOnly.properties],
      'no-restricted-imports': ['error', environmentOnly.imports],
    },
  },
  {
    files: ['src/cli/**/*.ts', 'bench/**/*.ts', 'test/**/*.ts', '*.config.ts'],
    rules: { 'no-restricted-syntax': 'off', 'no-console': 'off' },
  },
);

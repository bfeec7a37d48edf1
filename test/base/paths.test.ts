import { existsSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { packageFile } from '../../src/base/paths.js';

describe('packageFile', () => {
  it('finds the package root when run from the sources', () => {
    expect(existsSync(packageFile('asconfig.json'))).toBe(true);
  });

  it('finds the same root when run from the build', async () => {
    const built = (await import(packageFile('dist/src/base/paths.js'))) as {
      packageFile: typeof packageFile;
    };
    expect(built.packageFile('package.json')).toBe(packageFile('package.json'));
  });
});

// What Node's files add to the system's.

import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { nodeDisk } from '../../src/base/node-disk.js';

it('a closed file touches no other one that got its number', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'linger-disk-'));
  try {
    const file = await nodeDisk.open(join(dir, 'a'), { create: true });
    await file.write([Buffer.from('of a')], 0);
    await file.close();
    const other = await open(join(dir, 'b'), 'w+');
    await expect(file.write([Buffer.from('of a')], 0)).rejects.toMatchObject({ code: 'EBADF' });
    await expect(file.sync()).rejects.toMatchObject({ code: 'EBADF' });
    await expect(file.close()).rejects.toMatchObject({ code: 'EBADF' });
    expect(() => file.read(Buffer.alloc(4), 0)).toThrow('closed');
    expect((await other.stat()).size).toBe(0);
    await other.close();
  } finally {
    await rm(dir, { recursive: true });
  }
});

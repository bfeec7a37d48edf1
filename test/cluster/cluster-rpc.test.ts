import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { ClusterThread } from '../../src/cluster/cluster-rpc.js';

/** A thread that does `script` with every request, in place of a cluster. */
function thread(script: string): ClusterThread {
  const source = `
    const { parentPort } = require('node:worker_threads');
    parentPort.on('message', (request) => { ${script} });`;
  return new ClusterThread(new Worker(source, { eval: true }));
}

const answerError = (error: object) =>
  thread(`parentPort.postMessage({ id: request.id, ok: false, error: ${JSON.stringify(error)} });`);

describe('a call to the cluster’s thread', () => {
  it('rejects when the thread ends before it answered, as does every later one', async () => {
    const cluster = thread('process.exit(3);');
    const calls = [cluster.status(), cluster.killOsd(0)];
    for (const call of calls) {
      await expect(call).rejects.toMatchObject({
        code: 'ENOTCONN',
        message: "the embedded cluster's thread ended with code 3",
      });
    }
    expect(await cluster.ended).toMatchObject({ code: 'ENOTCONN' });
    await expect(cluster.status()).rejects.toMatchObject({ code: 'ENOTCONN' });
    await cluster.stop();
  });

  it('tells what the thread died of', async () => {
    const cluster = thread("throw new Error('the reason');");
    await expect(cluster.status()).rejects.toThrow(/thread ended: the reason/);
  });

  it('rejects with the error of the other side, code and errno kept', async () => {
    const cluster = answerError({ name: 'RadosError', message: 'no such osd', errno: -2 });
    await expect(cluster.killOsd(9)).rejects.toMatchObject({
      code: 'ENOENT',
      errno: -2,
      message: 'no such osd',
    });
    await cluster.stop();
  });

  it('rejects with a programmer’s error as one', async () => {
    const cluster = answerError({ name: 'RangeError', message: 'out of range' });
    await expect(cluster.killOsd(9)).rejects.toThrow(RangeError);
    await cluster.stop();
    expect(await cluster.ended).toBeUndefined();
  });

  it('to stop ends the thread, answered or not', async () => {
    const cluster = thread('if (request.method === "stop") process.exit(0);');
    await cluster.stop();
    await cluster.stop();
    await expect(cluster.status()).rejects.toMatchObject({ code: 'ENOTCONN' });
  });
});

/** The osd-client thread: hosts the images of block devices in another thread (src/block/worker-host.ts). */

import { parentPort, workerData } from 'node:worker_threads';

import type { RuntimeFactory } from '../src/block/backend.js';
import { serveDevices, type WorkerSetup } from '../src/block/worker-main.js';

const setup = workerData as WorkerSetup;
const runtime = (await import(setup.runtimeModule)) as { createRuntime: RuntimeFactory };
if (parentPort === null) throw new Error('workers/osd-client runs in a worker thread only');
await serveDevices(parentPort, setup, runtime.createRuntime);

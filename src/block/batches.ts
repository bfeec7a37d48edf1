/**
 * What comes in many batches, over a port between two threads: as many as the receiver has asked for are on their way, so
 * neither side gets ahead of the other by more. Bytes are moved, not copied: they have their memory for themselves (`joined`).
 *
 *     receiver   'more' ...        'more'                    'stop'
 *     sender            batch  batch      batch ...  end: told by the call that began it
 */

import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';

import { sharedAborter } from '../base/shared-aborter.js';

/** Batches that may be on their way. */
const AHEAD = 2;

type Request = 'more' | 'stop';

/** Sends the batches as they are asked for. Resolves when there are no more, or none is wanted. */
export async function sendBatches<T>(
  port: MessagePort,
  iterate: (signal: AbortSignal) => AsyncIterable<T>,
): Promise<void> {
  const aborter = sharedAborter();
  const { signal } = aborter;
  let wanted = 0;
  let wake = () => {};
  port.on('message', (request: Request) => {
    if (request === 'more') wanted++;
    else aborter.abort();
    wake();
  });
  port.on('close', () => {
    aborter.abort();
    wake();
  });
  try {
    for await (const batch of iterate(signal)) {
      while (wanted === 0 && !signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (signal.aborted) return;
      wanted--;
      port.postMessage(batch, batch instanceof Uint8Array ? [batch.buffer as ArrayBuffer] : []);
    }
  } finally {
    port.close();
  }
}

/** The batches that the other side sends, until `ended` settles: it rejects with what went wrong. */
export async function* receiveBatches<T>(
  port: MessagePort,
  ended: Promise<void>,
): AsyncGenerator<T, void, undefined> {
  const arrived: T[] = [];
  const state: { end?: { error?: unknown } } = {};
  let wake = () => {};
  const finish = (end: { error?: unknown }) => {
    state.end = end;
    wake();
  };
  ended.then(
    () => finish({}),
    (error: unknown) => finish({ error }),
  );
  port.on('message', (batch: T) => {
    arrived.push(batch);
    wake();
  });
  const ask = (request: Request) => port.postMessage(request);
  for (let i = 0; i < AHEAD; i++) ask('more');
  try {
    for (;;) {
      const { end } = state;
      // The end came by another way, and may have overtaken the last of these.
      for (let last; end && (last = receiveMessageOnPort(port)); ) arrived.push(last.message as T);
      const batch = arrived.shift();
      if (batch !== undefined) {
        ask('more');
        yield batch;
      } else if (end) {
        if ('error' in end) throw end.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    ask('stop');
    port.close();
  }
}

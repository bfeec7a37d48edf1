/** Events of an image on their way between threads: as they are, with their errors as plain data. */

import type { BackendEvent } from './backend.js';
import { errorFromPlain, errorToPlain, type PlainError } from './error-transfer.js';

type Plain<T> = T extends { error?: unknown } ? Omit<T, 'error'> & { error?: PlainError } : T;
export type PlainEvent = Plain<BackendEvent>;

export function eventToPlain(event: BackendEvent): PlainEvent {
  if (!('error' in event) || !event.error) return event as PlainEvent;
  return { ...event, error: errorToPlain(event.error) } as PlainEvent;
}

export function eventFromPlain(event: PlainEvent): BackendEvent {
  if (!('error' in event) || !event.error) return event as BackendEvent;
  return { ...event, error: errorFromPlain(event.error) } as BackendEvent;
}

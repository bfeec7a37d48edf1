import { isRadosError, type RadosError } from '../../src/base/errors.js';

/** The `RadosError` that the promise is rejected with. Attached at once, so that nothing counts as unhandled. */
export async function rejection(promise: Promise<unknown>): Promise<RadosError> {
  try {
    await promise;
  } catch (error) {
    if (isRadosError(error)) return error;
    throw error;
  }
  throw new Error('it was not rejected');
}

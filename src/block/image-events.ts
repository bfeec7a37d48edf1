/** What happens to an image, as events of its device. */

import type { RadosError } from '../base/errors.js';
import type { Image } from '../rbd/image.js';
import type { ImageListener } from '../rbd/image-guard.js';
import type { LockLossReason } from '../rbd/lock-host.js';
import type { BackendEvent } from './backend.js';

export class ImageEvents implements ImageListener {
  readonly #emit: (event: BackendEvent) => void;
  #image: Image | undefined;
  #size = 0;

  constructor(emit: (event: BackendEvent) => void) {
    this.#emit = emit;
  }

  /** The image is open: its size as of now is known to the device. */
  attach(image: Image): void {
    this.#image = image;
    this.#size = image.size;
  }

  onRefreshed(): void {
    const size = this.#image?.size ?? this.#size;
    if (size === this.#size) return;
    this.#size = size;
    this.#emit({ type: 'resize', size });
  }

  onWatchLost(error: RadosError): void {
    this.#emit({ type: 'watch-error', error });
  }

  onWatchRestored(): void {
    this.#emit({ type: 'watch-restored' });
  }

  onLockAcquired(): void {
    this.#emit({ type: 'lock-acquired' });
  }

  onLockLost(reason: LockLossReason, error?: RadosError): void {
    this.#emit({ type: 'lock-lost', reason, ...(error && { error }) });
  }

  onFailed(error: RadosError): void {
    this.#emit({ type: 'error', error });
  }
}

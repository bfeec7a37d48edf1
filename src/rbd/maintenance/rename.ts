/** Giving an image another name, at the request of a client that has it open. */

import { RadosError } from '../../base/errors.js';
import { renameImage } from '../directory.js';
import { imageNameOf } from '../open.js';
import type { Operation, RequestOf } from './operation.js';

export const rename: Operation<RequestOf<'rename'>> = {
  name: 'rename',
  route: 'anyone',
  exclusive: true,
  doneErrors: new Set(['EEXIST']),

  async run(image, { name: to }) {
    // Another client may have renamed it since it was opened.
    const current = await imageNameOf(image.ioctx, image.id);
    if (!current || current.inTrash) throw new RadosError('ENOENT', 'the image has no name');
    await renameImage(image.ioctx, current.name, to);
  },
};

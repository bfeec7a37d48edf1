/** Names of the objects that RBD keeps in a pool (`include/rbd_types.h`). */

/** Names and ids of a namespace's images. */
export const RBD_DIRECTORY = 'rbd_directory';
export const RBD_TRASH = 'rbd_trash';
/** The pool's namespaces; in the default namespace only. */
export const RBD_NAMESPACE = 'rbd_namespace';
/** The mark of a pool that was validated for RBD, and pool-wide settings; in the default namespace only. */
export const RBD_INFO = 'rbd_info';
export const RBD_CHILDREN = 'rbd_children';
export const RBD_GROUP_DIRECTORY = 'rbd_group_directory';
export const RBD_MIRRORING = 'rbd_mirroring';
export const RBD_TASK = 'rbd_task';

/** Holds the id of the image with this name. */
export const idObject = (name: string) => `rbd_id.${name}`;
/** Exists for images of format 1, which are recognised and refused. */
export const format1Object = (name: string) => `${name}.rbd`;
export const headerObject = (id: string) => `rbd_header.${id}`;
/** The object map of an image's head, or of one of its snapshots. */
export const objectMapObject = (id: string, snapId?: bigint) =>
  `rbd_object_map.${id}${snapId === undefined ? '' : `.${snapId.toString(16).padStart(16, '0')}`}`;
export const groupHeaderObject = (id: string) => `rbd_group_header.${id}`;

/** An image with a data pool carries its metadata pool's id in the prefix: image ids are unique per pool only. */
export function objectPrefix(id: string, metadataPoolId?: number): string {
  return metadataPoolId === undefined ? `rbd_data.${id}` : `rbd_data.${metadataPoolId}.${id}`;
}

/** Advisory and exclusive locks share one lock name on the header. */
export const RBD_LOCK_NAME = 'rbd_lock';

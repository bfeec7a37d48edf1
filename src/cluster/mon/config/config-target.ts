/**
 * For whom a setting is (`ConfigMap::parse_mask`): all, those of a type, or one; and of them those at a place of the CRUSH
 * map, and of a device class.
 *
 *     global, osd, client.rbd, osd/class:ssd, client/host:foo, host:foo
 */

export const ENTITY_TYPES = ['mon', 'mgr', 'osd', 'mds', 'client'] as const;

export interface ConfigTarget {
  /** `global`, a type, or a type and an id. */
  readonly section: string;
  readonly location: { readonly type: string; readonly name: string } | undefined;
  readonly deviceClass: string | undefined;
}

/** Undefined when nobody can be meant. */
export function parseTarget(who: string): ConfigTarget | undefined {
  let section = 'global';
  let location: ConfigTarget['location'];
  let deviceClass: string | undefined;
  for (const part of who.split('/')) {
    const colon = part.indexOf(':');
    if (colon >= 0) {
      const [type, name] = [part.slice(0, colon), part.slice(colon + 1)];
      if (type === 'class') deviceClass = name;
      else location = { type, name };
    } else if (part === 'global' || isEntity(part)) {
      section = part;
    } else {
      return undefined;
    }
  }
  return { section, location, deviceClass };
}

/** A type, with or without an id. Keys may be set for `auth`, which nobody is. */
export function isEntity(text: string): boolean {
  const type = text.split('.')[0] ?? '';
  return type === 'auth' || (ENTITY_TYPES as readonly string[]).includes(type);
}

export function formatMask({ location, deviceClass }: ConfigTarget): string {
  return [
    ...(location ? [`${location.type}:${location.name}`] : []),
    ...(deviceClass === undefined ? [] : [`class:${deviceClass}`]),
  ].join('/');
}

/** As a key of the database has it. */
export function formatTarget(target: ConfigTarget): string {
  const mask = formatMask(target);
  return mask === '' ? target.section : `${target.section}/${mask}`;
}

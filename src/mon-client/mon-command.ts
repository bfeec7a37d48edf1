/** Monitor commands as text: one JSON object of the command's prefix and its arguments (`common/cmdparse.cc`). */

/**
 * An argument of type CephFloat. Monitors tell numbers apart by how they are written: they refuse `60` where they want
 * a float, and 60.0 is not a number that JavaScript would write so.
 *
 * Known by its field, not by its class: a copy in another thread has only the field.
 */
export class CephFloat {
  readonly cephFloat: number;

  constructor(value: number) {
    this.cephFloat = value;
  }
}

export function encodeMonCommand(command: Readonly<Record<string, unknown>>): string {
  const fields = Object.entries(command)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${JSON.stringify(name)}:${argument(value)}`);
  return `{${fields.join(',')}}`;
}

function argument(value: unknown): string {
  const float = floatOf(value);
  if (float === undefined) return JSON.stringify(value);
  return Number.isInteger(float) ? float.toFixed(1) : String(float);
}

/** Arguments of monitor commands are never objects of another kind. */
function floatOf(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { cephFloat } = value as Partial<CephFloat>;
  return typeof cephFloat === 'number' ? cephFloat : undefined;
}

/** Monitor commands as text: one JSON object of the command's prefix and its arguments (`common/cmdparse.cc`). */

/**
 * An argument of type CephFloat. Monitors tell numbers apart by how they are written: they refuse `60` where they want
 * a float, and 60.0 is not a number that JavaScript would write so.
 */
export class CephFloat {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

export function encodeMonCommand(command: Readonly<Record<string, unknown>>): string {
  const fields = Object.entries(command)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${JSON.stringify(name)}:${argument(value)}`);
  return `{${fields.join(',')}}`;
}

function argument(value: unknown): string {
  if (!(value instanceof CephFloat)) return JSON.stringify(value);
  return Number.isInteger(value.value) ? value.value.toFixed(1) : String(value.value);
}

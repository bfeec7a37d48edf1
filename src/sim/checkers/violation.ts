/** What should hold, and did not. */
export interface Violation {
  readonly checker: string;
  readonly message: string;
  /** The operations that show it, in order. */
  readonly ops?: readonly string[];
}

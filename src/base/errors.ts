/**
 * The one error type of the library, and the errno names that Ceph puts on the wire.
 *
 * Match on `code`, never on the class: two copies of the package may be loaded, and errors cross threads.
 */

/** Linux errno values: the wire carries them negated, whatever the host's own numbers are (`errorcode32_t`). */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  ENOEXEC: 8,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  EDOM: 33,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ENODATA: 61,
  EPROTO: 71,
  EBADMSG: 74,
  EOVERFLOW: 75,
  EILSEQ: 84,
  ERESTART: 85,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOTCONN: 107,
  /** Linux calls 108 ESHUTDOWN; on an OSD reply it means that the client was fenced. */
  EBLOCKLISTED: 108,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  EINPROGRESS: 115,
  ESTALE: 116,
  EUCLEAN: 117,
  EDQUOT: 122,
  ECANCELED: 125,
  EKEYREJECTED: 129,
} as const;

export type ErrnoCode = keyof typeof ERRNO;

const CODE_BY_NUMBER = new Map<number, ErrnoCode>(
  Object.entries(ERRNO).map(([code, number]) => [number, code as ErrnoCode]),
);

/** glibc's `strerror` texts: what the `rbd` command prints after the number. */
const MESSAGES: Partial<Record<ErrnoCode, string>> = {
  EPERM: 'Operation not permitted',
  ENOENT: 'No such file or directory',
  EINTR: 'Interrupted system call',
  EIO: 'Input/output error',
  ENXIO: 'No such device or address',
  E2BIG: 'Argument list too long',
  ENOEXEC: 'Exec format error',
  EBADF: 'Bad file descriptor',
  EAGAIN: 'Resource temporarily unavailable',
  ENOMEM: 'Cannot allocate memory',
  EACCES: 'Permission denied',
  EBUSY: 'Device or resource busy',
  EEXIST: 'File exists',
  EXDEV: 'Invalid cross-device link',
  ENODEV: 'No such device',
  ENOTDIR: 'Not a directory',
  EISDIR: 'Is a directory',
  EINVAL: 'Invalid argument',
  EFBIG: 'File too large',
  ENOSPC: 'No space left on device',
  EROFS: 'Read-only file system',
  EMLINK: 'Too many links',
  EDOM: 'Numerical argument out of domain',
  ERANGE: 'Numerical result out of range',
  ENAMETOOLONG: 'File name too long',
  ENOSYS: 'Function not implemented',
  ENOTEMPTY: 'Directory not empty',
  ENODATA: 'No data available',
  EPROTO: 'Protocol error',
  EBADMSG: 'Bad message',
  EOVERFLOW: 'Value too large for defined data type',
  EILSEQ: 'Invalid or incomplete multibyte or wide character',
  ERESTART: 'Interrupted system call should be restarted',
  EMSGSIZE: 'Message too long',
  EOPNOTSUPP: 'Operation not supported',
  EADDRINUSE: 'Address already in use',
  ECONNABORTED: 'Software caused connection abort',
  ECONNRESET: 'Connection reset by peer',
  ENOTCONN: 'Transport endpoint is not connected',
  EBLOCKLISTED: 'Cannot send after transport endpoint shutdown',
  ETIMEDOUT: 'Connection timed out',
  ECONNREFUSED: 'Connection refused',
  EHOSTUNREACH: 'No route to host',
  EALREADY: 'Operation already in progress',
  EINPROGRESS: 'Operation now in progress',
  ESTALE: 'Stale file handle',
  EUCLEAN: 'Structure needs cleaning',
  EDQUOT: 'Disk quota exceeded',
  ECANCELED: 'Operation canceled',
  EKEYREJECTED: 'Key was rejected by service',
};

/** `-2` or `2` → `'ENOENT'`; a number without a name → `'E<number>'`. */
export function errnoCode(errno: number): string {
  return CODE_BY_NUMBER.get(Math.abs(errno)) ?? `E${Math.abs(errno)}`;
}

/** glibc's text for an errno, as Ceph's commands print it. */
export function strerror(errno: number): string {
  const code = CODE_BY_NUMBER.get(Math.abs(errno));
  return (code && MESSAGES[code]) ?? `Unknown error ${Math.abs(errno)}`;
}

/**
 * Did a failed write happen? `'not-applied'`: certainly not, it may be sent again. `'unknown'`: it may take
 * effect at any later time (until this client is fenced), or never.
 */
export type Outcome = 'not-applied' | 'unknown';

export interface RadosErrorOptions {
  /** What was being done: `'write'`, `'connect'`, `'osd pool create'`. */
  op?: string | undefined;
  /** Which object or daemon: `'osd.3 (v2:10.0.0.7:6803/11)'`, `'rbd/vm1'`. */
  target?: string | undefined;
  /** Whether the same call may succeed later without a change by the caller. */
  retryable?: boolean | undefined;
  outcome?: Outcome | undefined;
  cause?: unknown;
}

/** Every operating error of the library. Programmer errors are `TypeError`, `RangeError` and `AssertionError`. */
export class RadosError extends Error {
  override readonly name: string = 'RadosError';
  /** Stable name, e.g. `'ENOENT'`, `'EBLOCKLISTED'`. */
  readonly code: string;
  /** Negative Linux errno, as Ceph has it. */
  readonly errno: number;
  readonly op: string | undefined;
  readonly target: string | undefined;
  readonly retryable: boolean;
  readonly outcome: Outcome | undefined;

  constructor(code: ErrnoCode | number, message: string, options: RadosErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.errno = -Math.abs(typeof code === 'number' ? code : ERRNO[code]);
    this.code = typeof code === 'number' ? errnoCode(code) : code;
    this.op = options.op;
    this.target = options.target;
    this.retryable = options.retryable ?? false;
    this.outcome = options.outcome;
  }

  /** An error for a negative result that a daemon returned. */
  static fromErrno(errno: number, options: RadosErrorOptions & { detail?: string }): RadosError {
    const where = [options.op, options.target].filter(Boolean).join(' ');
    const detail = options.detail ? `: ${options.detail}` : '';
    return new RadosError(
      errno,
      `${where ? `${where}: ` : ''}(${Math.abs(errno)}) ${strerror(errno)}${detail}`,
      options,
    );
  }
}

/** A peer sent bytes that do not follow the protocol. The session is closed, the process is not. */
export class ProtocolError extends RadosError {
  override readonly name: string = 'ProtocolError';
  /** Byte offset within the frame, message or structure, when known. */
  readonly offset: number | undefined;

  constructor(message: string, options: RadosErrorOptions & { offset?: number | undefined } = {}) {
    super('EPROTO', message, options);
    this.offset = options.offset;
  }
}

export function isRadosError(error: unknown, code?: string): error is RadosError {
  return (
    error instanceof Error &&
    typeof (error as Partial<RadosError>).errno === 'number' &&
    typeof (error as Partial<RadosError>).code === 'string' &&
    (code === undefined || (error as RadosError).code === code)
  );
}

/** Wraps what is not yet a `RadosError` (a Node system error, mostly) with its errno kept. */
export function toRadosError(error: unknown, options: RadosErrorOptions = {}): RadosError {
  if (error instanceof RadosError) return error;
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  const known = code !== undefined && code in ERRNO ? (code as ErrnoCode) : 'EIO';
  const message = error instanceof Error ? error.message : String(error);
  const where = [options.op, options.target].filter(Boolean).join(' ');
  return new RadosError(known, where ? `${where}: ${message}` : message, {
    ...options,
    cause: error,
  });
}

/** The error of an aborted or timed-out call. */
export function abortError(signal: AbortSignal, options: RadosErrorOptions = {}): RadosError {
  const timedOut = (signal.reason as Error | undefined)?.name === 'TimeoutError';
  const where = [options.op, options.target].filter(Boolean).join(' ') || 'operation';
  return timedOut
    ? new RadosError('ETIMEDOUT', `${where}: timed out`, { ...options, cause: signal.reason })
    : new RadosError('ECANCELED', `${where}: aborted`, { ...options, cause: signal.reason });
}

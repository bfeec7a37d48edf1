/**
 * Logging: one pino child per subsystem, under Ceph's names, each with its own level.
 *
 * A library is silent unless asked: the default level is `silent`, and a caller's own pino logger is used as is.
 * Keys and tickets never reach a logger: nothing in the library passes them, and the redaction below is the second lock.
 */

import { createRequire } from 'node:module';
import type * as Pino from 'pino';

/** Ceph's subsystem names (`debug ms`, `debug monc`, ...). */
export const SUBSYSTEMS = [
  'msgr',
  'monc',
  'objecter',
  'rados',
  'rbd',
  'block',
  'osd',
  'mon',
] as const;
export type Subsystem = (typeof SUBSYSTEMS)[number];

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** Plain data, so that it can be handed to a worker thread. */
export interface LogOptions {
  level?: LogLevel;
  /** Levels of single subsystems, over `level`. */
  subsystems?: Partial<Record<Subsystem, LogLevel>>;
}

export type Logger = Pick<Pino.Logger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'>;

/** The loggers of one thread. */
export type Log = Readonly<Record<Subsystem, Logger>>;

const REDACTED = [
  'key',
  'secret',
  'keyring',
  'ticket',
  'sessionKey',
  'connectionSecret',
  'authorizer',
];

const nothing = () => {};
const SILENT: Logger = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
};

/** Builds the subsystem loggers, writing JSON lines to stderr (or to `parent`, when the caller has a logger). */
export function createLog(options: LogOptions = {}, parent?: Pino.Logger): Log {
  let root = parent;
  const loggerOf = (subsystem: Subsystem): Logger => {
    const level = options.subsystems?.[subsystem] ?? options.level ?? 'silent';
    if (level === 'silent') return SILENT;
    root ??= stderrLogger();
    return root.child({ subsystem }, { level });
  };
  return Object.fromEntries(SUBSYSTEMS.map((each) => [each, loggerOf(each)])) as Log;
}

/** Loaded by whoever is not silent: it takes as long to load as half of this library. */
function stderrLogger(): Pino.Logger {
  const { pino } = createRequire(import.meta.url)('pino') as typeof Pino;
  const redact = {
    paths: REDACTED.flatMap((name) => [name, `*.${name}`]),
    censor: '[redacted]',
  };
  return pino({ level: 'trace', redact }, pino.destination({ dest: 2, sync: true }));
}

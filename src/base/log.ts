/**
 * Logging: one pino child per subsystem, under Ceph's names, each with its own level.
 *
 * A library is silent unless asked: the default level is `silent`, and a caller's own pino logger is used as is.
 * Keys and tickets never reach a logger: nothing in the library passes them, and the redaction below is the second lock.
 */

import { type Logger, pino } from 'pino';

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

/** Builds the subsystem loggers, writing JSON lines to stderr (or to `parent`, when the caller has a logger). */
export function createLog(options: LogOptions = {}, parent?: Logger): Log {
  const level = options.level ?? 'silent';
  const root =
    parent ??
    pino(
      {
        level: 'trace',
        redact: { paths: REDACTED.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
      },
      pino.destination({ dest: 2, sync: true }),
    );
  const entries = SUBSYSTEMS.map((subsystem) => [
    subsystem,
    root.child({ subsystem }, { level: options.subsystems?.[subsystem] ?? level }),
  ]);
  return Object.fromEntries(entries) as Log;
}

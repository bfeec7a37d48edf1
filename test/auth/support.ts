/** What the tests of authentication share: an environment with a clock to turn and files in memory, and a handshake. */

import { inspect } from 'node:util';
import type { Environment, Random } from '../../src/base/environment.js';
import { createLog } from '../../src/base/log.js';
import type {
  AuthClient,
  AuthServer,
  AuthServerStep,
  ConnectionKeys,
} from '../../src/auth/method.js';
import { CON_MODE } from '../../src/auth/method.js';
import { NO_DISK } from '../../src/sim/virtual-world.js';

/** xorshift32: the same bytes for the same seed. */
export function seededRandom(seed: number): Random {
  let state = seed | 0 || 1;
  const u32 = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  return {
    bytes: (length) => Uint8Array.from({ length }, () => u32() >>> 24),
    u32,
    float: () => u32() / 2 ** 32,
  };
}

export interface TestEnvironment extends Environment {
  time: number;
  fileContents: Map<string, Uint8Array | string | Error>;
}

export function testEnvironment(seed = 1): TestEnvironment {
  const unused = () => {
    throw new Error('authentication has no business with this');
  };
  const env: TestEnvironment = {
    time: 1_700_000_000_000,
    fileContents: new Map(),
    clock: { now: () => env.time, monotonic: () => env.time },
    timers: { after: unused, nextTurn: unused },
    random: seededRandom(seed),
    network: { connect: unused, listen: unused, lookup: unused },
    files: {
      async readFile(path) {
        const content = env.fileContents.get(path);
        if (content instanceof Error) throw content;
        if (content === undefined) {
          throw Object.assign(new Error(`ENOENT: no such file, open '${path}'`), {
            code: 'ENOENT',
          });
        }
        return typeof content === 'string' ? Buffer.from(content) : content;
      },
      exists: async (path) => env.fileContents.has(path),
      writeFile: unused,
      mkdir: unused,
      remove: unused,
      makeTempDir: unused,
    },
    disk: NO_DISK,
    hostname: 'box7.example.org',
    log: createLog(),
  };
  return env;
}

export type Done = Extract<AuthServerStep, { kind: 'done' }>;
export type Refused = Extract<AuthServerStep, { kind: 'bad-method' }>;
export type Outcome =
  | { client: ConnectionKeys; server: Done; frames: Uint8Array[] }
  | { refused: Refused };

/** Runs one connection's authentication. `tamper` may change what crosses the wire: frames are numbered from 0. */
export function authenticate(
  client: AuthClient,
  server: AuthServer,
  {
    conMode = CON_MODE.CRC as number,
    tamper = (_frame: number, bytes: Uint8Array): Uint8Array => bytes,
  } = {},
): Outcome {
  const frames: Uint8Array[] = [];
  const cross = (bytes: Uint8Array) => {
    const arrived = tamper(frames.length, new Uint8Array(bytes));
    frames.push(arrived);
    return arrived;
  };
  let step = server.onRequest({
    method: client.method,
    conMode,
    payload: cross(client.initialRequest()),
  });
  for (let turn = 0; step.kind === 'more'; turn++) {
    if (turn > 4) throw new Error('the handshake does not end');
    step = server.onRequestMore(cross(client.onReplyMore(cross(step.payload))));
  }
  if (step.kind === 'bad-method') return { refused: step };
  const payload = cross(step.payload);
  return {
    client: client.onDone({ globalId: step.globalId, conMode, payload }),
    server: step,
    frames,
  };
}

/** As `authenticate`, for handshakes that must succeed. */
export function accepted(
  ...args: Parameters<typeof authenticate>
): Exclude<Outcome, { refused: Refused }> {
  const outcome = authenticate(...args);
  if ('refused' in outcome) throw new Error(`refused with ${outcome.refused.result}`);
  return outcome;
}

/** As `authenticate`, for handshakes that must fail politely. */
export function refused(...args: Parameters<typeof authenticate>): Refused {
  const outcome = authenticate(...args);
  if (!('refused' in outcome)) throw new Error('accepted, although it should have been refused');
  return outcome.refused;
}

/** Every text that a value turns into when printed, logged or serialized. */
export function printed(value: unknown): string {
  const views = [
    inspect(value, { depth: 20, showHidden: true, getters: true, maxArrayLength: null }),
    inspect(value, { depth: 20 }),
    String(value),
    `${JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? String(each) : each))}`,
  ];
  if (value instanceof Error) views.push(value.message, value.stack ?? '', printed(value.cause));
  // Arrays are printed in columns.
  return views.join('\n').replace(/\s+/g, ' ');
}

/** The ways in which bytes may show up in a text. */
export function disguises(secret: Uint8Array): string[] {
  const buffer = Buffer.from(secret);
  // The middle of a base64 text depends on where the bytes stand in the whole: three phases.
  const base64 = [0, 1, 2].map((phase) =>
    Buffer.concat([Buffer.alloc(phase), buffer])
      .toString('base64')
      .slice(4, -4),
  );
  return [
    buffer.toString('hex'),
    [...buffer].map((byte) => byte.toString(16).padStart(2, '0')).join(' '),
    [...buffer].join(','),
    [...buffer].join(', '),
    [...buffer].map((byte, i) => `"${i}":${byte}`).join(','),
    buffer.toString('latin1'),
    JSON.stringify(buffer.toString('latin1')).slice(1, -1),
    inspect(buffer.toString('latin1')).slice(1, -1),
    ...base64,
  ].map((text) => text.replace(/\s+/g, ' '));
}

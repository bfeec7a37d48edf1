/**
 * A messenger connection: one stream, its handshake, and then messages both ways.
 *
 *     connecting -> handshaking -> ready -> closed
 *          `-------------`-----------^ any fault: a lossy session ends with its connection
 *
 * What is sent is collected and written once a turn. `onClose` comes exactly once, and nothing after it.
 */

import type { AuthClient } from '../auth/method.js';
import type {
  Environment,
  SocketAddress,
  Stream,
  StreamHandler,
  Timer,
} from '../base/environment.js';
import { isRadosError, ProtocolError, RadosError, toRadosError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { decodeAll, encodeWith } from '../encoding/codec.js';
import { ADDR_TYPE, type EntityAddr } from '../encoding/entity.js';
import { utimeFromMs } from '../encoding/types.js';
import type { Crc32c } from '../kernels/crc32c.js';
import type { IncomingMessage, OutgoingMessage } from '../messages/types.js';
import { keepalive, TAG, tagName } from './control-frames.js';
import { encodeBanner, type MessageHeader } from './frame.js';
import { FrameReader, type FrameSink, type ReceivedMessage } from './frame-reader.js';
import { FrameWriter, type OutgoingFrame } from './frame-writer.js';
import {
  ClientHandshake,
  type ClientHandshakeOptions,
  type HandshakeIo,
  type PeerInfo,
  ServerHandshake,
  type ServerHandshakeOptions,
} from './handshake.js';
import { onwireCrypto } from './onwire-crypto.js';
import type { WindowPool } from './window-pool.js';

export type { PeerInfo } from './handshake.js';

export interface ConnectionHandler {
  /** The session is established: `connection.peer` is known. */
  onReady(connection: Connection): void;
  onMessage(connection: Connection, message: IncomingMessage): void;
  /** Always exactly once; nothing after. */
  onClose(connection: Connection, error: Error | undefined): void;
  /** Where the data of an arriving message should go; by default into a buffer of its own. */
  placeData?(
    message: { type: number; tid: number },
    front: Uint8Array,
    length: number,
  ): Uint8Array | undefined;
  /** A KEEPALIVE2_ACK came. */
  onKeepaliveAck?(connection: Connection): void;
}

/** What connections share in one thread. */
export interface MessengerContext {
  env: Environment;
  crc32c: Crc32c;
  windows: WindowPool;
}

export interface ConnectOptions extends MessengerContext {
  /** For messages: `osd.3`, `mon.a`. */
  name: string;
  target: EntityAddr;
  expectedType: number;
  auth: readonly (() => AuthClient)[];
  modes: readonly number[];
  gid: () => bigint;
  nonce: number;
  globalSeq: bigint;
  /** How long connecting and authenticating may take. */
  timeoutMs: number;
  handler: ConnectionHandler;
}

export interface AcceptOptions extends MessengerContext {
  name: string;
  handshake: Omit<ServerHandshakeOptions, 'peerAddr'>;
  timeoutMs: number;
}

const KEEPALIVE_ACK_DELAY_MS = 3;

let lastConnectionId = 0;

export class Connection {
  readonly id = ++lastConnectionId;
  readonly name: string;
  readonly #context: MessengerContext;
  readonly #log: Logger;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #window: Uint8Array;
  #handler!: ConnectionHandler;
  #handshake!: ClientHandshake | ServerHandshake;
  #stream: Stream | undefined;
  #peer: PeerInfo | undefined;
  #deadline: Timer | undefined;
  /** What was sent before the session was established. */
  #early: OutgoingFrame[] = [];
  #flush: Timer | undefined;
  #sent: Uint8Array[] | undefined = [];
  #place: Uint8Array | undefined;
  #lastSeq = 0;
  #closed = false;
  #error: Error | undefined;

  private constructor(context: MessengerContext, name: string, timeoutMs: number) {
    this.#context = context;
    this.name = name;
    this.#log = context.env.log.msgr;
    this.#window = context.windows.acquire();
    this.#writer = new FrameWriter(context.crc32c);
    this.#reader = new FrameReader({
      crc32c: context.crc32c,
      window: this.#window,
      sink: this.#sink(),
    });
    this.#deadline = context.env.timers.after(timeoutMs, () => {
      this.close(
        new RadosError('ETIMEDOUT', `${name} did not complete the handshake in ${timeoutMs} ms`, {
          target: name,
          retryable: true,
        }),
      );
    });
  }

  /** Dials a daemon. The handler hears of success or failure, never from within this call. */
  static connect(options: ConnectOptions): Connection {
    const connection = new Connection(options, options.name, options.timeoutMs);
    connection.#handler = options.handler;
    const handshake: ClientHandshakeOptions = options;
    connection.#handshake = new ClientHandshake(connection.#io(), handshake);
    connection.#stream = options.env.network.connect(
      { host: options.target.host, port: options.target.port },
      connection.#streamHandler(),
      () => connection.#write([encodeBanner()]),
    );
    return connection;
  }

  /** Takes over an accepted stream. */
  static accept(
    stream: Stream,
    options: AcceptOptions,
    accept: (connection: Connection) => ConnectionHandler,
  ): { connection: Connection; streamHandler: StreamHandler } {
    const connection = new Connection(options, options.name, options.timeoutMs);
    const { host, port } = stream.remoteAddress;
    const peerAddr = { type: ADDR_TYPE.MSGR2, nonce: 0, host, port };
    connection.#handshake = new ServerHandshake(connection.#io(), {
      ...options.handshake,
      peerAddr,
    });
    connection.#stream = stream;
    connection.#handler = accept(connection);
    connection.#write([encodeBanner()]);
    return { connection, streamHandler: connection.#streamHandler() };
  }

  get ready(): boolean {
    return this.#peer !== undefined && !this.#closed;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get peer(): PeerInfo {
    if (!this.#peer) throw new Error(`connection to ${this.name} is not established`);
    return this.#peer;
  }

  /** The other end of the stream, which for a client is another address than the one it goes by. */
  get remoteAddress(): SocketAddress | undefined {
    return this.#stream?.remoteAddress;
  }

  /** Bytes accepted and not yet handed to the kernel. */
  get pendingBytes(): number {
    return this.#stream?.pendingBytes ?? 0;
  }

  /**
   * Sends a message: in order, at the end of this turn, or when the session is established. Dropped when closed. Throws
   * what encoding a lazy front throws, in an established session.
   */
  send(message: OutgoingMessage): void {
    this.#enqueue({ kind: 'message', message });
  }

  /** Asks the peer for a sign of life: it answers with a KEEPALIVE2_ACK. */
  sendKeepalive(): void {
    const stamp = utimeFromMs(this.#context.env.clock.now());
    this.#enqueue({
      kind: 'control',
      tag: TAG.KEEPALIVE2,
      payload: encodeWith(keepalive, { stamp }),
    });
  }

  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#stream?.resume();
  }

  /** Ends the connection at once. Without an error the handler's `onClose` has none either. */
  close(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    this.#deadline?.cancel();
    this.#flush?.cancel();
    this.#reader.stop();
    this.#early = [];
    if (error) this.#log.debug({ peer: this.name, err: error }, 'connection closed');
    this.#stream?.destroy();
  }

  // ---- sending ----

  #enqueue(frame: OutgoingFrame): void {
    if (this.#closed) return;
    if (!this.#peer) {
      this.#early.push(frame);
      return;
    }
    this.#writer.append(frame);
    this.#flush ??= this.#context.env.timers.nextTurn(() => this.flush());
  }

  /** Writes what was collected, without waiting for the end of the turn. */
  flush(): void {
    this.#flush?.cancel();
    this.#flush = undefined;
    if (this.#closed || !this.#peer) return;
    const buffers = this.#writer.take();
    if (buffers.length > 0) this.#stream?.write(buffers);
    if (this.pendingBytes === 0) this.#writer.recycle();
  }

  /** During the handshake frames go out as they come, and are kept for the signature. */
  #write(buffers: Uint8Array[]): void {
    if (this.#closed) return;
    this.#sent?.push(...buffers);
    this.#stream?.write(buffers);
  }

  #io(): HandshakeIo {
    return {
      sendControl: (tag, payload) =>
        this.#write(this.#writer.assemble([{ kind: 'control', tag, payload }])),
      takeReceived: () => this.#reader.takeTranscript(),
      takeSent: () => {
        const sent = Buffer.concat(this.#sent ?? []);
        this.#sent = undefined;
        return sent;
      },
      enableSecureMode: (secret) => {
        const role = this.#handshake instanceof ClientHandshake ? 'client' : 'server';
        const { tx, rx } = onwireCrypto(secret, role);
        this.#writer.enableSecureMode(tx);
        this.#reader.enableSecureMode(rx);
      },
      onReady: (peer) => {
        this.#deadline?.cancel();
        this.#peer = peer;
        this.#reader.allowMessages();
        this.#log.debug({ peer: this.name, secure: peer.secure }, 'session established');
        const early = this.#early;
        this.#early = [];
        for (const frame of early) this.#enqueue(frame);
        this.flush();
        this.#handler.onReady(this);
      },
    };
  }

  // ---- receiving ----

  #streamHandler(): StreamHandler {
    return {
      readInto: () => {
        this.#place = this.#reader.readInto();
        return this.#place;
      },
      onRead: (length) => this.#onRead(length),
      onDrain: () => {},
      onClose: (error) => this.#onStreamClose(error),
    };
  }

  #onRead(length: number): void {
    if (this.#closed || !this.#place) return;
    try {
      this.#reader.onRead(length, this.#place);
    } catch (error) {
      this.#fault(error);
    }
  }

  #fault(error: unknown): void {
    // Anything thrown here was caused by what the peer sent, or is a bug that must not take the thread down.
    const wrapped = isRadosError(error) ? error : toRadosError(error, { op: 'receive' });
    const message = `${this.name}: ${wrapped.message}`;
    const options = { target: this.name, retryable: wrapped.retryable, cause: error };
    this.close(
      wrapped.code === 'EPROTO'
        ? new ProtocolError(message, options)
        : new RadosError(wrapped.errno, message, options),
    );
  }

  #onStreamClose(error?: Error): void {
    const wasOpen = !this.#closed;
    this.close();
    this.#context.windows.release(this.#window);
    this.#place = undefined;
    if (wasOpen) this.#error = this.#lossReason(error);
    this.#handler.onClose(this, this.#error);
  }

  #lossReason(error: Error | undefined): Error {
    const phase = this.#peer ? 'in session' : `during handshake (${this.#handshake.phaseName})`;
    if (error) return toRadosError(error, { target: this.name, retryable: true });
    return new RadosError('ECONNRESET', `${this.name} closed the connection ${phase}`, {
      target: this.name,
      retryable: true,
    });
  }

  #sink(): FrameSink {
    return {
      onBanner: () => this.#handshake.onBanner(),
      onControl: (tag, payload) => this.#onControl(tag, payload),
      onMessage: (message) => this.#onMessage(message),
      placeData: (header: MessageHeader, front, length) =>
        this.#peer ? this.#handler.placeData?.(header, front, length) : undefined,
    };
  }

  #onControl(tag: number, payload: Uint8Array): void {
    if (!this.#peer) {
      this.#handshake.onControl(tag, payload);
      return;
    }
    switch (tag) {
      case TAG.KEEPALIVE2:
        this.#answerKeepalive(payload);
        return;
      case TAG.KEEPALIVE2_ACK:
        this.#handler.onKeepaliveAck?.(this);
        return;
      case TAG.ACK:
        // Only lossless sessions keep sent messages to be acknowledged.
        return;
      default:
        throw new ProtocolError(`${tagName(tag)} frame in an established session`);
    }
  }

  /**
   * The stamp goes back as it came, but not at once: librados 16.2 takes the age of an answer that overtakes its own
   * clock reading for a century, and drops the session.
   */
  #answerKeepalive(payload: Uint8Array): void {
    decodeAll('KEEPALIVE2', keepalive, payload);
    // A copy: the payload is a view of the window.
    const answer = Uint8Array.from(payload);
    this.#context.env.timers.after(
      KEEPALIVE_ACK_DELAY_MS,
      () => this.#enqueue({ kind: 'control', tag: TAG.KEEPALIVE2_ACK, payload: answer }),
      { background: true },
    );
  }

  #onMessage({ header, front, middle, data, dataCrc }: ReceivedMessage): void {
    if (header.seq <= this.#lastSeq) return;
    this.#lastSeq = header.seq;
    this.#writer.ackSeq = header.seq;
    this.#handler.onMessage(this, {
      type: header.type,
      version: header.version,
      tid: header.tid,
      priority: header.priority,
      front,
      middle,
      data,
      dataCrc,
    });
  }
}

import { describe, expect, it } from 'vitest';
import { AUTH_METHOD, CON_MODE } from '../../src/auth/method.js';
import { NoneClient, NoneServer } from '../../src/auth/none.js';
import { ENTITY_TYPE, parseAuthEntity } from '../../src/encoding/entity.js';
import { accepted, authenticate, refused } from './support.js';

const entity = parseAuthEntity('client.admin');
const noKeys = { sessionKey: new Uint8Array(0), connectionSecret: new Uint8Array(0) };
const violation = expect.objectContaining({ code: 'EPROTO' });

function monitor() {
  let next = 7n;
  return () => NoneServer.mon(() => next++);
}

describe('auth none', () => {
  it('gives a new client an id at the monitor, and believes it everywhere', () => {
    const mon = monitor();
    const client = new NoneClient({ entity });
    const done = accepted(client.monAuth(), mon());
    expect(done.client).toEqual(noKeys);
    expect(done.server).toEqual({
      kind: 'done',
      globalId: 7n,
      payload: new Uint8Array(0),
      entity,
      caps: 'allow *',
      ...noKeys,
    });
    expect(client.globalId).toBe(7n);
    const osd = accepted(client.serviceAuth(ENTITY_TYPE.OSD), NoneServer.service());
    expect(osd.server.globalId).toBe(7n);
    expect(accepted(client.monAuth(), mon()).server.globalId).toBe(7n);
    expect(accepted(new NoneClient({ entity }).monAuth(), mon()).server.globalId).toBe(8n);
  });

  it('sends the bytes that librados does', () => {
    const client = new NoneClient({ entity });
    const request =
      '0a0800000005000000' + Buffer.from('admin').toString('hex') + '0000000000000000';
    expect(Buffer.from(client.monAuth().initialRequest()).toString('hex')).toBe(request);
    expect(client.serviceAuth(ENTITY_TYPE.OSD).initialRequest()[0]).toBe(1);
  });

  it('has no tickets to run out', () => {
    const client = new NoneClient({ entity });
    expect(client.hasTicket(ENTITY_TYPE.OSD)).toBe(true);
    client.dropTicket(ENTITY_TYPE.OSD);
    expect(client.renewalDue(Infinity)).toBe(false);
    expect(client.nextRenewal()).toBeUndefined();
    expect(() => client.onRenewalReply(0, new Uint8Array(0))).toThrow(violation);
  });

  it('refuses other methods and secure mode, for which there is no key', () => {
    const server = NoneServer.service();
    const bad = { kind: 'bad-method', result: -95, allowedMethods: [AUTH_METHOD.NONE] };
    expect(
      server.onRequest({ method: 2, conMode: CON_MODE.CRC, payload: new Uint8Array(1) }),
    ).toEqual(bad);
    const client = new NoneClient({ entity });
    expect(refused(client.serviceAuth(4), server, { conMode: CON_MODE.SECURE })).toEqual(bad);
    expect(() =>
      client.monAuth().onDone({ globalId: 1n, conMode: 2, payload: new Uint8Array(0) }),
    ).toThrow(violation);
  });

  it('refuses a request to a monitor at a daemon, and cut or damaged ones, without crashing', () => {
    const client = new NoneClient({ entity });
    expect(refused(client.monAuth(), NoneServer.service())).toMatchObject({ result: -13 });
    const { length } = client.monAuth().initialRequest();
    for (let at = 0; at < length; at++) {
      const cut = (_frame: number, bytes: Uint8Array) => bytes.subarray(0, at);
      expect(refused(client.monAuth(), monitor()(), { tamper: cut })).toMatchObject({
        result: -13,
      });
      const change = (_frame: number, bytes: Uint8Array) =>
        bytes.map((byte, i) => (i === at ? byte ^ 0x55 : byte));
      expect(() =>
        authenticate(client.serviceAuth(4), NoneServer.service(), { tamper: change }),
      ).not.toThrow();
    }
  });

  it('takes frames out of order for violations of the protocol', () => {
    const client = new NoneClient({ entity });
    const mon = monitor()();
    expect(() => mon.onRequestMore(new Uint8Array(0))).toThrow(violation);
    accepted(client.monAuth(), mon);
    const request = { method: 1, conMode: 1, payload: client.monAuth().initialRequest() };
    expect(() => mon.onRequest(request)).toThrow(violation);
    expect(() => client.monAuth().onReplyMore(new Uint8Array(0))).toThrow(violation);
    for (const globalId of [0n, 99n]) {
      expect(() =>
        client.monAuth().onDone({ globalId, conMode: 1, payload: new Uint8Array(0) }),
      ).toThrow(violation);
    }
  });
});

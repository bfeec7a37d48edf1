"""The peer of test/ceph/watch.test.ts: watches and notifies by librados, told what to do line by line on stdin.

    watch POOL OID            -> {"watch": cookie}, then {"notify": payload, "id": id} as they come
    notify POOL OID MS TEXT   -> {"replies": [[gid, cookie, text]...], "missed": [[gid, cookie]...], "errno": n}
    remove POOL OID           -> {"removed": true}
"""
import ctypes
import json
import struct
import sys

import rados


def say(**what):
    print(json.dumps(what), flush=True)


cluster = rados.Rados(conffile=sys.argv[1])
cluster.connect()
contexts = {}
watches = []


def ioctx(pool):
    if pool not in contexts:
        contexts[pool] = cluster.open_ioctx(pool)
    return contexts[pool]


def on_notify(notify_id, notifier_id, watch_id, data):
    text = data.decode() if data else ""
    say(notify=text, id=notify_id, notifier=notifier_id)
    return "re:" + text


def on_error(watch_id, error):
    say(error=error)


def parse(buf):
    """map<(u64 gid, u64 cookie), bufferlist>, then list<(u64, u64)>."""
    at = 0
    (count,) = struct.unpack_from("<I", buf, at)
    at += 4
    replies = []
    for _ in range(count):
        gid, cookie, length = struct.unpack_from("<QQI", buf, at)
        at += 20
        replies.append([gid, str(cookie), buf[at:at + length].decode()])
        at += length
    (count,) = struct.unpack_from("<I", buf, at)
    at += 4
    missed = []
    for _ in range(count):
        gid, cookie = struct.unpack_from("<QQ", buf, at)
        at += 16
        missed.append([gid, str(cookie)])
    return replies, missed


librados = ctypes.CDLL("librados.so.2")


def c_notify(pool, oid, timeout_ms, payload):
    """The Python binding of 16.2 drops the answers: straight to rados_notify2."""
    handle = ctypes.c_void_p()
    context = ctypes.c_void_p()
    librados.rados_create(ctypes.byref(handle), b"admin")
    librados.rados_conf_read_file(handle, sys.argv[1].encode())
    check(librados.rados_connect(handle))
    check(librados.rados_ioctx_create(handle, pool.encode(), ctypes.byref(context)))
    reply = ctypes.c_char_p()
    length = ctypes.c_size_t()
    pointer = ctypes.POINTER(ctypes.c_char)()
    librados.rados_notify2.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint64,
        ctypes.POINTER(ctypes.POINTER(ctypes.c_char)), ctypes.POINTER(ctypes.c_size_t)]
    errno = librados.rados_notify2(context, oid.encode(), payload, len(payload), timeout_ms,
                                   ctypes.byref(pointer), ctypes.byref(length))
    buf = bytes(pointer[:length.value]) if length.value else b"\0" * 8
    librados.rados_ioctx_destroy(context)
    librados.rados_shutdown(handle)
    return errno, parse(buf)


def check(code):
    if code < 0:
        raise OSError(-code, "librados")


for line in sys.stdin:
    command, *args = line.rstrip("\n").split(" ")
    try:
        if command == "watch":
            pool, oid = args
            watch = ioctx(pool).watch(oid, on_notify, on_error)
            watches.append(watch)
            say(watch=str(watch.get_id()))
        elif command == "notify":
            pool, oid, ms, payload = args
            errno, (replies, missed) = c_notify(pool, oid, int(ms), payload.encode())
            say(replies=replies, missed=missed, errno=errno)
        elif command == "remove":
            pool, oid = args
            ioctx(pool).remove_object(oid)
            say(removed=True)
    except Exception as error:  # what the test needs to see
        say(failed=repr(error))

"""What users may do, by their caps: every operation as every user. Usage: caps-calls.py CEPH_CONF.

A line of JSON per user and operation: [mon caps, osd caps, operation, errno]; 0 is success.
"""

import json
import struct
import sys

import rados

conf = sys.argv[1]
# Refusals of an operation that misses its object tell nothing: these are there.
OBJECTS = ["o", "rbd_info", "rbd_header.x", "rbd_data.x", "rbd_children", "rbd_directory"]

MON = "allow r"
USERS = [
    ("allow r", "allow *"),
    ("allow r", "allow r"),
    ("allow r", "allow w"),
    ("allow r", "allow x"),
    ("allow r", "allow rw"),
    ("allow r", "allow rwx"),
    ("allow r", "allow class-read"),
    ("allow r", "allow class-write"),
    ("allow r", "allow r class-write"),
    ("allow r", "allow rwx pool=rbd"),
    ("allow r", "allow rwx pool rbd"),
    ("allow r", "allow rwx pool=other"),
    ("allow r", "allow rwx pool=rb*"),
    ("allow r", "allow r, allow w pool=rbd"),
    ("allow r", "allow r; allow rwx pool=rbd namespace=ns"),
    ("allow r", "allow rwx namespace=ns"),
    ("allow r", "allow rwx namespace=n*"),
    ("allow r", "allow rwx namespace=''"),
    ("allow r", "allow rw object_prefix rbd_data"),
    ("allow r", "allow rwx pool=rbd object_prefix rbd_"),
    ("allow r", "allow rwx tag rbd *=*"),
    ("allow r", "allow rwx tag rbd key=value"),
    ("allow r", "allow rwx tag rbd key=other"),
    ("allow r", "allow rwx tag cephfs *=*"),
    ("allow r", "allow class lock"),
    ("allow r", "allow class rbd get_size"),
    ("allow r", "allow class rbd get_size, allow r"),
    ("allow r", "allow class rbd class-read"),
    ("allow r", "profile rbd"),
    ("profile rbd", "profile rbd"),
    ("profile rbd", "profile rbd pool=rbd"),
    ("profile rbd", "profile rbd pool=rbd namespace=ns"),
    ("profile rbd", "profile rbd pool=other, profile rbd-read-only pool=rbd"),
    ("profile rbd-read-only", "profile rbd-read-only"),
    ("profile rbd", "allow profile rbd pool=rbd"),
    ("allow r", "profile osd"),
    ("allow r", "profile nonsense"),
    ("allow rw", "allow r"),
    ("allow *", "allow r"),
    ("allow rx", "allow r"),
    ("allow service osd r, allow service mon r", "allow r"),
    ("allow r, allow command \"osd blocklist\" with blocklistop=add", "allow r"),
    ("allow r, allow command \"osd pool create\"", "allow r"),
    ("allow r, allow command \"auth get\" with entity prefix client.", "allow r"),
    ("allow r, allow command \"osd set\" with key regex \"^no.*\"", "allow r"),
    ("profile simple-rados-client", "allow r"),
    ("allow r network 127.0.0.0/8, allow * network 10.0.0.0/8", "allow r"),
    ("allow r", "allow rwx network 10.0.0.0/8"),
    ("allow r", "allow rwx network 127.0.0.0/8"),
]


def errno_of(run):
    try:
        run()
        return 0
    except Exception as error:
        return getattr(error, "errno", None) or type(error).__name__


def operations(cluster, io):
    def command(**cmd):
        r, _, _ = cluster.mon_command(json.dumps(cmd), b"", timeout=20)
        if r:
            raise rados.Error("refused", errno=-r)

    def omap(oid):
        with rados.WriteOpCtx() as op:
            io.set_omap(op, ("k",), (b"v",))
            io.operate_write_op(op, oid)

    def within(nspace, run):
        io.set_namespace(nspace)
        try:
            run()
        finally:
            io.set_namespace("")

    string = lambda text: struct.pack("<I", len(text)) + text
    return {
        "read": lambda: io.read("o"),
        "stat": lambda: io.stat("o"),
        "write": lambda: io.write_full("o", b"x"),
        "remove none": lambda: io.remove_object("none"),
        "xattr": lambda: io.set_xattr("o", "a", b"1"),
        "get xattr": lambda: io.get_xattr("o", "a"),
        "omap": lambda: omap("o"),
        "list": lambda: [1 for _ in io.list_objects()],
        "watch": lambda: io.watch("o", lambda *args: None).close(),
        "notify": lambda: io.notify("o", "x", 500),
        "read in ns": lambda: within("ns", lambda: io.read("o")),
        "write in ns": lambda: within("ns", lambda: io.write_full("o", b"x")),
        "list ns": lambda: within("ns", lambda: [1 for _ in io.list_objects()]),
        "read rbd_data": lambda: io.read("rbd_data.x"),
        "write rbd_data": lambda: io.write_full("rbd_data.x", b"x"),
        "read rbd_info": lambda: io.read("rbd_info"),
        "write rbd_info": lambda: io.write_full("rbd_info", b"x"),
        "read rbd_children": lambda: io.read("rbd_children"),
        "class that reads": lambda: io.execute("rbd_header.x", "rbd", "get_size", b"\xfe" + b"\xff" * 7),
        "class that reads, elsewhere": lambda: io.execute("o", "lock", "get_info", b"\1\1" + struct.pack("<I", 5) + string(b"l")),
        "class that writes": lambda: io.execute("rbd_directory", "rbd", "dir_add_image", string(b"n") + string(b"i")),
        "class that writes, elsewhere": lambda: io.lock_exclusive("o", "l", "c"),
        "children by class": lambda: io.execute("rbd_children", "rbd", "get_children", b"\0" * 8 + string(b"i") + b"\0" * 8),
        "metadata of rbd_info": lambda: io.execute("rbd_info", "rbd", "metadata_list", string(b"") + b"\0" * 8),
        "no such class": lambda: io.execute("o", "nope", "nope", b""),
        "snapshot id": lambda: io.create_self_managed_snap(),
        "pool snapshot": lambda: io.create_snap("s"),
        "mon: status": lambda: command(prefix="status"),
        "mon: osd dump": lambda: command(prefix="osd dump"),
        "mon: df": lambda: command(prefix="df"),
        "mon: blocklist add": lambda: command(prefix="osd blocklist", blocklistop="add", addr="10.1.1.1:0/77"),
        "mon: blocklist a host": lambda: command(prefix="osd blocklist", blocklistop="add", addr="10.1.1.1"),
        "mon: blocklist rm": lambda: command(prefix="osd blocklist", blocklistop="rm", addr="10.1.1.1:0/77"),
        "mon: blocklist ls": lambda: command(prefix="osd blocklist ls"),
        "mon: pool create": lambda: command(prefix="osd pool create", pool="other"),
        "mon: pool set": lambda: command(prefix="osd pool set", pool="other", var="min_size", val="1"),
        "mon: osd set": lambda: command(prefix="osd set", key="noout"),
        "mon: osd unset": lambda: command(prefix="osd unset", key="noout"),
        "mon: auth get": lambda: command(prefix="auth get", entity="client.admin"),
        "mon: auth get mon.": lambda: command(prefix="auth ls"),
        "mon: auth rm": lambda: command(prefix="auth rm", entity="client.nobody"),
        "mon: auth caps": lambda: command(prefix="auth get-or-create", entity="client.made"),
        "mon: config get": lambda: command(prefix="config get", who="client.x"),
        "mon: config-key ls": lambda: command(prefix="config-key ls"),
        "mon: app": lambda: command(prefix="osd pool application get", pool="rbd"),
    }


with rados.Rados(conffile=conf, name="client.admin") as admin:
    admin.mon_command(json.dumps({"prefix": "osd pool application set", "pool": "rbd", "app": "rbd", "key": "key", "value": "value"}), b"")
    admin.mon_command(json.dumps({"prefix": "osd pool create", "pool": "other", "pg_num": 8}), b"")
    with admin.open_ioctx("rbd") as io:
        for nspace in ("", "ns"):
            io.set_namespace(nspace)
            for name in OBJECTS:
                io.write_full(name, b"x")
            io.set_xattr("o", "a", b"1")
    for i, (mon, osd) in enumerate(USERS):
        name = "client.user%d" % i
        request = {"prefix": "auth get-or-create-key", "entity": name, "caps": ["mon", mon, "osd", osd]}
        r, key, said = admin.mon_command(json.dumps(request), b"")
        print(json.dumps([mon, osd, "created", -r]), flush=True)
        if r:
            continue
        options = {"key": key.decode().strip(), "rados_osd_op_timeout": "10", "rados_mon_op_timeout": "10", "client_mount_timeout": "5"}
        try:
            with rados.Rados(conffile=conf, name=name, conf=options) as cluster, cluster.open_ioctx("rbd") as io:
                for what, run in operations(cluster, io).items():
                    print(json.dumps([mon, osd, what, errno_of(run)]), flush=True)
        except rados.Error as error:
            print(json.dumps([mon, osd, "connected", error.errno]), flush=True)

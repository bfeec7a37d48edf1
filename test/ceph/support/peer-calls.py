"""Calls of librados and librbd, one after the other in one process: a line of JSON each, with what it gave or how it failed.

Usage: peer-calls.py CEPH_CONF. Every line is [name, outcome]; ids, times and addresses are masked by the reader.
"""

import json
import sys

import rados
import rbd

POOL = "rbd"
MIB = 1 << 20
results = []


def show(value):
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, dict):
        return {str(k): show(v) for k, v in sorted(value.items())}
    if isinstance(value, (list, tuple, set)):
        return [show(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def call(name, run):
    try:
        outcome = show(run())
    except Exception as error:  # what the libraries raise is what is compared
        outcome = {"error": type(error).__name__, "errno": getattr(error, "errno", None)}
    print(json.dumps([name, outcome]), flush=True)
    return outcome


cluster = rados.Rados(conffile=sys.argv[1], name="client.admin")
cluster.connect(timeout=30)


def rados_calls(io):
    call("pools", lambda: "rbd" in cluster.list_pools())
    call("pool by name", lambda: cluster.pool_exists("rbd"))
    call("no such pool", lambda: cluster.pool_lookup("nothing"))
    call("open no such pool", lambda: cluster.open_ioctx("nothing"))
    call("reverse lookup", lambda: cluster.pool_reverse_lookup(io.get_pool_id()))
    call("cluster stat keys", lambda: sorted(cluster.get_cluster_stats()))
    call("pool stat keys", lambda: sorted(io.get_stats()))
    # Objects.
    call("stat of none", lambda: io.stat("o"))
    call("read of none", lambda: io.read("o"))
    call("remove of none", lambda: io.remove_object("o"))
    call("write full", lambda: io.write_full("o", b"0123456789"))
    call("read", lambda: io.read("o"))
    call("read past the end", lambda: io.read("o", 100, 20))
    call("read across the end", lambda: io.read("o", 100, 8))
    call("write", lambda: io.write("o", b"abc", 8))
    call("write with a hole", lambda: io.write("o", b"xyz", 20))
    call("read the hole", lambda: io.read("o"))
    call("append", lambda: io.append("o", b"tail"))
    call("size", lambda: io.stat("o")[0])
    call("truncate", lambda: io.trunc("o", 5))
    call("read what is left", lambda: io.read("o"))
    call("truncate to more", lambda: io.trunc("o", 9))
    call("read what was added", lambda: io.read("o"))
    call("writesame", lambda: io.writesame("o", b"ab", 8, 0))
    call("read the same", lambda: io.read("o"))
    call("writesame of a part", lambda: io.writesame("o", b"abc", 8, 0))
    call("cmpext equal", lambda: io.cmpext("o", b"abab", 0))
    call("write too much", lambda: io.write("o", b"x", 1 << 40))
    call("write full of nothing", lambda: io.write_full("empty", b""))
    call("read of nothing", lambda: io.read("empty"))
    call("long name", lambda: io.write_full("n" * 3000, b""))
    call("name with odd characters", lambda: io.write_full("ä/\n \u2603", b"snow"))
    call("read of the odd name", lambda: io.read("ä/\n \u2603"))
    # xattrs.
    call("xattr of none", lambda: io.get_xattr("o", "a"))
    call("set xattr", lambda: io.set_xattr("o", "a", b"1\0\xff"))
    call("get xattr", lambda: io.get_xattr("o", "a"))
    call("set empty xattr", lambda: io.set_xattr("o", "e", b""))
    call("list xattrs", lambda: sorted(io.get_xattrs("o")))
    call("rm xattr", lambda: io.rm_xattr("o", "a"))
    call("rm no xattr", lambda: io.rm_xattr("o", "a"))
    call("xattr of no object", lambda: io.get_xattr("none", "a"))
    call("xattr makes an object", lambda: io.set_xattr("made", "a", b"1"))
    call("its size", lambda: io.stat("made")[0])
    # omap.
    with rados.WriteOpCtx() as op:
        io.set_omap(op, ("k1", "k2", "k3", "other"), (b"v1", b"v2", b"", b"\0"))
        call("omap set", lambda: io.operate_write_op(op, "omap"))

    def omap(fetch):
        with rados.ReadOpCtx() as op:
            iterator, _ = fetch(op)
            io.operate_read_op(op, "omap")
            return [(k, v) for k, v in iterator]

    call("omap all", lambda: omap(lambda op: io.get_omap_vals(op, "", "", 100)))
    call("omap after", lambda: omap(lambda op: io.get_omap_vals(op, "k1", "", 100)))
    call("omap prefix", lambda: omap(lambda op: io.get_omap_vals(op, "", "k", 100)))
    call("omap at most", lambda: omap(lambda op: io.get_omap_vals(op, "", "", 2)))
    call("omap keys", lambda: omap(lambda op: io.get_omap_keys(op, "", 100)))
    call("omap by keys", lambda: omap(lambda op: io.get_omap_vals_by_keys(op, ("k1", "nope"))))
    with rados.WriteOpCtx() as op:
        io.remove_omap_keys(op, ("k1", "nope"))
        call("omap rm", lambda: io.operate_write_op(op, "omap"))
    with rados.WriteOpCtx() as op:
        io.clear_omap(op)
        call("omap clear", lambda: io.operate_write_op(op, "omap"))
    call("omap empty", lambda: omap(lambda op: io.get_omap_vals(op, "", "", 100)))
    # Operations of several steps: all or nothing.
    with rados.WriteOpCtx() as op:
        op.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
        op.write_full(b"first")
        call("create exclusively", lambda: io.operate_write_op(op, "once"))
    with rados.WriteOpCtx() as op:
        op.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
        op.write_full(b"second")
        call("create again", lambda: io.operate_write_op(op, "once"))
    call("still the first", lambda: io.read("once"))
    with rados.WriteOpCtx() as op:
        op.append(b"+")
        op.truncate(4)
        call("append, truncate", lambda: io.operate_write_op(op, "once"))
    call("what they left", lambda: io.read("once"))
    with rados.WriteOpCtx() as op:
        op.remove()
        op.write_full(b"new")
        call("remove and write", lambda: io.operate_write_op(op, "once"))
    call("what is new", lambda: io.read("once"))
    with rados.WriteOpCtx() as op:
        op.execute("lock", "nope", b"")
        call("no such method", lambda: io.operate_write_op(op, "once"))
    # Calls.
    call("no such class", lambda: io.execute("o", "nope", "nope", b""))
    call("bad input", lambda: io.execute("o", "lock", "lock", b"\1"))
    call("rbd call on no image", lambda: io.execute("o", "rbd", "get_size", b"\xfe" + b"\xff" * 7))
    call("dir_list of none", lambda: io.execute("nodir", "rbd", "dir_list", b"\0" * 12))
    # Locks.
    call("lock", lambda: io.lock_exclusive("l", "name", "cookie", "why", 300, 0))
    call("lock again", lambda: io.lock_exclusive("l", "name", "cookie", "why", 300, 0))
    call("lock by another cookie", lambda: io.lock_exclusive("l", "name", "other"))
    call("lock shared", lambda: io.lock_shared("l", "name", "other", "tag"))
    call("unlock by another", lambda: io.unlock("l", "name", "other"))
    call("unlock", lambda: io.unlock("l", "name", "cookie"))
    call("unlock again", lambda: io.unlock("l", "name", "cookie"))
    call("shared", lambda: io.lock_shared("l", "name", "c1", "tag"))
    call("shared by another cookie", lambda: io.lock_shared("l", "name", "c2", "tag"))
    call("shared by another tag", lambda: io.lock_shared("l", "name", "c3", "tug"))
    # Watches.
    heard = []
    watch = io.watch("o", lambda notify_id, notifier, watch_id, data: heard.append(bytes(data or b"")))
    call("notify", lambda: io.notify("o", "hello", 5000))
    call("heard", lambda: heard)
    call("check", lambda: watch.get_id() != 0)
    watch.close()
    call("notify nobody", lambda: io.notify("o", "hello", 1000))
    call("watch none", lambda: io.watch("none", lambda *args: None))
    # Snapshots of an operator's own.
    call("snap create on rbd's pool", lambda: io.create_snap("s"))
    call("selfmanaged", lambda: io.create_self_managed_snap() > 0)
    call("listing", lambda: sorted(o.key for o in io.list_objects() if not o.key.startswith("rbd_")))
    for name in [o.key for o in io.list_objects() if not o.key.startswith("rbd_")]:
        io.remove_object(name)
    call("nothing left", lambda: sorted(o.key for o in io.list_objects() if not o.key.startswith("rbd_")))
    # Namespaces.
    io.set_namespace("ns")
    call("write in a namespace", lambda: io.write_full("inside", b"x"))
    call("list the namespace", lambda: [(o.nspace, o.key) for o in io.list_objects()])
    io.set_namespace("")
    call("not in the default one", lambda: io.stat("inside"))
    io.set_namespace(rados.LIBRADOS_ALL_NSPACES)
    call("list all", lambda: sorted((o.nspace, o.key) for o in io.list_objects() if o.key == "inside"))
    io.set_namespace("ns")
    call("remove it", lambda: io.remove_object("inside"))
    io.set_namespace("")
    # Many at once.
    done = [io.aio_write_full("many%d" % i, b"%d" % i) for i in range(50)]
    call("aio", lambda: [c.wait_for_complete_and_cb() or c.get_return_value() for c in done] == [0] * 50)
    call("listing many", lambda: len([o for o in io.list_objects() if o.key.startswith("many")]))
    done = [io.aio_remove("many%d" % i) for i in range(50)]
    call("aio remove", lambda: [c.wait_for_complete() or c.get_return_value() for c in done] == [0] * 50)
    call("aio stat of none", lambda: aio_result(lambda cb: io.aio_stat("many1", cb)))
    call("aio read of none", lambda: aio_result(lambda cb: io.aio_read("many1", 10, 0, cb)))


def aio_result(start):
    completion = start(lambda *args: None)
    completion.wait_for_complete_and_cb()
    return completion.get_return_value()


def rbd_calls(io):
    r = rbd.RBD()
    call("version", lambda: r.version())
    call("no images", lambda: r.list(io))
    call("open none", lambda: rbd.Image(io, "a").close())
    call("remove none", lambda: r.remove(io, "a"))
    call("rename none", lambda: r.rename(io, "a", "b"))
    call("create", lambda: r.create(io, "a", 16 * MIB, 20, old_format=False, features=61))
    call("create again", lambda: r.create(io, "a", 16 * MIB))
    call("create of a bad order", lambda: r.create(io, "bad", MIB, 5))
    call("create with unknown features", lambda: r.create(io, "bad", MIB, features=1 << 40))
    call("create fast-diff alone", lambda: r.create(io, "bad", MIB, features=16))
    call("create of an empty name", lambda: r.create(io, "", MIB))
    call("create with a slash", lambda: r.create(io, "a/b", MIB))
    call("create striped", lambda: r.create(io, "striped", 8 * MIB, 20, features=3, stripe_unit=65536, stripe_count=4))
    call("create badly striped", lambda: r.create(io, "bad", MIB, 20, features=3, stripe_unit=77777, stripe_count=4))
    call("create with a journal", lambda: (r.create(io, "journaled", MIB, features=1 | 4 | 64), r.remove(io, "journaled")))
    call("list", lambda: sorted(r.list(io)))
    call("list2", lambda: sorted(i["name"] for i in r.list2(io)))
    with rbd.Image(io, "a") as a:
        call("size", lambda: a.size())
        call("stat", lambda: {k: v for k, v in a.stat().items() if k != "block_name_prefix"})
        call("features", lambda: a.features())
        call("op features", lambda: a.op_features())
        call("flags", lambda: a.flags())
        call("stripe unit", lambda: (a.stripe_unit(), a.stripe_count()))
        call("old format", lambda: a.old_format())
        call("access timestamps", lambda: a.create_timestamp() is not None)
        call("parent of none", lambda: a.parent_info())
        call("overlap of none", lambda: a.overlap())
        call("group", lambda: a.group())
        call("data pool", lambda: a.data_pool_id() == io.get_pool_id())
        call("prefix", lambda: a.block_name_prefix().startswith("rbd_data."))
        call("write", lambda: a.write(b"hello" * 1000, 3 * MIB - 100))
        call("read", lambda: a.read(3 * MIB - 100, 5000) == b"hello" * 1000)
        call("read past the end", lambda: a.read(16 * MIB, 10))
        call("read across the end", lambda: len(a.read(16 * MIB - 5, 10)))
        call("write past the end", lambda: a.write(b"x", 16 * MIB))
        call("write across the end", lambda: a.write(b"xyz", 16 * MIB - 1))
        call("owner", lambda: a.is_exclusive_lock_owner())
        call("lock owners", lambda: [o["mode"] for o in a.lock_get_owners()])
        call("discard", lambda: a.discard(3 * MIB, 4000))
        call("discarded", lambda: a.read(3 * MIB - 2, 6))
        call("discard past the end", lambda: a.discard(16 * MIB, 4096))
        call("write zeroes", lambda: a.write_zeroes(0, MIB))
        call("flush", lambda: a.flush())
        call("resize up", lambda: a.resize(20 * MIB))
        call("resize down", lambda: a.resize(12 * MIB))
        call("resize down without leave", lambda: a.resize(10 * MIB, allow_shrink=False))
        call("snap create", lambda: a.create_snap("s1"))
        call("snap create again", lambda: a.create_snap("s1"))
        call("snap empty name", lambda: a.create_snap(""))
        call("snap list", lambda: [(s["name"], s["size"], s["namespace"]) for s in a.list_snaps()])
        call("snap limit", lambda: a.get_snap_limit())
        call("snap limit set", lambda: a.set_snap_limit(1))
        call("snap beyond the limit", lambda: a.create_snap("s2"))
        call("snap limit off", lambda: a.remove_snap_limit())
        call("snap rename", lambda: a.rename_snap("s1", "s"))
        call("snap rename none", lambda: a.rename_snap("s1", "s"))
        call("snap rm none", lambda: a.remove_snap("s1"))
        call("snap protected", lambda: a.is_protected_snap("s"))
        call("clone unprotected, v1", lambda: clone(io, "a", "s", "c", 1))
        call("snap protect", lambda: a.protect_snap("s"))
        call("snap protect again", lambda: a.protect_snap("s"))
        call("snap rm protected", lambda: a.remove_snap("s"))
        call("snap timestamp", lambda: a.get_snap_timestamp(a.snap_get_id("s")) is not None)
        call("snap exists", lambda: a.snap_exists("s"))
        call("write after", lambda: a.write(b"changed", 3 * MIB - 100))
        call("diff", lambda: extents(a, "s"))
        call("diff whole", lambda: extents(a, None, whole_object=True))
        call("diff from none", lambda: extents(a, "nope"))
        call("set snap", lambda: a.set_snap("s"))
        call("read the snap", lambda: a.read(3 * MIB - 100, 7))
        call("write to the snap", lambda: a.write(b"x", 0))
        call("set no snap", lambda: a.set_snap("nope"))
        call("back to the head", lambda: a.set_snap(None))
        call("metadata", lambda: a.metadata_set("key", "value"))
        call("metadata get", lambda: a.metadata_get("key"))
        call("metadata get none", lambda: a.metadata_get("none"))
        call("metadata list", lambda: list(a.metadata_list()))
        call("metadata rm", lambda: a.metadata_remove("key"))
        call("metadata rm none", lambda: a.metadata_remove("key"))
        call("conf_ override", lambda: a.metadata_set("conf_rbd_cache", "false"))
        call("config list", lambda: [(o["name"], o["value"], o["source"]) for o in a.config_list() if o["source"]])
        call("disable fast-diff", lambda: a.update_features(16, False))
        call("enable journaling", lambda: (a.update_features(64, True), a.update_features(64, False)))
        call("disable deep-flatten", lambda: a.update_features(32, False))
        call("enable deep-flatten", lambda: a.update_features(32, True))
        call("disable object-map and lock", lambda: a.update_features(8 | 4, False))
        call("enable layering", lambda: a.update_features(1, True))
        call("enable them again", lambda: a.update_features(4 | 8 | 16, True))
        call("features now", lambda: a.features())
        call("flags now", lambda: a.flags())
        call("rebuild", lambda: a.rebuild_object_map())
        call("flags then", lambda: a.flags())
        call("sparsify", lambda: a.sparsify(4096))
        call("watchers", lambda: len(list(a.watchers_list())))
        call("lock acquire", lambda: a.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE))
        call("lock acquire shared", lambda: a.lock_acquire(rbd.RBD_LOCK_MODE_SHARED))
        call("lock release", lambda: a.lock_release())
        call("lock break of none", lambda: a.lock_break(rbd.RBD_LOCK_MODE_EXCLUSIVE, "client.1"))
        call("advisory lock", lambda: a.lock_exclusive("mine"))
        call("advisory lock, shared", lambda: a.lock_shared("yours", "tag"))
        call("advisory lockers", lambda: a.list_lockers()["exclusive"])
        call("advisory unlock", lambda: a.unlock("mine"))
        call("advisory unlock again", lambda: a.unlock("mine"))
        call("mirror mode", lambda: a.mirror_image_get_info()["state"])
        call("mirror disable", lambda: a.mirror_image_disable(False))
        call("mirror promote", lambda: a.mirror_image_promote(False))
        call("deep copy", lambda: a.deep_copy(io, "deep"))
        call("copy", lambda: a.copy(io, "copy"))
        call("copy again", lambda: a.copy(io, "copy"))
    for fmt in (1, 2):
        child = "child%d" % fmt
        call("clone v%d" % fmt, lambda: clone(io, "a", "s", child, fmt))
        with rbd.Image(io, child) as c:
            call("parent of v%d" % fmt, lambda: c.parent_info())
            call("parent image of v%d" % fmt, lambda: {k: v for k, v in c.get_parent_image_spec().items() if "id" not in k})
            call("overlap of v%d" % fmt, lambda: c.overlap())
            call("read of v%d" % fmt, lambda: c.read(3 * MIB - 100, 7))
            call("copy-up of v%d" % fmt, lambda: c.write(b"own", 3 * MIB - 100))
            call("after copy-up of v%d" % fmt, lambda: c.read(3 * MIB - 100, 7))
            call("diff of v%d" % fmt, lambda: extents(c, None))
            call("shrunk v%d" % fmt, lambda: (c.resize(2 * MIB), c.resize(4 * MIB), c.overlap()))
    with rbd.Image(io, "a") as a:
        call("children", lambda: sorted(c["image"] for c in a.list_children2()))
        a.set_snap("s")
        call("children of the snap", lambda: sorted(c[1] for c in a.list_children()))
        a.set_snap(None)
        call("unprotect with children", lambda: a.unprotect_snap("s"))
    call("remove a parent", lambda: r.remove(io, "a"))
    for fmt in (1, 2):
        with rbd.Image(io, "child%d" % fmt) as c:
            call("flatten v%d" % fmt, lambda: c.flatten())
            call("flatten v%d again" % fmt, lambda: c.flatten())
        call("remove child v%d" % fmt, lambda: r.remove(io, "child%d" % fmt))
    # Trash, namespaces, groups, migration.
    call("trash mv", lambda: r.trash_move(io, "copy", 0))
    call("trash mv none", lambda: r.trash_move(io, "copy", 0))
    trash = list(r.trash_list(io))
    call("trash list", lambda: [(t["name"], t["source"]) for t in trash])
    call("trash restore", lambda: r.trash_restore(io, trash[0]["id"], "back"))
    call("trash restore none", lambda: r.trash_restore(io, "nope", "back"))
    call("trash later", lambda: r.trash_move(io, "back", 3600))
    trash = list(r.trash_list(io))
    call("trash rm too early", lambda: r.trash_remove(io, trash[0]["id"]))
    call("trash rm by force", lambda: r.trash_remove(io, trash[0]["id"], True))
    call("trash purge", lambda: r.trash_purge(io))
    call("namespace create", lambda: r.namespace_create(io, "n"))
    call("namespace create again", lambda: r.namespace_create(io, "n"))
    call("namespace exists", lambda: (r.namespace_exists(io, "n"), r.namespace_exists(io, "m")))
    call("namespace list", lambda: r.namespace_list(io))
    io.set_namespace("n")
    call("create in a namespace", lambda: r.create(io, "inner", MIB))
    call("list in a namespace", lambda: r.list(io))
    io.set_namespace("")
    call("namespace rm with images", lambda: r.namespace_remove(io, "n"))
    io.set_namespace("n")
    call("remove in a namespace", lambda: r.remove(io, "inner"))
    io.set_namespace("m")
    call("create in no namespace", lambda: r.create(io, "inner", MIB))
    io.set_namespace("")
    call("namespace rm", lambda: r.namespace_remove(io, "n"))
    call("namespace rm none", lambda: r.namespace_remove(io, "n"))
    call("group list", lambda: r.group_list(io))
    call("images of no group", lambda: list(rbd.Group(io, "g").list_images()))
    call("group create", lambda: (r.group_create(io, "g"), r.group_remove(io, "g")))
    call("migrate", lambda: (r.migration_prepare(io, "deep", io, "moved"), r.migration_abort(io, "moved")))
    call("pool metadata", lambda: r.pool_metadata_set(io, "key", "value"))
    call("pool metadata get", lambda: r.pool_metadata_get(io, "key"))
    call("pool metadata list", lambda: list(r.pool_metadata_list(io)))
    call("pool metadata rm", lambda: r.pool_metadata_remove(io, "key"))
    call("pool config", lambda: r.config_set(io, "rbd_cache", "false"))
    call("pool config of none", lambda: r.config_set(io, "rbd_nope", "false"))
    call("pool config list", lambda: [(o["name"], o["value"]) for o in r.config_list(io) if o["source"] == 1])
    call("pool config rm", lambda: r.config_remove(io, "rbd_cache"))
    call("mirror mode", lambda: r.mirror_mode_get(io))
    call("mirror mode set", lambda: (r.mirror_mode_set(io, 1), r.mirror_mode_set(io, 0)))
    call("mirror peers", lambda: list(r.mirror_peer_list(io)))
    call("pool stats", lambda: {k: v for k, v in r.pool_stats_get(io).items()})
    for name in ("striped", "bad", "a/b"):
        call("remove " + name, lambda: r.remove(io, name))
    with rbd.Image(io, "a") as a:
        call("snap unprotect", lambda: a.unprotect_snap("s"))
        call("rollback", lambda: a.rollback_to_snap("s"))
        call("rolled back", lambda: a.read(3 * MIB - 100, 7))
        call("snap rm", lambda: a.remove_snap("s"))
    call("rename", lambda: r.rename(io, "a", "z"))
    with rbd.Image(io, "z") as z:
        call("remove while open elsewhere", lambda: removal_by_other(io, "z"))
    call("remove", lambda: r.remove(io, "z"))
    with rbd.Image(io, "deep") as d:
        call("snaps of the copy", lambda: [s["name"] for s in d.list_snaps()])
        for snap in [s["name"] for s in d.list_snaps()]:
            call("unprotect and remove " + snap, lambda: (d.unprotect_snap(snap) if d.is_protected_snap(snap) else None, d.remove_snap(snap)))
    call("remove the copy", lambda: r.remove(io, "deep"))
    call("all gone", lambda: r.list(io))
    call("what is left of images", lambda: sorted(o.key.split(".")[0] for o in io.list_objects() if o.key.startswith(("rbd_data", "rbd_header", "rbd_id", "rbd_object_map"))))


def clone(io, parent, snap, child, clone_format):
    cluster.conf_set("rbd_default_clone_format", str(clone_format))
    rbd.RBD().clone(io, parent, snap, io, child, features=61)


def extents(image, since, **how):
    found = []
    image.diff_iterate(0, image.size(), since, lambda o, l, exists: found.append((o, l, exists)), **how)
    return found


def removal_by_other(io, name):
    with rados.Rados(conffile=sys.argv[1], name="client.admin") as other:
        with other.open_ioctx(POOL) as theirs:
            rbd.RBD().remove(theirs, name)


with cluster.open_ioctx(POOL) as ioctx:
    rados_calls(ioctx)
    rbd_calls(ioctx)
cluster.shutdown()

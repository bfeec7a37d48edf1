"""The peer of tests: makes images with a history by librbd, and says what librbd finds in them, and what changed.

Takes one JSON request a line on stdin, and answers each with one on stdout; before that come {"begun": true}, and, when
changes are made and nothing is left but to close the image, {"done": true}:

    {"do": "create", "image": NAME, "size": N, "order": N, "features": N, "stripe": [unit, count], "dataPool": P, "ops": [...]}
    {"do": "clone", "parent": NAME, "snap": S, "image": NAME, "order": N, "features": N, "stripe": [unit, count], "ops": [...]}
    {"do": "apply", "image": NAME, "ops": [...]}
    {"do": "digests", "image": NAME, "snaps": [S, null]} -> [sha256 of all bytes...]
    {"do": "diffs", "image": NAME, "pairs": [[from, to, whole, parent]...]} -> [[[offset, length, exists]...]...]

An op is a list: ["write", offset, length, seed], ["put", offset, base64], ["zeroes", offset, length] (bytes, written),
["erase", offset, length] (by write-zeroes), ["discard", offset, length], ["resize", size], ["snap", name], ["unsnap", name], ["protect", name], ["rollback", name], ["flatten"].
"""
import base64
import hashlib
import json
import random
import sys

import rados
import rbd

cluster = rados.Rados(conffile=sys.argv[1])
# Discards of any size take effect (this switches the granularity off).
cluster.conf_set("rbd_skip_partial_discard", "false")
cluster.conf_set("rbd_default_clone_format", "2")
cluster.connect()
ioctx = cluster.open_ioctx("rbd")


def layout(request):
    options = {"order": request.get("order", 22), "features": request["features"]}
    if "stripe" in request:
        options["stripe_unit"], options["stripe_count"] = request["stripe"]
    if "dataPool" in request:
        options["data_pool"] = request["dataPool"]
    return options


def apply(name, ops):
    with rbd.Image(ioctx, name) as image:
        for op, *args in ops:
            if op == "write":
                offset, length, seed = args
                image.write(random.Random(seed).randbytes(length), offset)
            elif op == "put":
                image.write(base64.b64decode(args[1]), args[0])
            elif op == "zeroes":
                image.write(bytes(args[1]), args[0])
            elif op == "erase":
                image.write_zeroes(*args)
            elif op == "discard":
                image.discard(*args)
            elif op == "resize":
                image.resize(*args)
            elif op == "snap":
                image.create_snap(*args)
            elif op == "unsnap":
                image.remove_snap(*args)
            elif op == "protect":
                image.protect_snap(*args)
            elif op == "rollback":
                image.rollback_to_snap(*args)
            elif op == "flatten":
                image.flatten()
            else:
                raise ValueError(op)
        image.flush()
        # librbd 16.2 may end the process as it closes an image: what was asked for is done.
        print(json.dumps({"done": True}), flush=True)


def create(request):
    rbd.RBD().create(ioctx, request["image"], request["size"], old_format=False, **layout(request))
    apply(request["image"], request.get("ops", []))


def clone(request):
    rbd.RBD().clone(
        ioctx, request["parent"], request["snap"], ioctx, request["image"], **layout(request)
    )
    apply(request["image"], request.get("ops", []))


def digests(request):
    found = []
    for snap in request["snaps"]:
        with rbd.Image(ioctx, request["image"], snapshot=snap, read_only=True) as image:
            found.append(hashlib.sha256(image.read(0, image.size())).hexdigest())
    return found


def diffs(request):
    found = []
    for start, end, whole, parent in request["pairs"]:
        with rbd.Image(ioctx, request["image"], snapshot=end, read_only=True) as image:
            extents = []
            image.diff_iterate(
                0,
                image.size(),
                start,
                lambda offset, length, exists: extents.append([offset, length, bool(exists)]),
                parent,
                whole,
            )
            found.append(extents)
    return found


def answer(request):
    do = request["do"]
    if do == "create":
        return create(request)
    if do == "clone":
        return clone(request)
    if do == "apply":
        return apply(request["image"], request["ops"])
    if do == "digests":
        return digests(request)
    if do == "diffs":
        return diffs(request)
    raise ValueError(do)


for line in sys.stdin:
    print(json.dumps({"begun": True}), flush=True)
    try:
        print(json.dumps({"ok": answer(json.loads(line))}), flush=True)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)

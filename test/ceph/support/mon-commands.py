"""Runs monitor commands through librados, one JSON line in, one JSON line out.

In:  {"cmd": {"prefix": ...}, "input": base64?}
Out: {"r": -2, "rs": "...", "out": base64}

librados itself, not `ceph`: the command line formats, adds and drops newlines; here every byte of the answer shows.
"""

import base64
import json
import sys

import rados

conf, name = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "client.admin"
options = dict(option.split("=", 1) for option in sys.argv[3:])
with rados.Rados(conffile=conf, name=name, conf=options) as cluster:
    print(json.dumps({"fsid": cluster.get_fsid()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        data = base64.b64decode(request.get("input", ""))
        r, out, rs = cluster.mon_command(json.dumps(request["cmd"]), data, timeout=30)
        answer = {"r": r, "rs": rs, "out": base64.b64encode(out).decode()}
        print(json.dumps(answer), flush=True)

// A script of commands of Ceph's own tools, qemu and fio: one after the other, each a line of bash with CEPH_CONF in its
// environment, in a directory of its own.

const list: string[] = [];
const run = (...commands: string[]) => list.push(...commands);

// Files to work with.
run(
  'yes source | head -c 3000000 > source',
  'head -c 1000000 source > smaller; truncate -s 5M smaller',
);

// Images: what makes, shows and changes them.
run(
  'rbd ls',
  'rbd info none',
  'rbd create --size 16M --object-size 1M a',
  'rbd create --size 16M a',
  'rbd create b',
  'rbd create --size 8M --image-feature layering --image-shared c',
  'rbd create --size 8M --image-feature nonsense d',
  'rbd create --size 8M --order 30 d',
  'rbd create --size 8M --object-size 64K --stripe-unit 16K --stripe-count 4 striped',
  'rbd ls',
  'rbd ls -l',
  'rbd ls --format json',
  'rbd ls -l --format json --pretty-format',
  'rbd info a',
  'rbd info a --format json',
  'rbd info striped --format xml',
  'rbd import source imported --object-size 1M --no-progress',
  'rbd import - piped < source',
  'rbd import none gone',
  'rbd export imported out --no-progress; cmp out source',
  'rbd export imported - | md5sum',
  'rbd export none out2',
  'rbd du',
  'rbd du imported --format json',
  'rbd disk-usage --exact imported',
  'rbd diff imported',
  'rbd diff imported --whole-object --format json',
  'rbd resize --size 20M a --no-progress',
  'rbd resize --size 10M a --no-progress',
  'rbd resize --size 10M --allow-shrink a --no-progress',
  'rbd rename a aa; rbd rename aa a',
  'rbd rename none other',
  'rbd cp imported copied --no-progress',
  'rbd cp imported copied --no-progress',
  'rbd feature disable a fast-diff',
  'rbd feature disable a layering',
  'rbd feature enable a fast-diff',
  'rbd feature enable a nonsense',
  'rbd object-map rebuild a --no-progress',
  'rbd object-map check a --no-progress',
  'rbd object-map check c --no-progress',
  'rbd sparsify a --no-progress',
  'rbd image-meta set a key value',
  'rbd image-meta ls a',
  'rbd image-meta get a key',
  'rbd image-meta get a none',
  'rbd image-meta rm a key',
  'rbd config image set a rbd_cache false',
  'rbd config image get a rbd_cache',
  'rbd config image ls a | grep image',
  'rbd config image rm a rbd_cache',
  'rbd config pool set rbd rbd_default_order 20',
  'rbd config pool ls rbd | grep pool',
  'rbd create --size 4M small; rbd info small | grep order; rbd rm small --no-progress',
  'rbd config pool rm rbd rbd_default_order',
  'rbd config pool get rbd rbd_nothing',
);

// Snapshots and clones.
run(
  'rbd snap create imported@one --no-progress',
  'rbd snap create imported@one --no-progress',
  'rbd snap create none@one --no-progress',
  'rbd bench --io-type write --io-size 65536 --io-threads 1 --io-total 512K --io-pattern seq imported > /dev/null',
  'rbd snap create imported@two --no-progress',
  'rbd snap ls imported',
  'rbd snap ls imported --format json',
  'rbd snap ls --all imported',
  'rbd diff --from-snap one imported@two',
  'rbd diff --from-snap none imported',
  'rbd export-diff imported@one first.diff --no-progress',
  'rbd export-diff --from-snap one imported@two second.diff --no-progress',
  'rbd merge-diff first.diff second.diff both.diff; md5sum < both.diff',
  'rbd create --size 3000000B restored',
  'rbd import-diff first.diff restored --no-progress',
  'rbd import-diff second.diff restored --no-progress',
  'rbd import-diff second.diff restored --no-progress',
  'rbd export restored - | md5sum; rbd export imported@two - | md5sum',
  'rbd export --export-format 2 imported two.v2 --no-progress; rbd import --export-format 2 two.v2 again --no-progress; rbd snap ls again | wc -l',
  'rbd snap rename imported@two imported@2',
  'rbd snap limit set --limit 2 imported',
  'rbd snap create imported@three --no-progress',
  'rbd snap limit clear imported',
  'rbd snap protect imported@one',
  'rbd snap protect imported@one',
  'rbd snap rm imported@one --no-progress',
  'rbd clone --rbd-default-clone-format 1 imported@2 child',
  'rbd clone imported@one child',
  'rbd info child --format json',
  'rbd children imported@one',
  'rbd children imported --format json',
  'rbd snap unprotect imported@one',
  'rbd du child',
  'rbd rm imported --no-progress',
  'rbd flatten child --no-progress',
  'rbd flatten child --no-progress',
  'rbd export child - | md5sum; rbd export imported@one - | md5sum',
  'rbd snap unprotect imported@one',
  'rbd snap rollback imported@one --no-progress',
  'rbd export imported - | cmp - source',
  'rbd snap purge imported --no-progress',
  'rbd deep cp again deep --no-progress; rbd snap ls deep | wc -l',
  'rbd snap purge again --no-progress; rbd snap purge deep --no-progress',
);

// Locks, watchers, the trash, namespaces.
run(
  'rbd lock ls a',
  'rbd lock add a mine',
  'rbd lock add a mine',
  'rbd lock add --shared tag c mine',
  'rbd lock ls a | tail -n 1 | cut -d " " -f 2- ',
  'rbd lock rm a other client.1',
  'rbd status a',
  'rbd status none',
  'rbd trash mv copied',
  'rbd trash mv copied',
  'rbd trash ls | cut -d " " -f 2-',
  'rbd trash ls --format json | tr -d " "',
  'rbd trash restore nothing',
  'rbd trash purge --no-progress',
  'rbd trash ls',
  'rbd namespace create rbd/ns',
  'rbd namespace create rbd/ns',
  'rbd namespace ls rbd',
  'rbd create --size 1M rbd/ns/inner; rbd ls rbd/ns',
  'rbd namespace rm rbd/ns',
  'rbd rm rbd/ns/inner --no-progress; rbd namespace rm rbd/ns',
  'rbd namespace ls rbd --format json',
  'rbd pool stats rbd',
  'rbd pool init none',
  'rbd nonsense',
  'rbd ls -p none',
  'rbd group ls',
);

// qemu and fio, which are clients of librbd.
run(
  'qemu-img create -q -f raw rbd:rbd/q 8M; rbd info q --format json',
  'qemu-img create -q -f raw rbd:none/q 8M',
  'qemu-img info rbd:rbd/q --output json',
  'qemu-io -f raw -c "write -P 7 4096 65536" -c "read -P 7 4096 65536" rbd:rbd/q | grep -v sec',
  'qemu-io -f raw -c "read -P 0 0 4096" -c "discard 0 1M" -c "write -z 1M 64k" -c "read -P 0 4096 4096" rbd:rbd/q | grep -v sec',
  'qemu-io -f raw -c "write 7M 2M" rbd:rbd/q | grep -v sec',
  'qemu-img resize -q -f raw rbd:rbd/q 10M; rbd info q | grep size',
  'qemu-img resize -q -f raw --shrink rbd:rbd/q 8M; rbd info q | grep size',
  'qemu-img convert -f raw -O raw smaller rbd:rbd/q2; qemu-img compare smaller rbd:rbd/q2',
  'qemu-img convert -f raw -O qcow2 rbd:rbd/q2 q2.qcow2; qemu-img compare q2.qcow2 smaller',
  'qemu-img map -f raw rbd:rbd/q2 --output json | tr -d " "',
  'qemu-img snapshot -c snap rbd:rbd/q; qemu-img snapshot -l rbd:rbd/q | wc -l; qemu-img snapshot -d snap rbd:rbd/q',
  'fio --name=w --ioengine=rbd --clientname=admin --pool=rbd --rbdname=q --rw=randwrite --bs=4k --iodepth=16 --size=2M --verify=crc32c --do_verify=1 --output=fio.log; echo $?',
  'fio --name=r --ioengine=rbd --clientname=admin --pool=rbd --rbdname=none --rw=read --bs=4k --size=1M > fio.log 2>&1; echo $?',
  'timeout 20 fio --name=o --ioengine=rados --conf=$CEPH_CONF --clientname=admin --pool=rbd --rw=randwrite --bs=4k --iodepth=8 --filesize=1M --size=1M --output=fio.log; echo $?',
);

// Objects.
run(
  'rados lspools',
  'rados -p none ls',
  'rados -p rbd put o source; rados -p rbd get o got; cmp got source',
  'rados -p rbd get none got',
  'rados -p rbd stat o | sed "s/mtime [^,]*/mtime/"',
  'rados -p rbd truncate o 100; rados -p rbd stat o | sed "s/mtime [^,]*/mtime/"',
  'rados -p rbd append o smaller; rados -p rbd stat o | sed "s/mtime [^,]*/mtime/"',
  'rados -p rbd create made; rados -p rbd create made',
  'rados -p rbd touch touched; rados -p rbd stat touched | sed "s/mtime [^,]*/mtime/"',
  'rados -p rbd setxattr o name value; rados -p rbd getxattr o name; rados -p rbd listxattr o',
  'rados -p rbd getxattr o none',
  'rados -p rbd rmxattr o name; rados -p rbd listxattr o',
  'rados -p rbd setomapval o k v; rados -p rbd setomapheader o head; rados -p rbd listomapvals o; rados -p rbd getomapheader o',
  'rados -p rbd getomapval o none',
  'rados -p rbd rmomapkey o k; rados -p rbd listomapkeys o',
  'rados -p rbd cp o copy; rados -p rbd stat copy | sed "s/mtime [^,]*/mtime/"',
  'rados -p rbd listsnaps o',
  'rados -p rbd listwatchers o',
  'rados -p rbd lock list o',
  'rados -p rbd lock get o l --lock-cookie c; rados -p rbd lock info o l --format json | sed "s/client[^,]*,//"',
  'rados -p rbd lock get o l --lock-cookie other',
  'rados -p rbd mksnap snap',
  'rados -p rbd -N space put inside source; rados -p rbd -N space ls; rados -p rbd --all ls | grep inside; rados -p rbd -N space rm inside',
  'rados -p rbd rm o copy made touched',
  'rados -p rbd rm o',
  'rados -p rbd export pool.dump > /dev/null; echo $?',
  'rados -p rbd bench 1 write -b 4096 -t 4 > /dev/null; echo $?',
  'rados -p rbd ls | grep -c -v rbd_',
  'rados -p rbd cleanup; rados -p rbd nonsense',
);

// What is left is removed, and then nothing is left.
run(
  'rbd lock rm a mine "$(rbd lock ls a | tail -n 1 | cut -d " " -f 1)"',
  'rbd lock ls a',
  'rbd snap rm none@one --no-progress',
  'for image in $(rbd ls); do rbd rm --no-progress $image || echo $image; done; rbd ls',
  'rados -p rbd ls | grep -o -E "rbd_(data|header|id|object_map)" | sort',
);

export const PEER_COMMANDS: readonly string[] = list;

export interface PeerAnswer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Who, when, where and how fast is put aside: two clusters never agree on it. */
export function comparable({ code, stdout, stderr }: PeerAnswer, dir: string): PeerAnswer {
  return { code, stdout: mask(stdout, dir), stderr: sorted(mask(stderr, dir)) };
}

/** The libraries' log is written by another thread, into the midst of the program's own lines: the same words will do. */
function sorted(text: string): string {
  return text.split(/\s+/).filter(Boolean).sort().join(' ');
}

function mask(text: string, dir: string): string {
  return (
    text
      .replaceAll(dir, 'DIR')
      // The libraries' log: its time, thread and addresses; it may begin in the midst of a word.
      .replace(/\d{4}-\d\d-\d\dT[\d:.+]+ [0-9a-f]+ +-?\d+ /g, ' LOG ')
      .replace(/0x[0-9a-f]{6,}/g, 'PTR')
      .replace(/cookie=\d+|\d+\.\d+\.\d+\.\d+:\d+\/\d+/g, 'ADDR')
      .replace(/\b[0-9a-f]{10,16}\b/g, 'ID')
      .replace(/\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} +\d+ [\d:]+ \d{4}/g, 'TIME')
      .replace(/\d{4}-\d\d-\d\d[T ][\d:.]+([+-]\d{4})?/g, 'TIME')
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
      .replace(/"id":\d+|^ *\d+(?= +\w+ +[\d.]+ [KM]iB)/gm, 'SNAPID')
      .replace(/client\.?\d+/g, 'CLIENT')
  );
}

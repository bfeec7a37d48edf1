// Linux's own rbd driver, in a virtual machine: Debian's kernel, unpacked and not installed, under QEMU's software emulation,
// with an initramfs of busybox and the modules. It needs no privileges, and nothing of this machine's kernel.
//
// Clusters of tests listen on 127.0.0.1, and tell it to their clients. In the guest that is an address as any other: its
// loopback interface stays down, so that the packets go to QEMU's gateway, and QEMU connects where they say.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { runOrThrow, runProcess, sleep } from './processes.js';

const PROGRAMS = ['qemu-system-x86_64', 'busybox', 'depmod', 'modprobe', 'cpio', 'mke2fs'];
const PACKAGE_TOOLS = ['apt-get', 'apt-cache', 'dpkg-deb'];
const MODULES = ['virtio_pci', 'virtio_net', 'crc32c_generic', 'gcm', 'libceph', 'rbd', 'ext4'];

/** Of the package, most of which is drivers. */
const UNPACKED = [
  ...['./boot/vmlinuz-*', './lib/modules/*/modules.*'],
  ...['arch', 'crypto', 'lib', 'net/core', 'net/ceph', 'net/dns_resolver', 'drivers/virtio'].map(
    kernelDir,
  ),
  ...['fs/ext4', 'fs/jbd2', 'fs/mbcache.ko'].map(kernelDir),
  ...['drivers/block/rbd.ko', 'drivers/net/virtio_net.ko', 'drivers/net/net_failover.ko'].map(
    kernelDir,
  ),
];

function kernelDir(path: string): string {
  return `./lib/modules/*/kernel/${path}`;
}

/** One second of the guest's may be several of ours: software emulation, on a machine with other things to do. */
const BOOT_TIMEOUT_MS = 300_000;
const COMMAND_TIMEOUT_MS = 200_000;
/** Mirrors fail now and then. */
const DOWNLOADS = 3;

/** Why there can be no guest on this machine; undefined when there can. */
export function krbdMissing(): string | undefined {
  const missing = [...PROGRAMS, ...PACKAGE_TOOLS].filter((name) => locate(name) === undefined);
  if (missing.length === 0) return undefined;
  return `needs Debian's qemu-system-x86, busybox-static, kmod, cpio, e2fsprogs: no ${missing.join(', ')}`;
}

/** What a guest said, and how it ended. */
export interface GuestResult {
  readonly output: string;
  readonly code: number;
}

/** Where a guest finds an image. */
export interface KrbdTarget {
  /** Of the monitor, on 127.0.0.1. */
  readonly port: number;
  /** Of client.admin. */
  readonly key: string;
}

/** A machine that runs one shell command after the other. */
export class KrbdGuest implements AsyncDisposable {
  readonly #machine: ChildProcess;
  readonly #dir: string;
  readonly #lines: AsyncIterator<string>;
  #last: Promise<unknown> = Promise.resolve();

  /** Resolves when the guest has its modules loaded and its network up. */
  static async boot(): Promise<KrbdGuest> {
    const dir = await mkdtemp(join(tmpdir(), 'linger-krbd-'));
    try {
      const kernel = await unpackKernel(dir);
      const initramfs = await makeInitramfs(dir, kernel);
      const guest = new KrbdGuest(dir, kernel.image, initramfs);
      await guest.#ready();
      return guest;
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      throw error;
    }
  }

  private constructor(dir: string, kernel: string, initramfs: string) {
    this.#dir = dir;
    this.#machine = spawn(
      'qemu-system-x86_64',
      [
        ...['-M', 'q35', '-accel', 'tcg', '-m', '512', '-display', 'none', '-no-reboot'],
        ...['-kernel', kernel, '-initrd', initramfs, '-append', 'console=ttyS0 panic=-1'],
        ...['-netdev', 'user,id=net,net=10.9.0.0/24,host=10.9.0.2'],
        ...['-device', 'virtio-net-pci,netdev=net,romfile='],
        ...['-serial', `file:${join(dir, 'console')}`, '-serial', 'stdio', '-monitor', 'none'],
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    const { stdout } = this.#machine;
    if (!stdout) throw new Error('no pipe to the machine');
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /** Runs a command of busybox's shell. */
  run(command: string): Promise<GuestResult> {
    const turn = this.#last.then(async () => {
      this.#machine.stdin?.write(`${Buffer.from(command).toString('base64')}\n`);
      return this.#answer(command, COMMAND_TIMEOUT_MS);
    });
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** As `run`; throws with what the guest said unless the command succeeds. */
  async runOrThrow(command: string): Promise<string> {
    const { output, code } = await this.run(command);
    if (code !== 0) {
      throw new Error(`guest: ${command} exited with ${code}: ${output}\n${await this.console()}`);
    }
    return output;
  }

  /** Maps an image, as `rbd map` does. @returns its device: `rbd0`. */
  async map({ port, key }: KrbdTarget, pool: string, image: string, snap = '-'): Promise<string> {
    const before = await this.#devices();
    const options = `name=admin,secret=${key},ms_mode=crc`;
    const line = `127.0.0.1:${port} ${options} ${pool} ${image} ${snap}`;
    await this.runOrThrow(`echo '${line}' > /sys/bus/rbd/add_single_major`);
    const device = (await this.#devices()).find((name) => !before.includes(name));
    if (device === undefined) throw new Error(`guest: no device for ${pool}/${image}`);
    return device;
  }

  /** `rbd unmap`: what is written is on the cluster, and the image is nobody's. */
  async unmap(device: string): Promise<void> {
    await this.runOrThrow(`echo ${device.slice(3)} > /sys/bus/rbd/remove_single_major`);
  }

  async #devices(): Promise<string[]> {
    const output = await this.runOrThrow('ls /sys/bus/rbd/devices');
    return output
      .split(/\s+/)
      .filter(Boolean)
      .map((id) => `rbd${id}`);
  }

  /** The kernel's messages. */
  async console(): Promise<string> {
    const text = await readFile(join(this.#dir, 'console'), 'latin1');
    return text.split('\n').slice(-30).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#machine.exitCode === null && this.#machine.signalCode === null) {
      this.#machine.kill('SIGKILL');
      await once(this.#machine, 'exit');
    }
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #ready(): Promise<void> {
    const { code } = await this.#answer('boot', BOOT_TIMEOUT_MS);
    if (code !== 0) throw new Error(`the guest did not come up:\n${await this.console()}`);
  }

  /** The lines up to the one that tells the exit code. */
  async #answer(command: string, timeoutMs: number): Promise<GuestResult> {
    const timer = setTimeout(() => this.#machine.kill('SIGKILL'), timeoutMs);
    const lines: string[] = [];
    try {
      for (;;) {
        const { value, done } = await this.#lines.next();
        if (done) {
          const said = await this.console();
          throw new Error(
            `guest: ${command}: no answer within ${timeoutMs} ms, or it died:\n${said}`,
          );
        }
        const line = String(value).replace(/\r$/, '');
        const code = /^<done (\d+)>$/.exec(line)?.[1];
        if (code !== undefined) return { output: lines.join('\n').trimEnd(), code: Number(code) };
        lines.push(line);
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

interface Kernel {
  /** The tree that the package was unpacked to. */
  readonly root: string;
  /** `6.1.0-50-amd64`. */
  readonly version: string;
  readonly image: string;
}

async function unpackKernel(dir: string): Promise<Kernel> {
  const root = join(dir, 'kernel');
  await made(root);
  const unpack =
    'archive=$0 root=$1; shift; dpkg-deb --fsys-tarfile "$archive" | tar -x -C "$root" --wildcards "$@"';
  await runOrThrow('bash', [
    '-o',
    'pipefail',
    '-c',
    unpack,
    await kernelPackage(),
    root,
    ...UNPACKED,
  ]);
  const [image = ''] = (await readdir(join(root, 'boot'))).filter((name) => /^vmlinuz-/.test(name));
  const version = image.slice('vmlinuz-'.length);
  await runOrThrow('depmod', ['-b', root, version]);
  return { root, version, image: join(root, 'boot', image) };
}

/** The kernel that `linux-image-amd64` depends on, downloaded once. */
async function kernelPackage(): Promise<string> {
  const { stdout } = await runOrThrow('apt-cache', ['depends', 'linux-image-amd64']);
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (name === undefined) throw new Error('linux-image-amd64 depends on no kernel');
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'linger-tests');
  const kept = join(cache, `${name}.deb`);
  if (readable(kept)) return kept;
  const arriving = await mkdtemp(join(await made(cache), 'arriving-'));
  try {
    await download(name, arriving);
    const [file = ''] = await readdir(arriving);
    await rename(join(arriving, file), kept);
  } finally {
    await rm(arriving, { recursive: true, force: true });
  }
  return kept;
}

async function download(name: string, dir: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await runOrThrow('sh', ['-c', 'cd "$0" && exec apt-get download "$1"', dir, name]);
      return;
    } catch (error) {
      if (attempt === DOWNLOADS) throw error;
      await sleep(1000 * attempt);
    }
  }
}

/** What the guest boots from: busybox, mke2fs with its libraries, and the modules with what they need, in order. */
async function makeInitramfs(dir: string, kernel: Kernel): Promise<string> {
  const root = join(dir, 'initramfs');
  await made(join(root, 'modules'));
  await copyProgram(root, 'bin', 'busybox');
  // Apart from busybox's own of that name, which knows no ext4.
  await copyProgram(root, 'e2fsprogs', 'mke2fs');
  const modules = await modulesInOrder(kernel);
  for (const module of modules) await copyFile(module, join(root, 'modules', basename(module)));
  const insmods = modules.map((module) => `insmod /modules/${basename(module)}`).join('\n');
  await writeFile(join(root, 'init'), INIT.replace('@INSMODS@', insmods));
  await chmod(join(root, 'init'), 0o755);
  const archive = join(dir, 'initramfs.cpio');
  const pack = 'cd "$0" && find . | cpio --quiet -o -H newc > "$1"';
  await runOrThrow('sh', ['-c', pack, root, archive]);
  return archive;
}

async function modulesInOrder({ root, version }: Kernel): Promise<string[]> {
  const files: string[] = [];
  for (const module of MODULES) {
    const args = ['-d', root, '-S', version, '--show-depends', module];
    const { stdout } = await runOrThrow('modprobe', args);
    for (const [, file = ''] of stdout.matchAll(/^insmod (\S+)/gm)) files.push(file);
  }
  return [...new Set(files)];
}

async function copyProgram(root: string, dir: string, name: string): Promise<void> {
  const file = locate(name);
  if (file === undefined) throw new Error(`no ${name}`);
  await copyFile(file, join(await made(join(root, dir)), name));
  // A static one has no libraries, and `ldd` says so with an exit code.
  const { stdout } = await runProcess('ldd', [file]);
  for (const [, library = ''] of stdout.matchAll(/(\/\S+\.so\S*)/g)) {
    await copyFile(library, join(await made(join(root, dirname(library))), basename(library)));
  }
}

async function made(dir: string): Promise<string> {
  await mkdir(dir, { recursive: true });
  return dir;
}

function locate(name: string): string | undefined {
  // The administrator's programs are not in everybody's path.
  const dirs = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  return dirs.map((dir) => join(dir, name)).find(readable);
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** The guest's first process: sets the machine up, and is then its shell. A command is a line of base64 on the second port. */
const INIT = `#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /mnt /tmp /etc
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
ln -sf /proc/mounts /etc/mtab
@INSMODS@
ip addr add 10.9.0.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.9.0.2
# Answers of 127.0.0.1 come in from outside.
echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
exec < /dev/ttyS1 > /dev/ttyS1 2>&1
stty raw -echo
test -e /sys/bus/rbd/add_single_major && ip route | grep -q default
echo "<done $?>"
while read -r line; do
  sh -c "$(echo "$line" | base64 -d)" < /dev/null
  code=$?
  echo
  echo "<done $code>"
done
`;

# SPDX-License-Identifier: Apache-2.0
"""bench_peer.py - a guest of libvirt alone, of the same kind as a sandbox's

The same kernel, machine type, CPU model, memory, vCPUs, image and kind of disk;
a tap without rules; sshd and qemu-ga in it. Its libvirtd is a private one of its
own, as the format of `virsh save` is a setting of the daemon.
"""
import glob
import json
import os
import socket
import stat

from bench_lib import BUILD, Failed, MEMORY_MIB, SCRIPTS, clock, run, \
    wait_for

XML = """
<domain type='{kind}'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 norandmaps</cmdline></os>
  <features><acpi/></features>
  <cpu mode='{cpu}' check='none'>
    <feature policy='disable' name='svm'/>
    <feature policy='disable' name='vmx'/></cpu>
  <seclabel type='static' model='dac' relabel='no'><label>+0:+0</label></seclabel>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='writeback' discard='unmap'/>
      <source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='ethernet'>
      <mac address='52:54:00:53:42:02'/>
      <target dev='{tap}' managed='no'/><model type='virtio'/></interface>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <channel type='unix'><source mode='bind' path='{qga}'/>
      <target type='virtio' name='bench.qga'/></channel>
    <serial type='file'><source path='{console}'/></serial>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='none'/>
  </devices>
</domain>"""

START = """
mkdir -p /run/sshd
ip link set eth0 up
ip addr add {address}/30 dev eth0
for port in /sys/class/virtio-ports/*; do
    case $(cat $port/name) in *qga*|*guest_agent*)
        qemu-ga -d -m virtio-serial -p /dev/${{port##*/}} -t /run \\
            -f /run/qga-${{port##*/}}.pid ;;
    esac
done
/usr/sbin/sshd -h /run/bench/host_key -o UsePAM=no -o StrictModes=no \\
    -o AuthorizedKeysFile=/run/bench/authorized_keys -o PermitRootLogin=yes
echo READY
"""


class Qga:
    """The guest agent over its socket, on a kept connection."""

    def __init__(self, path):
        self.path = path
        self.sock = None

    def connect(self):
        self.close()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(0.25)
        self.sock.connect(self.path)
        self.buf = b""
        mark = int.from_bytes(os.urandom(4), "big")
        self.sock.sendall(b"\xff")
        self.send("guest-sync", id=mark)
        while self.receive() != mark:
            pass
        self.sock.settimeout(30)

    def send(self, command, **arguments):
        self.sock.sendall(json.dumps({"execute": command,
                                      "arguments": arguments}).encode() + b"\n")

    def receive(self):
        while b"\n" not in self.buf:
            got = self.sock.recv(65536)
            if not got:
                raise OSError("the guest agent closed")
            self.buf += got
        line, _, self.buf = self.buf.partition(b"\n")
        try:
            return json.loads(line.lstrip(b"\xff")).get("return")
        except ValueError:
            return None

    def ask(self, command, **arguments):
        self.send(command, **arguments)
        return self.receive()

    def true(self):
        pid = self.ask("guest-exec", path="/bin/true")["pid"]
        while not self.ask("guest-exec-status", pid=pid)["exited"]:
            pass

    def try_true(self):
        """Connect anew and run `true`; None when it is not there yet."""
        try:
            self.connect()
            self.true()
            return True
        except (OSError, TypeError, KeyError):
            return None

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None


class Libvirtd:
    def __init__(self, bench, name, conf=""):
        self.dir = os.path.join(bench.work, name)
        os.environ["QEMU_CONF"] = conf
        self.uri = run(os.path.join(SCRIPTS, "private-libvirtd"), "start",
                       self.dir).stdout.strip()
        del os.environ["QEMU_CONF"]
        bench.closers.append(self.close)

    def virsh(self, *argv, **kw):
        kw.setdefault("stderr", None)
        return run("virsh", "-q", "-c", self.uri, *argv, **kw)

    def close(self):
        run(os.path.join(SCRIPTS, "private-libvirtd"), "stop", self.dir)


class Peer:
    """One guest. @index makes its tap and addresses its own."""

    def __init__(self, bench, libvirtd, index):
        self.bench, self.libvirtd = bench, libvirtd
        self.node = bench.node
        self.name = f"bench-peer-{index}"
        self.dir = os.path.join(bench.work, self.name)
        os.makedirs(self.dir, mode=0o711, exist_ok=True)
        self.tap = f"bpeer{index}"
        self.host = f"10.98.{index}.2"
        self.console = os.path.join(self.dir, "console")
        self.saved = os.path.join(self.dir, "saved")
        self.qga = Qga(os.path.join(self.dir, "qga.sock"))
        self.make_tap(f"10.98.{index}.1")
        self.make_initrd()
        self.make_xml()

    def make_tap(self, address):
        run("ip", "tuntap", "add", "dev", self.tap, "mode", "tap")
        run("ip", "addr", "add", f"{address}/30", "dev", self.tap)
        run("ip", "link", "set", self.tap, "up")

    def make_initrd(self):
        root = os.path.join(self.dir, "root")
        os.makedirs(os.path.join(root, "bench"))
        run("cp", os.path.join(BUILD, "tests/bench/peer_init"),
            os.path.join(root, "init"))
        self.key = os.path.join(self.dir, "key")
        host_key = os.path.join(root, "bench/host_key")
        for key in (self.key, host_key):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        run("cp", self.key + ".pub", os.path.join(root, "bench/authorized_keys"))
        with open(os.path.join(root, "bench/start"), "w") as f:
            f.write(START.format(address=self.host))
        with open(host_key + ".pub") as f:
            known = " ".join(f.read().split()[:2])
        with open(os.path.join(self.dir, "known_hosts"), "w") as f:
            f.write(f"{self.host} {known}\n")
        self.initrd = os.path.join(self.dir, "initrd.img")
        names = run("find", ".", "-mindepth", "1", cwd=root).stdout
        with open(self.initrd, "wb") as f:
            f.write(open(f"{self.node.state}/kernel/initrd.img", "rb").read())
            f.flush()
            run("cpio", "-o", "-H", "newc", "--quiet", cwd=root,
                input=names.encode(), stdout=f, text=False)

    def make_xml(self):
        image = glob.glob(f"{self.node.state}/images/*/root.raw")
        if len(image) != 1:
            raise Failed("which image is the peer's?")
        self.disk = os.path.join(self.dir, "disk.qcow2")
        self.image = image[0]
        kvm = "KVM" in self.bench.machine["accelerator"]
        self.xml = os.path.join(self.dir, "domain.xml")
        with open(self.xml, "w") as f:
            f.write(XML.format(
                kind="kvm" if kvm else "qemu", name=self.name,
                cpu="host-model" if kvm else "maximum",
                memory=MEMORY_MIB, kernel=f"{self.node.state}/kernel/vmlinuz",
                initrd=self.initrd, disk=self.disk, tap=self.tap,
                qga=self.qga.path, console=self.console))

    def new_disk(self):
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
            self.image, self.disk, "10G")

    # ---- its life ----

    def boot(self):
        """virsh create to the first command's end by the guest agent."""
        self.libvirtd.virsh("create", self.xml)
        self.wait_exec()

    def wait_exec(self):
        wait_for("the peer's guest agent", self.qga.try_true, 120, 0.002)

    def start(self):
        self.new_disk()
        ms = clock(self.boot)
        self.set_up_ssh()
        wait_for("the peer's sshd",
                 lambda: run(*self.fresh, "true", check=False,
                             stderr=-3).returncode == 0, 60, 0.1)
        return ms

    def set_up_ssh(self):
        self.options = ["-q", "-i", self.key, "-o",
                        f"UserKnownHostsFile={self.dir}/known_hosts", "-o",
                        "StrictHostKeyChecking=yes", "-F", "/dev/null"]
        master = ["-o", "ControlMaster=auto", "-o",
                  f"ControlPath={self.dir}/master", "-o",
                  "ControlPersist=yes"]
        to = f"root@{self.host}"
        self.fresh = ["ssh"] + self.options + [to]
        self.kept = ["ssh"] + self.options + master + [to]
        self.scp = ["scp"] + self.options
        self.scp_kept = ["scp"] + self.options + master

    def close_master(self):
        if os.path.exists(f"{self.dir}/master"):
            run(*self.kept[:-1], "-O", "exit", self.kept[-1], check=False,
                stderr=-3)

    def write_mib(self, mib):
        """A process that holds so much random data, as in the sandbox."""
        if mib:
            run(*self.fresh, "python3 -c '" + WRITER.replace("'", '"') +
                f"' {mib} >/tmp/w 2>&1 </dev/null & "
                "until grep -q written /tmp/w; do sleep 0.05; done")

    def size(self):
        try:
            return os.stat(self.console)[stat.ST_SIZE]
        except FileNotFoundError:
            return 0

    def save(self):
        self.libvirtd.virsh("save", self.name, self.saved)

    def restore(self):
        self.libvirtd.virsh("restore", self.saved)
        self.wait_exec()

    def destroy(self):
        self.qga.close()
        self.libvirtd.virsh("destroy", self.name, check=False, stderr=-3)

    def close(self):
        self.close_master()
        self.destroy()
        run("ip", "link", "del", self.tap, check=False, stderr=-3)


WRITER = """
import os, sys, time
data = [os.urandom(1 << 20) for i in range(int(sys.argv[1]))]
print("written", flush=True)
time.sleep(1e6)
"""

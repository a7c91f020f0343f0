"""A real Slurm of its own for tests: munged, slurmctld and several slurmd on this host, as root, with
ports, keys and folders that no other has. Nothing of the machine's own Slurm or munge is touched."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={dir}/munge/munge.sock
CredType=cred/munge
SlurmctldPort={port}
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool/%n
SlurmctldPidFile={dir}/run/slurmctld.pid
SlurmdPidFile={dir}/run/slurmd.%n.pid
SlurmctldLogFile={dir}/log/slurmctld.log
SlurmdLogFile={dir}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=30
InactiveLimit=0
KillWait=20
TmpFS={dir}/tmp/%n
MinJobAge=3600
JobRequeue=1
OverTimeLimit=0
SlurmdParameters=config_overrides
"""


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_for(condition, what, timeout=120):
    """Until condition() gives something true, which is returned."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {timeout} s")


def heard(pid):
    """Whether a stopped process has been sent USR1 or TERM, goes on already, or is gone."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return True
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    if not fields["State"].strip().startswith("T"):
        return True
    pending = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
    return bool(pending & (1 << signal.SIGUSR1 - 1 | 1 << signal.SIGTERM - 1))


class Lab:
    def __init__(self, nodes=2):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="gradwire-slurm-"))
        self.dir.chmod(0o755)
        self.nodes = [f"node{i + 1}" for i in range(nodes)]
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "SRUN"))}
        self.env["SLURM_CONF"] = str(self.dir / "slurm.conf")
        self.daemons = []

    def start(self):
        for name in ("state", "log", "run", "spool"):
            (self.dir / name).mkdir()
        self.start_munge()
        port, *node_ports = free_ports(1 + len(self.nodes))
        host = socket.gethostname().split(".")[0]
        text = CONF.format(host=host, dir=self.dir, port=port)
        for node, node_port in zip(self.nodes, node_ports):
            (self.dir / "spool" / node).mkdir()
            (self.dir / "tmp" / node).mkdir(parents=True)
            text += f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=4 RealMemory=4000\n"
        text += "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=60 State=UP\n"
        text += "PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=9 State=UP\n"
        (self.dir / "slurm.conf").write_text(text)
        self.daemon("/usr/sbin/slurmctld", "-D", "-c")
        for node in self.nodes:
            self.start_node(node)
        wait_for(lambda: self.states() == {"idle"}, "all nodes idle")

    def start_munge(self):
        folder = self.dir / "munge"
        folder.mkdir()
        (folder / "key").write_bytes(os.urandom(128))
        shutil.chown(folder, "munge", "munge")
        shutil.chown(folder / "key", "munge", "munge")
        folder.chmod(0o755)
        (folder / "key").chmod(0o400)
        self.daemon("/usr/sbin/munged", "--foreground", f"--socket={folder}/munge.sock", f"--key-file={folder}/key",
                    f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
                    f"--seed-file={folder}/seed", user="munge")
        wait_for(lambda: (folder / "munge.sock").exists(), "munged listens")

    def start_node(self, node):
        self.daemon("/usr/sbin/slurmd", "-D", "-N", node, name=node)

    def daemon(self, *command, user=None, name=None):
        log = open(self.dir / "log.txt" if user else self.dir / "log" / "daemons.txt", "ab")
        # Whatever ends this process ends the daemons.
        process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   user=user, start_new_session=True)
        log.close()
        self.daemons.append((name or command[0], process))

    def run(self, *command, expect=0):
        done = subprocess.run([str(c) for c in command], env=self.env, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        if expect is not None and done.returncode != expect:
            raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}\n{self.logs()}")
        return done.stdout

    def states(self):
        return set(self.run("sinfo", "-h", "-o", "%T", expect=None).split())

    def job(self, number):
        """Every Key=Value that scontrol knows of a job."""
        text = self.run("scontrol", "show", "job", number)
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def ranks(self, job):
        """The process ids of the ranks of a job, whichever node they are on."""
        found = []
        for folder in pathlib.Path("/proc").iterdir():
            try:
                if not folder.name.isdigit() or (folder / "comm").read_text().strip() != "gradwire":
                    continue
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if {f"SLURM_CONF={self.dir}/slurm.conf".encode(), f"SLURM_JOB_ID={job}".encode()} <= set(environment):
                found.append(int(folder.name))
        return found

    def kill_node(self, node):
        """As a machine that loses its power: its daemon and all that it has started are gone at once."""
        gone = [process for name, process in self.daemons if name == node]
        self.daemons = [d for d in self.daemons if d[0] != node]
        pids = [process.pid for process in gone]
        marker = f"SLURMD_NODENAME={node}".encode()
        for folder in pathlib.Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            try:
                command = (folder / "cmdline").read_bytes()
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            ours = f"SLURM_CONF={self.dir}/slurm.conf".encode() in environment
            is_step_daemon = b"slurmstepd" in command and ours and f"{self.dir}/spool/{node}".encode() in command
            if ours and (marker in environment or is_step_daemon):
                pids.append(int(folder.name))
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in gone:
            process.wait()

    def logs(self):
        return "\n".join(f"== {p.name}\n{p.read_text(errors='replace')[-2000:]}"
                         for p in sorted((self.dir / "log").glob("*")))

    def stop(self):
        subprocess.run(["scancel", "-f", "--user=root"], env=self.env, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)
        for _, process in reversed(self.daemons):
            process.terminate()
        for _, process in reversed(self.daemons):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # What a killed step has left behind belongs to nobody else: it has this lab's configuration.
        mark = f"SLURM_CONF={self.dir}/slurm.conf".encode()
        for folder in pathlib.Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                    if int(folder.name) != os.getpid():
                        os.kill(int(folder.name), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                continue
        shutil.rmtree(self.dir, ignore_errors=True)

"""A real Slurm of one machine: a job is preempted, saves within its grace, is requeued, goes on, and is done once."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import journalkit

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scontrol")
INPUTS = 120
GRACE_S = 20
PATIENCE_S = 90

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(
        any(shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None for name in PROGRAMS),
        reason="needs a Slurm: apt-get install slurm-wlm munge",
    ),
]

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={top}/munge.socket,cred_expire=5
StateSaveLocation={top}/state
SlurmdSpoolDir={top}/spool
SlurmctldPidFile={top}/slurmctld.pid
SlurmdPidFile={top}/slurmd.pid
SlurmctldLogFile={top}/slurmctld.log
SlurmdLogFile={top}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=1 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace_s}
PartitionName=high Nodes=ALL State=UP PriorityTier=10 PreemptMode=OFF
"""

JOB = """\
import os, sys, time
import journalkit
from journalkit.integrations import slurm

folder, inputs = sys.argv[1], int(sys.argv[2])
with journalkit.open_checkpoints(folder) as checkpoints, checkpoints.on_preemption(grace=10) as preemption:
    loaded = checkpoints.load_latest()
    state, done = (loaded[0], loaded[1].offsets["in"]) if loaded else ({"sum": 0, "seen": []}, 0)
    print("begun", os.environ.get("SLURM_RESTART_COUNT", "0"), done, flush=True)
    while done < inputs:
        time.sleep(0.1)
        state["sum"] += done
        state["seen"].append(done)
        done += 1
        if preemption.requested:
            saved = preemption.save(state, offsets={"in": done})
            print("saved", done, preemption.reason, flush=True)
            assert saved is not None
            assert slurm.requeue()
            time.sleep(60)  # until Slurm ends it
    checkpoints.save(state, offsets={"in": done}, name="the end")
    print("done", state["sum"], flush=True)
"""


class Cluster:
    """One node, two partitions: what is asked for in `high` preempts what runs in `low`."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._environment = os.environ | {
            "SLURM_CONF": str(top / "slurm.conf"),
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin",
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        }

    def start(self, stack: ExitStack) -> None:
        """Start the daemons, and wait until the node is idle."""
        top = self.top
        for name in ("state", "spool"):
            (top / name).mkdir()
        key = top / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        told = {"top": top, "host": socket.gethostname(), "grace_s": GRACE_S}
        ports = {"control_port": free_port(), "node_port": free_port()}
        (top / "slurm.conf").write_text(CONFIGURATION.format(**told, **ports))
        self._daemon(stack, "munged", "--foreground", "--force", *(
            f"--{name}={top}/munge.{kind}"
            for name, kind in (("socket", "socket"), ("key-file", "key"), ("pid-file", "pid"), ("seed-file", "seed"),
                               ("log-file", "log"))
        ))  # fmt: skip
        self._await("a munged", lambda: (top / "munge.socket").exists())
        self._daemon(stack, "slurmctld", "-D", "-f", str(top / "slurm.conf"))
        self._daemon(stack, "slurmd", "-D", "-f", str(top / "slurm.conf"))
        self._await("an idle node", lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"))

    def ask(self, *command: str) -> str:
        """Return what a command of Slurm's says."""
        ran = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=30, check=False)
        return ran.stdout.strip()

    def submit(self, partition: str, script: str, output: Path) -> None:
        """Submit a batch job."""
        path = self.top / f"{output.stem}.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        said = self.ask("sbatch", "--requeue", "--open-mode=append", "-p", partition, "-o", str(output), str(path))
        assert said.startswith("Submitted"), self.logs()

    def until(self, words: str, output: Path) -> str:
        """Wait until a job has said something, and return all that it said."""
        self._await(words, lambda: output.exists() and words in output.read_text())
        return output.read_text()

    def logs(self) -> str:
        """Return the ends of the daemons' logs."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.top.glob("*.log")))

    def _daemon(self, stack: ExitStack, *command: str) -> None:
        with open(self.top / f"{command[0]}.log", "a") as log:
            process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)

    def _await(self, what: str, is_there: object) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_there():  # type: ignore[operator]
            assert time.monotonic() < deadline, f"{what} didn't come\n{self.ask('squeue', '-l')}\n{self.logs()}"
            time.sleep(0.2)


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of its own for one test."""
    top = tmp_path / "slurm"
    top.mkdir()
    with ExitStack() as stack:
        made = Cluster(top)
        made.start(stack)
        yield made


def test_a_preempted_slurm_job_is_requeued_resumed_and_done_once(cluster: Cluster, tmp_path: Path) -> None:
    """Of its inputs none is lost or counted twice, and it begins again where its last save was."""
    folder, program, output = tmp_path / "checkpoints", tmp_path / "job.py", tmp_path / "low.txt"
    program.write_text(JOB)
    cluster.submit("low", f"exec srun {sys.executable} {program} {folder} {INPUTS}", output)
    cluster.until("begun 0 0", output)
    time.sleep(2)
    cluster.submit("high", "sleep 2", tmp_path / "high.txt")
    said = cluster.until("done ", output)
    [(saved, reason)] = re.findall(r"^saved (\d+) (.*)$", said, re.MULTILINE)
    assert 0 < int(saved) < INPUTS
    assert reason == "SIGTERM"
    assert re.findall(r"^begun (\d+) (\d+)$", said, re.MULTILINE) == [("0", "0"), ("1", saved)]
    assert re.findall(r"^done (\d+)$", said, re.MULTILINE) == [str(sum(range(INPUTS)))]
    with journalkit.open_checkpoints(folder, mode="r") as checkpoints:
        assert [(each.name, each.offsets["in"]) for each in checkpoints] == [("the end", INPUTS), ("", int(saved))]
        assert checkpoints.get("latest").load() == {"sum": sum(range(INPUTS)), "seen": list(range(INPUTS))}

"""examples/slurm.sbatch on a real Slurm: what becomes of a job that is cancelled, preempted, runs out of
time, or loses a node. What goes on must end with the checkpoint of a run that nothing happened to, bit for
bit."""

import contextlib
import json
import os
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from harness import GRADWIRE, RECIPE, corpus
from lab import Lab, free_ports, heard, wait_for
from manifest import tensor_hashes

TEMPLATE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "slurm.sbatch"
STEPS = 2000


def setUpModule():
    global LAB, FOLDER, WHOLE
    LAB = Lab()
    unittest.addModuleCleanup(LAB.stop)
    LAB.start()
    FOLDER = LAB.dir / "work"
    FOLDER.mkdir()
    (FOLDER / "corpus.txt").write_text(corpus())
    recipe = RECIPE.replace("steps = 40", f"steps = {STEPS}").replace("every = 10", "every = 250")
    (FOLDER / "recipe.toml").write_text(recipe.replace("eval_every = 20", f"eval_every = {STEPS}"))
    job = submit("whole")
    wait_for_state(job, "COMPLETED")
    WHOLE = weights("whole")


def submit(run, *options, recipe="recipe.toml"):
    """The template as it is, but for its resources; `run` is the name of the run's folder. A copy of the recipe
    says where that is, so that the script's command line stays what a user writes."""
    own = FOLDER / f"{run}.toml"
    own.write_text(f'extends = "{recipe}"\n[run]\ndir = "{run}"\n')
    env = {"PATH": f"{pathlib.Path(GRADWIRE).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
           "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    LAB.env.update(env)
    out = LAB.run("sbatch", "--parsable", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=100",
                  f"--output={FOLDER}/{run}.log", f"--chdir={FOLDER}", *options, TEMPLATE, own.name)
    return out.strip().splitlines()[-1]


def log(run):
    path = FOLDER / f"{run}.log"
    return path.read_text(errors="replace") if path.exists() else ""


def rows(run):
    path = FOLDER / run / "metrics.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # of a process that was killed
    return found


def last_step(run):
    return max((r["step"] for r in rows(run) if r["event"] == "step"), default=0)


def saved_step(run):
    names = [p.name for p in (FOLDER / run / "checkpoints").glob("step-*") if "." not in p.name]
    return max((int(name[5:]) for name in names), default=0)


def weights(run):
    return tensor_hashes(FOLDER / run / f"checkpoints/step-{STEPS:08d}")


def wait_for_state(job, *states, timeout=300):
    """The job as it is once it has one of these states."""
    def look():
        found = LAB.job(job)
        if found["JobState"] in states:
            return found
        if found["JobState"] in ("FAILED", "TIMEOUT", "NODE_FAIL") and found["JobState"] not in states:
            raise AssertionError(f"{found['JobState']}, not {states}:\n{all_logs()}")
        return None
    try:
        return wait_for(look, f"job {job} is {states}", timeout)
    except AssertionError as e:
        raise AssertionError(f"{e}\n{LAB.job(job)}\n{all_logs()}") from e


def all_logs():
    return "\n".join(f"== {p.name}\n{p.read_text(errors='replace')[-3000:]}" for p in FOLDER.glob("*.log")) + LAB.logs()


class SlurmTest(unittest.TestCase):
    def running(self, run, *options, step=20):
        """A job of the template that has done some steps."""
        job = submit(run, *options)
        wait_for(lambda: last_step(run) >= step, f"{run} trains")
        return job

    @contextlib.contextmanager
    def held(self, job, run):
        """The ranks of a job, stopped inside a step: however fast they are, the job does not end before what is done
        to it has reached them. They go on once they are told to stop, or the test says that they need not be."""
        ranks = LAB.ranks(job)
        for pid in ranks:
            os.kill(pid, signal.SIGSTOP)
        self.assertEqual(len(ranks), 2, f"{run} trains on two nodes\n{log(run)}")
        self.assertLess(last_step(run), STEPS, "the steps of the tests are too few for this machine")
        try:
            yield
            wait_for(lambda: all(heard(pid) for pid in ranks), "the ranks are told to stop")
        finally:
            for pid in ranks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def resume_now(self, job):
        """Slurm lets a job that was requeued wait for two minutes, since nodes refuse credentials that are not newer,
        by whole seconds, than the moment in which they ended the job. So once that is over, seconds are enough."""
        wait_for(lambda: int(LAB.job(job)["Restarts"]) >= 1, "the job is requeued")
        wait_for(lambda: LAB.states() == {"idle"}, "the nodes are done with it")
        LAB.run("scontrol", "update", f"jobid={job}", "StartTime=now+3")

    def finishes_as_if_nothing_happened(self, job, run):
        self.resume_now(job)
        found = wait_for_state(job, "COMPLETED")
        self.assertGreaterEqual(int(found["Restarts"]), 1)
        self.assertEqual(weights(run), WHOLE)

    def test_a_job_runs_on_two_nodes_and_completes(self):
        self.assertIn("2 ranks", log("whole"))
        self.assertIn("validation perplexity", log("whole"))

    def test_cancelled_stays_cancelled_with_a_checkpoint_of_its_last_step(self):
        job = self.running("cancelled")
        with self.held(job, "cancelled"):
            LAB.run("scancel", job)
        found = wait_for_state(job, "CANCELLED")
        wait_for(lambda: "stopped on request" in log("cancelled"), "the run says that it stopped")
        wait_for(lambda: LAB.states() == {"idle"}, "the nodes are idle")
        self.assertEqual(found["Restarts"], "0")
        self.assertEqual(saved_step("cancelled"), last_step("cancelled"))
        self.assertEqual(LAB.job(job)["JobState"], "CANCELLED")

    def test_usr1_to_the_shell_stops_requeues_and_finishes(self):
        job = self.running("warned")
        with self.held(job, "warned"):
            LAB.run("scancel", "-b", "-s", "USR1", job)
        self.finishes_as_if_nothing_happened(job, "warned")

    def test_term_to_the_steps_stops_requeues_and_finishes(self):
        job = self.running("stopped")
        with self.held(job, "stopped"):
            LAB.run("scancel", "--signal=TERM", job)
        self.finishes_as_if_nothing_happened(job, "stopped")

    def test_preempted_jobs_requeue_and_finish(self):
        job = self.running("preempted")
        with self.held(job, "preempted"):
            urgent = LAB.run("sbatch", "--parsable", "-p", "urgent", "--nodes=2", "--ntasks-per-node=4", "--mem=100",
                             f"--output={FOLDER}/urgent.log", "--wrap", "true").strip()
        wait_for_state(urgent, "COMPLETED")
        self.finishes_as_if_nothing_happened(job, "preempted")

    def test_time_up_is_warned_of_and_the_next_start_goes_on(self):
        # Slurm counts in minutes and signals up to 60 s early: the job must be longer than that.
        (FOLDER / "long.toml").write_text('extends = "recipe.toml"\n[train]\nsteps = 10000000\neval_every = 0\n'
                                          "[checkpoint]\nevery = 1000000\n")
        job = submit("late", "--time=2", "--signal=B:USR1@110", recipe="long.toml")
        self.resume_now(job)
        stopped = saved_step("late")
        self.assertIn(f"stopped on request after step {stopped}", log("late"))
        wait_for(lambda: f"at step {stopped}\n" in log("late") and last_step("late") > stopped + 10, "it goes on")
        LAB.run("scancel", job)
        wait_for_state(job, "CANCELLED")
        wait_for(lambda: LAB.states() == {"idle"}, "the nodes are idle")

    def test_requeue_by_hand_goes_on(self):
        job = self.running("by_hand")
        with self.held(job, "by_hand"):
            LAB.run("scontrol", "requeue", job)
        self.finishes_as_if_nothing_happened(job, "by_hand")

    def test_a_lost_node_requeues_and_finishes(self):
        job = self.running("lost", step=60)
        self.assertEqual(LAB.job(job)["NodeList"], "node[1-2]")
        LAB.kill_node("node2")  # the batch shell is on the first node
        wait_for(lambda: int(LAB.job(job)["Restarts"]) >= 1 or LAB.job(job)["JobState"] == "PENDING", "requeued")
        LAB.start_node("node2")
        self.finishes_as_if_nothing_happened(job, "lost")

    def test_a_wrong_recipe_fails_with_its_code_and_is_not_requeued(self):
        (FOLDER / "bad.toml").write_text('extends = "recipe.toml"\n[optim]\nlr = -1.0\n')
        job = submit("wrong", recipe="bad.toml")
        found = wait_for_state(job, "FAILED")
        self.assertEqual(found["ExitCode"], "2:0")
        self.assertEqual(found["Restarts"], "0")
        self.assertRegex(log("wrong"), r"optim\.lr: must be > 0")

    def test_without_pmix_the_ranks_meet_by_themselves(self):
        own = FOLDER / "own.sbatch"
        own.write_text(TEMPLATE.read_text().replace(" --mpi=pmix", " --mpi=none"))
        (FOLDER / "own.toml").write_text('extends = "recipe.toml"\n[train]\nsteps = 20\n[run]\ndir = "own"\n')
        # The names of the lab's nodes mean nothing to this host.
        address = f"127.0.0.1:{free_ports(1)[0]}"
        job = LAB.run("sbatch", "--parsable", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=100",
                      f"--export=ALL,GRADWIRE_ADDRESS={address}", f"--output={FOLDER}/own.log",
                      f"--chdir={FOLDER}", own, "own.toml").strip()
        wait_for_state(job, "COMPLETED")
        self.assertIn("tcp, 2 ranks", log("own"))


def stop_at_once(*_):
    if "LAB" in globals():
        LAB.stop()
    os._exit(1)


if __name__ == "__main__":
    if os.geteuid() != 0:  # as Slurm's daemons are
        os.execvp("sudo", ["sudo", "-E", sys.executable, "-B", *sys.argv])
    signal.signal(signal.SIGTERM, stop_at_once)
    unittest.main(verbosity=2)

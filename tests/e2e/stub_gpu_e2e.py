"""Runs on GPUs that are none (tests/support/stub_cuda.cpp): the host never touches their memory, and
all that is not arithmetic works. Losses mean nothing here."""

from harness import *

STUB = os.environ["GRADWIRE_STUB_CUDA"]
ON_GPU = ('run.device="cuda"', "train.steps=30", "schedule.warmup_steps=2")
COMPRESSED = (*ON_GPU, "compress.least_gain=0", "optim.freeze_step=8")


class StubGpu(ProgramTest):
    def on_gpus(self, *arguments, gpus=1, ranks=1, settings=(), expect=0):
        launch = ("launch", "-n", str(ranks), "--") if ranks > 1 else ()
        words = [GRADWIRE, *launch, *arguments]
        for setting in settings:
            words += ["--set", setting]
        done = subprocess.run(words, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120,
                              env=dict(os.environ, LD_PRELOAD=STUB, STUB_GPUS=str(gpus)))
        self.assertEqual(done.returncode, expect, done.stdout[-4000:])
        return done.stdout

    def train_on_gpus(self, *settings, **how):
        return self.on_gpus("train", "recipe.toml", settings=settings, **how)

    def test_every_command_computes_there(self):
        out = self.train_on_gpus(*ON_GPU, "train.steps=20")
        self.assertRegex(out, r"(?m)^   0  \S+  cuda:0 \(stub, 16.0 GiB, compute capability 9.0\)")
        out = self.train_on_gpus(*ON_GPU)
        self.assertIn("at step 20", out)
        self.assertEqual(self.metrics()[-1]["step"], 30)
        self.on_gpus("eval", "recipe.toml", settings=ON_GPU)
        self.on_gpus("generate", "recipe.toml", "--prompt", "the ", "--tokens", "5", settings=ON_GPU)
        out = self.on_gpus("bench", "step", "recipe.toml", "--warmup", "1", "--steps", "2",
                           settings=ON_GPU)
        self.assertIn('"device":"cuda:0 (stub', out)
        self.assertIn("device          cuda:0 (stub",
                      self.on_gpus("train", "recipe.toml", "--dry-run", settings=ON_GPU))

    def test_what_one_rank_may_ask_for(self):
        for n, settings in enumerate((
                ('precision="bf16"', "model.dropout=0.1"), ("parallel.recompute=true",),
                ('optim.name="sgd"',), ('compress.method="ef"',), ('optim.name="onebit_adam"',),
                ('adapters.method="lora"', 'adapters.base="run-0"'))):
            with self.subTest(settings=settings):
                self.train_on_gpus(f'run.dir="run-{n}"', *COMPRESSED, *settings)

    def test_what_two_ranks_of_one_gpu_may_ask_for(self):
        pipeline = ("parallel.pipeline=2", 'parallel.stages="even"')
        for n, settings in enumerate((
                (), ("parallel.shard_optimizer=true",), ("train.replica_check_every=3",), pipeline,
                (*pipeline, 'parallel.boundary="bf16"', 'parallel.schedule="zero_bubble"'),
                ('compress.method="ef"', 'compress.codec="topk"'), ('compress.method="ef21"',),
                ('compress.method="econtrol"',), ('compress.method="powersgd"',),
                ('optim.name="onebit_adam"',), ('optim.name="zero_one_adam"',),
                ('optim.name="onebit_lamb"',))):
            with self.subTest(settings=settings):
                self.train_on_gpus(f'run.dir="run-{n}"', *COMPRESSED, *settings, ranks=2)

    def test_ranks_take_turns(self):
        out = self.train_on_gpus(*ON_GPU, "batch.global=12", gpus=2, ranks=3)
        for rank in range(3):
            self.assertRegex(out, rf"(?m)^   {rank}  \S+  cuda:{rank % 2} \(")

    def test_the_cpu_if_one_rank_has_no_gpu(self):
        rank = ["-n", "1", GRADWIRE, "train", "recipe.toml", "--set", 'run.device="auto"']
        with_gpu = ["-n", "1", "-x", f"LD_PRELOAD={STUB}", *rank[2:]]
        without = ["-n", "1", "-x", "CUDA_VISIBLE_DEVICES=", *rank[2:]]
        done = subprocess.run(MPIRUN + with_gpu + [":"] + without, cwd=self.dir,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:])
        self.assertIn("warning: all ranks use the CPU, since rank 1 has no GPU", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^   0  \S+  cpu  replica 0")


if __name__ == "__main__":
    unittest.main()

"""Timelines of a run, and the pictures made of them."""

import collections
import re
import xml.etree.ElementTree

from harness import *

SETS = ["parallel.pipeline=2", 'parallel.stages="even"', "batch.global=32", "train.steps=12", "log.trace_every=5"]


class Trace(ProgramTest):
    def trace(self, *args, expect=0):
        return self.run_program("trace", "run", *args, expect=expect)

    def actions(self, path):
        events = json.loads((self.dir / path).read_text())["traceEvents"]
        return collections.Counter(
            (e["tid"], e["name"]) for e in events if e["ph"] == "X" and e["cat"] != "step")

    def test_two_stages(self):
        self.train(*SETS, 'parallel.schedule="zero_bubble"', ranks=2)
        out = self.trace()
        self.assertRegex(out, r"step 10: bubble \d+\.\d %; \d+\.\d % by a dry run")
        micros = range(8)
        expected = [(s, f"{s}{act}{m}") for s in (0, 1) for act in "FIW" for m in micros]
        expected += [(0, f"0F{m}>") for m in micros] + [(1, f">0F{m}") for m in micros]
        expected += [(1, f"1B{m}>") for m in micros] + [(0, f">1B{m}") for m in micros]
        expected += [(0, "0R"), (1, "1R"), (0, "0T"), (1, "1T")]
        self.assertEqual(self.actions("run/trace.json"), collections.Counter(expected))
        names = {e["name"] for e in json.loads((self.dir / "run/trace.json").read_text())["traceEvents"]}
        self.assertLessEqual({"gradients", "agreement", "update"}, names)

        picture = xml.etree.ElementTree.parse(self.dir / "run/trace.svg")
        texts = [t.text for t in picture.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("rank 0", texts)
        self.assertIn("rank 1", texts)
        measured = re.search(r"bubble \d+\.\d %", out).group()
        self.assertIn(measured, texts)

    def test_replicas_and_a_chosen_step(self):
        self.train(*SETS, "parallel.chunks=2", 'parallel.schedule="interleaved"', ranks=4)
        out = self.trace("--step", "5", "--out", "picture")
        self.assertIn("step 5: ", out)
        computing = [key for key in self.actions("picture.json") if ">" not in key[1] and key[1][1] in "FB"]
        # 4 stages, 4 micro-batches, forward and backward, 2 replicas.
        self.assertEqual(len(computing), 4 * 4 * 2 * 2)
        self.assertEqual({rank for rank, _ in computing}, {0, 1, 2, 3})
        xml.etree.ElementTree.parse(self.dir / "picture.svg")

    def test_what_is_missing_or_damaged_is_exit_3(self):
        out = self.trace(expect=3)
        self.assertIn("log.trace_every", out)
        self.train(*SETS, ranks=2)
        out = self.trace("--step", "4", expect=3)
        self.assertIn("5, 10", out)
        second = self.dir / "run" / "trace" / "rank-00001.jsonl"
        lines = second.read_text().splitlines(keepends=True)
        second.write_text(lines[0] + lines[1].replace("1F0", "1F1", 1) + lines[2])
        self.assertIn("rank-00001.jsonl:2: ", self.trace(expect=3))
        second.unlink()
        self.assertIn("rank-00001.jsonl: missing", self.trace(expect=3))


if __name__ == "__main__":
    unittest.main()

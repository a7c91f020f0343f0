"""What `gradwire export` writes, in transformers and PEFT: peft_test.py GRADWIRE DECODER_LOGITS TOKEN_IDS.

Small models and adapters on one of them are trained here. transformers loads the Hugging Face folder, and
PEFT the adapter's folder (LoRA, rsLoRA, DoRA, IA3) on top of it; log-probabilities of all tokens after
each prompt are compared with our own forward, of the model with the adapter merged. Token ids are compared
with ours, of texts that do not begin with a space: version 5 of transformers leaves that space out. Needs the packages of
bench/peer_requirements.txt and of peft_requirements.txt.
"""
import os
import subprocess
import sys
import tempfile

import numpy
import peft
import torch
import transformers

import tokenizer_texts
from trained_models import PROMPTS, TrainedModels, corpus

MOST = 1e-4


def log_probs(model):
    rows = []
    with torch.no_grad():
        for ids in PROMPTS:
            rows.append(torch.log_softmax(model(torch.tensor([ids])).logits[0, -1].double(), -1).numpy())
    return numpy.array(rows)


class Test(TrainedModels):
    def load(self, run="base"):
        return transformers.AutoModelForCausalLM.from_pretrained(self.export(run, "hf"), dtype=torch.float32).eval()

    def compare(self, name, got, run):
        worst = numpy.abs(got - self.ours(self.export(run, "hf"))[0]).max()
        self.failed += not worst <= MOST
        print(f"{name:34} {worst:.1e} in log-probabilities (at most {MOST:.0e})  {'' if worst <= MOST else 'FAILED'}")


    def vocabulary(self, token_ids):
        folder = self.export("base", "hf")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        lines = corpus().splitlines()[:200] + [t for t in tokenizer_texts.texts(2000) if not t.startswith(" ")]
        done = subprocess.run([token_ids, str(folder / "tokenizer.model")], check=True, stdout=subprocess.PIPE,
                              input="".join(line.encode().hex() + "\n" for line in lines).encode())
        ours = [list(map(int, out.split("|")[0].split())) for out in done.stdout.decode().splitlines()]
        assert len(ours) == len(lines)
        wrong = sum(tokenizer(line, add_special_tokens=False).input_ids != ids for line, ids in zip(lines, ours))
        self.failed += wrong
        print(f"{'tokenizer.model: transformers':34} {len(lines)} lines, {wrong} differ")


def main(program, logits, token_ids):
    with tempfile.TemporaryDirectory() as folder:
        test = Test(os.path.abspath(program), os.path.abspath(logits), folder)
        test.compare("base: transformers", log_probs(test.load()), "base")
        test.vocabulary(os.path.abspath(token_ids))
        test.train("untied", "model.tie_embeddings=false")
        test.compare("untied: transformers", log_probs(test.load("untied")), "untied")
        for run in test.train_adapters():
            alone = log_probs(test.load())
            adapted = log_probs(peft.PeftModel.from_pretrained(test.load(), test.export(run, "peft")).eval())
            assert numpy.abs(adapted - alone).max() > 0.1, f"{run}: the adapter does nothing"
            test.compare(f"{run}: PEFT on the base", adapted, run)
            test.compare(f"{run}: merged, transformers", log_probs(test.load(run)), run)
    return 1 if test.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

#!/usr/bin/env python3
"""Writes conversations as tokens: templates rendered by Jinja as transformers does, encoded by tokenizers.

Usage: make_chats.py, with the packages of tests/engines/requirements.txt, after make_tokenizers.py. Writes
into its own folder: chat.json, a vocabulary, and chats.json: [{"template", "messages", "asks", "ids"}, ...].
"""
import json
import pathlib

import jinja2
import jinja2.sandbox
import tokenizers

HERE = pathlib.Path(__file__).resolve().parent
MARKS = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<s>", "</s>"]

# The formats, each in another spelling than the models' files have.
CHAT_ML = """{%- for message in messages -%}
    {{- "<|im_start|>" + message.role + "\\n" + message.content + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\\n" -}}
{%- endif -%}
"""
CHAT_ML_BLOCKS = """{% for message in messages %}
  {% if loop.first and messages[0]['role'] != 'system' %}
<|im_start|>system
Be kind, it's free.<|im_end|>
  {% endif %}
<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}{# and then #}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}"""
LLAMA3 = ("{% set loop_messages = messages %}{% for message in loop_messages %}"
          "{% set content = \"<|start_header_id|>\" + message.role + \"<|end_header_id|>\\n\\n\" + message.content|trim"
          " + \"<|eot_id|>\" %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
          "{{ content }}{% endfor %}{% if add_generation_prompt %}"
          "{{ '<|start_header_id|>' + 'assistant<|end_header_id|>\\n\\n' }}{% endif %}")
LLAMA2 = ("{%- if messages[0]['role'] == 'system' -%}{% set loop_messages = messages[1:] %}"
          "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
          "{% set system_message = false %}{%- endif -%}{%- for message in loop_messages -%}"
          "{% if loop.index0 == 0 and system_message != false %}{% set content = \"<<SYS>>\\n\" + system_message"
          " + \"\\n<</SYS>>\\n\\n\" + message['content'] %}{% else %}{% set content = message.content %}{% endif %}"
          "{% if message.role == 'user' %}{{ bos_token }}[INST] {{ content.strip() }} [/INST]"
          "{% elif message.role == 'assistant' %}{{ \" \" + content.strip() + ' ' + eos_token }}{% endif %}"
          "{%- endfor -%}")

SAID = [
    [("user", "Hello there")],
    [("system", "You answer in rhymes."), ("user", " What's 2+2?\n"), ("assistant", "It's 4.\n\n")],
    [("user", "caf\u00e9 \u00b7 12"), ("assistant", " \u00a0yes,\ttrue"), ("user", ""), ("assistant", "a\n<b>"),
     ("user", "Bye")],
]


def render(template, messages, asks):
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        messages=messages, add_generation_prompt=asks, bos_token="<s>", eos_token="</s>")


def main():
    made = tokenizers.Tokenizer.from_file(str(HERE / "smollm.json"))
    made.add_special_tokens(MARKS)
    made.save(str(HERE / "chat.json"), pretty=False)
    out = []
    for template in (CHAT_ML, CHAT_ML_BLOCKS, LLAMA3, LLAMA2):
        for said in SAID:
            messages = [{"role": role, "content": content} for role, content in said]
            for asks in (False, True):
                text = render(template, messages, asks)
                ids = made.encode(text, add_special_tokens=False).ids
                out.append({"template": template, "messages": messages, "asks": asks, "ids": ids})
    (HERE / "chats.json").write_text("[\n" + ",\n".join(map(json.dumps, out)) + "\n]\n")


if __name__ == "__main__":
    main()

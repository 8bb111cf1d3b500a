"""Python's TextFSM and ours on the same recorded outputs: the processor's time with templates that are compiled, and the
whole of it from the texts of the templates on. Arguments: the binary, the cases, the folder of the templates."""

import json
import os
import subprocess
import sys
import time

import textfsm

binary, cases, templates = sys.argv[1:]
loaded = [json.loads(line) for line in open(cases)]


def ours():
    done = subprocess.run(
        [binary, "textfsm", "check", "--cases", cases, "--templates", templates], capture_output=True, text=True
    )
    return json.loads(done.stdout)


def theirs():
    """CPU seconds for compiling every template that is met, and for parsing with them."""
    compiled, parsing, compiling = {}, 0.0, 0.0
    for case in loaded:
        for name in case["template"].split(":"):
            started = time.process_time()
            if name not in compiled:
                with open(os.path.join(templates, "templates", name)) as text:
                    compiled[name] = textfsm.TextFSM(text)
            between = time.process_time()
            machine = compiled[name]
            machine.Reset()
            try:
                machine.ParseText(case["raw"])
            except textfsm.TextFSMError:
                pass
            parsing += time.process_time() - between
            compiling += between - started
    return compiling, parsing


print(f"    {len(loaded)} recorded outputs; our time includes finding the template by platform and command")
warm, cold = [], []
for _ in range(3):
    mine, (compiling, parsing) = ours(), theirs()
    warm.append(parsing / mine["cpu_s"])
    cold.append((compiling + parsing) / mine["cold_cpu_s"])
    print(
        f"    warm: Python {parsing:.3f} s, portcullis {mine['cpu_s']:.3f} s;"
        f" cold: Python {compiling + parsing:.3f} s, portcullis {mine['cold_cpu_s']:.3f} s"
    )
print(f"    Python takes {sorted(warm)[1]:.1f} times as much warm (goal 8) and {sorted(cold)[1]:.1f} times cold")
if sorted(warm)[1] < 8:
    raise SystemExit("missed: TextFSM, warm")

"""A program that stands where TensorFlow Lite's ``benchmark_model`` would.

It obeys the flags that edgenas gives and prints the lines that the tool's sources write, with
figures that follow from the model file's size. It runs no model.
"""

import sys
from pathlib import Path

SCRIPT = """#!{python}
import json, os, signal, sys
flags = dict(word[2:].split("=", 1) for word in sys.argv[1:])
with open({log!r}, "a") as log:
    log.write(json.dumps({{**flags, "cpus": sorted(os.sched_getaffinity(0)),
                           "stdin": sys.stdin.read()}}) + chr(10))
size = os.path.getsize(flags["graph"])
us = max(size // 10, 10)
print("INFO: STARTING!")
print("INFO: Graph: [%s]" % flags["graph"])
{misbehave}
print("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.")
print("INFO: The input model file size (MB): %g" % (size / 1e6))
print("INFO: Initialized session in %gms." % (us / 100))
for name, runs in (("warmup", 5), ("regular", int(flags["num_runs"]))):
    print("INFO: Running benchmark for at least %d iterations" % runs)
    print("INFO: count=%d first=%d curr=%d min=%d max=%d avg=%g std=%d{percentiles}"
          % (runs, 3 * us, us, us - 1, 3 * us, us + 0.5, 2), flush=True)
print("INFO: Inference timings in us: Init: %d, First inference: %d, Warmup (avg): %g, "
      "Inference (avg): %g" % (us * 10, 3 * us, us + 0.5, us + 0.5))
print("INFO: Memory footprint delta from the start of the tool (MB): init=1.5 overall=2.25")
if flags["report_peak_memory_footprint"] == "true":
    print("INFO: Overall peak memory footprint (MB) via periodic monitoring: 7.5")
if "profiling_output_csv_file" in flags:
    assert flags["enable_op_profiling"] == "true"
    with open(flags["profiling_output_csv_file"], "w") as csv:
        csv.write({csv!r})
"""

CSV = """\
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
AllocateTensors, 0.03, 0.03, 100%, 100%, 0, 1, AllocateTensors/0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0.11, 0.093, 75%, 75%, 0, 1, [model/conv2d, with a comma]:0
SOFTMAX, 0.034, 0.031, 25%, 100%, 0, 1, [model/softmax]:1

============================== Top by Computation Time ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0.11, 0.093, 75%, 75%, 0, 1, [model/conv2d, with a comma]:0

Number of nodes executed: 2
"""


def put_program(
    folder: Path, *, percentiles: bool = True, misbehave: str = "", csv: str = CSV
) -> tuple[Path, Path]:
    """Writes the program and returns it with the file in which it notes every call's flags.

    Args:
        folder: Where to put it.
        percentiles: Whether to print them, as newer builds do.
        misbehave: Python lines to run after the model's name is printed.
        csv: The profile that it writes when asked for one.
    """
    program, log = folder / "benchmark_model", folder / "calls"
    more = " p5=%d median=%d p95=%d" if percentiles else ""
    text = SCRIPT.format(
        python=sys.executable, log=str(log), misbehave=misbehave, percentiles=more, csv=csv
    )
    if percentiles:
        text = text.replace("us + 0.5, 2), flush", "us + 0.5, 2, us - 1, us, 2 * us), flush")
    program.write_text(text)
    program.chmod(0o755)
    return program, log

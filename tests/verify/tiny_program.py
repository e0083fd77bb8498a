"""A program of another language, as it were: it answers the tiny suite with nothing but the standard library, or misbehaves as it is told.

    python tiny_program.py HOW          through a pipe; HOW is "right", or a misbehaviour, shown at floor/halves or at the start or end
    python tiny_program.py HOW DIR      through files
"""

import json
import math
import os
import signal
import struct
import subprocess
import sys
import time

HOW = sys.argv[1]
FORMATS = {"F32": "f", "F64": "d", "I64": "q"}


def read(path):
    """Arrays of a safetensors file: name -> (shape, flat list)."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        numbers = file.read()
    return {name: (told["shape"], list(struct.unpack(f"<{math.prod(told['shape'])}{FORMATS[told['dtype']]}",
                                                     numbers[slice(*told["data_offsets"])]))) for name, told in header.items()}


def write(path, arrays):
    """name -> (dtype, shape, flat list), to a safetensors file."""
    header, numbers = {}, b""
    for name, (dtype, shape, values) in arrays.items():
        packed = struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(numbers), len(numbers) + len(packed)]}
        numbers += packed
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + numbers)


def compute(request, inputs):
    """The outputs."""
    settings, shapes = request["settings"], request["shapes"]
    if request["operation"] == "powers":
        return {"output": ("F64", shapes["output"], [0.5 ** k for k in range(settings["count"])])}
    x = inputs["x"][1]
    if request["operation"] == "floor":
        return {"output": ("I64", shapes["output"], [math.floor(v) for v in x])}
    outputs = {"output": ("F32", shapes["output"], [settings["factor"] * v for v in x])}
    if "x" in request["gradients"]:
        outputs["grad.x"] = ("F32", shapes["grad.x"], [settings["factor"] * v for v in inputs["cotangent"][1]])
    return outputs


def say(message):
    """A line, at once."""
    sys.stdout.write(message if isinstance(message, str) else json.dumps(message) + "\n")
    sys.stdout.flush()


def misbehave(request):
    """What it does instead of answering, or before; returns whether it has answered."""
    answer = {"seq": request["seq"], "status": "done"}
    if HOW == "crashes":
        sys.stderr.write("out of paper\n")
        sys.stderr.flush()
        os._exit(7)
    elif HOW == "is killed":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif HOW == "hangs":
        time.sleep(600)
    elif HOW == "hangs with a child":
        child = subprocess.Popen(["sleep", "600"])
        sys.stderr.write(f"child {child.pid}\n")
        sys.stderr.flush()
        time.sleep(600)
    elif HOW == "chats":
        say("loading weights...\n")
        return False
    elif HOW == "is binary":
        sys.stdout.buffer.write(b"\xff\xfe\x00\n")
        return False
    elif HOW == "nests":
        say("[" * 60000 + "\n")
    elif HOW == "miscounts":
        say({**answer, "seq": request["seq"] + 1})
    elif HOW == "is long-winded":
        say({**answer, "x": "x" * 70000})
    elif HOW == "floods":
        while True:
            say("y\n")
    elif HOW == "stops short":
        say('{"seq": ')
        os._exit(0)
    elif HOW == "closes":
        os.close(1)
        time.sleep(600)
    elif HOW == "writes nothing":
        say(answer)
    elif HOW == "writes junk":
        with open(request["outputs"], "wb") as file:
            file.write(b"junk")
        say(answer)
    elif HOW == "writes much":
        with open(request["outputs"], "wb") as file:
            file.truncate(10**8)
        say(answer)
    elif HOW == "writes bfloat16":
        text = b'{"output": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}'
        with open(request["outputs"], "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + bytes(6))
        say(answer)
    elif HOW == "skips":
        say({**answer, "status": "skipped", "reason": "no floors here"})
    elif HOW == "skips silently":
        say({**answer, "status": "skipped"})
    elif HOW == "fails":
        say({**answer, "status": "error", "context": "the floor is wet"})
    elif HOW == "improvises":
        say({**answer, "status": "fine"})
    else:
        return False
    return True


def answer(request):
    """One task through the pipe."""
    if request["case"] == "floor/halves" and misbehave(request):
        return
    write(request["outputs"], compute(request, read(request["inputs"])))
    say({"seq": request["seq"], "status": "done"})


def greet():
    """The answer to "start"."""
    if HOW == "never starts":
        sys.stderr.write("no licence\n")
        sys.exit(3)
    if HOW == "is silent":
        time.sleep(600)
    say({"version": 0 if HOW == "is old" else 1, "implementation": {} if HOW == "is nameless" else {"name": "tiny", "language": "Python"}})


def through_a_pipe():
    """Requests from stdin, answers to stdout; the first must be "start"."""
    for number, text in enumerate(sys.stdin):
        request = json.loads(text)
        if (request["cmd"] == "start") != (number == 0):
            sys.exit(9)
        if request["cmd"] == "stop":
            if HOW == "stays":
                time.sleep(600)
            sys.exit(5 if HOW == "ends badly" else 0)
        (greet if request["cmd"] == "start" else lambda request=request: answer(request))()


def through_files(folder):
    """All tasks of a folder; with "told", answers.jsonl, too."""
    lines = []
    with open(f"{folder}/tasks.jsonl") as file:
        for text in file:
            request = json.loads(text)
            write(f"{folder}/{request['outputs']}", compute(request, read(f"{folder}/{request['inputs']}")))
            lines.append(json.dumps({"case": request["case"], "status": "done"}) + "\n")
    if HOW == "told":
        with open(f"{folder}/answers.jsonl", "w") as file:
            file.writelines(lines)


if __name__ == "__main__":
    through_files(sys.argv[2]) if len(sys.argv) > 2 else through_a_pipe()

"""A tool server that speaks lines and does what its argument says. `well` behaves."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

HOW = sys.argv[1]
LOCK = threading.Lock()
COUNT = itertools.count(1)


def raw(data):
    with LOCK:
        while data:
            data = data[os.write(1, data[: 1 << 16]) :]


def send(message):
    raw(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def answer(call, words):
    send({"id": call, "result": {"content": [{"type": "text", "text": words}]}})


def sleeper(**more):
    return subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more)


def later(seconds, do, *arguments):
    timer = threading.Timer(seconds, do, arguments)
    timer.daemon = True
    timer.start()


def well(call, arguments):
    words = "%s|%d" % (arguments.get("text", ""), next(COUNT))
    later(arguments.get("ms", 0) / 1000, answer, call, words)


def misbehave(call, arguments, meta):
    n = arguments["n"]
    good = f"{HOW} {n}"
    whole = {"jsonrpc": "2.0", "id": call, "result": {"content": [{"type": "text", "text": good}]}}
    line = json.dumps(whole).encode() + b"\n"
    if HOW == "silent":
        return
    elif HOW == "late":
        return later(5.0 if n == 1 else 2.5, answer, call, good)
    elif HOW == "foreign_id":
        return send({"id": "nobody", "result": {"content": []}})
    elif HOW == "id_as_text":
        return answer(str(call), good)
    elif HOW == "no_id":
        return send({"result": {"content": []}})
    elif HOW == "twice":
        raw(line + line)
        return
    elif HOW == "garbage":
        raw(b"\x00\xff\xfe garbage\n{]\n[]\n\n\r\nnull\n")
    elif HOW == "endless_line":
        for _ in range(16_384):
            raw(b"x" * 65_536)
        return
    elif HOW == "byte_a_second":
        for byte in line:
            raw(bytes([byte]))
            time.sleep(1)
        return
    elif HOW == "half_close":
        os.close(1)
        time.sleep(300)
    elif HOW == "exits_in_call":
        os._exit(3)
    elif HOW == "killed_in_call":
        os.kill(os.getpid(), signal.SIGKILL)
    elif HOW == "stops":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif HOW == "forks":
        for _ in range(100):
            sleeper()
    elif HOW == "orphan":
        sleeper(start_new_session=True)
        subprocess.run(["sh", "-c", "setsid sh -c 'sleep 300 & sleep 300' >/dev/null 2>&1 &"])
    elif HOW == "descriptors":
        held = []
        try:
            while len(held) < 100_000:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        answer(call, good)
        return [os.close(fd) for fd in held]
    elif HOW == "stderr_flood":
        for _ in range(64):
            os.write(2, b"no\n" * 21_845)
        os.write(2, b"no newline" * 200_000)
    elif HOW == "storm":
        for _ in range(200):
            raw(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n' * 100)
    elif HOW == "large":
        good += "x" * 50_000_000
    elif HOW == "deep":
        return raw(b'{"jsonrpc":"2.0","id":%d,"result":' % call + b"[" * 500_000 + b"]" * 500_000 + b"}\n")
    elif HOW == "not_utf8":
        return raw(line.replace(b"not_utf8", b"\xff\xfe"))
    elif HOW == "key_twice":
        return raw(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[]},"result":{"content":[1]}}\n' % call)
    elif HOW == "no_result":
        return send({"id": call})
    elif HOW == "both":
        return send({"id": call, "result": {"content": []}, "error": {"code": 1, "message": "x"}})
    elif HOW == "batch":
        return raw(b"[" + line.strip() + b"]\n")
    elif HOW == "asks_much":
        for i in range(20_000):
            send({"id": f"q{i}", "method": "ping"})
    elif HOW == "answers_much":
        for i in range(20_000):
            send({"id": i + 1_000_000, "result": {}})
    elif HOW == "progress_of_others":
        for i in range(20_000):
            send({"method": "notifications/progress", "params": {"progressToken": i, "progress": i}})
        return
    elif HOW == "progress_for_ever":
        token = meta.get("progressToken")
        for i in itertools.count(1):
            send({"method": "notifications/progress", "params": {"progressToken": token, "progress": i}})
            time.sleep(0.05)
    elif HOW == "large_error":
        return send({"id": call, "error": {"code": -32_603, "message": "x" * 3_000_000}})
    answer(call, good)


def listed():
    names = ["say", "same"] if HOW == "well" else ["do"]
    return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}


if HOW == "exits_at_start":
    sys.exit(3)
if HOW == "does_not_end":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if HOW == "well":
    sleeper()
for text in sys.stdin:
    message = json.loads(text)
    call, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if HOW == "exits_at_" + str(method).replace("/", "_"):
        os._exit(3)
    if method == "initialize":
        told = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}}}
        send({"id": call, "result": {**told, "serverInfo": {"name": HOW, "version": "1"}}})
    elif method == "tools/list":
        send({"id": call, "result": listed()})
    elif method == "tools/call":
        arguments = params.get("arguments") or {}
        if HOW == "well":
            well(call, arguments)
        else:
            misbehave(call, arguments, params.get("_meta") or {})
    elif method == "ping":
        send({"id": call, "result": {}})
while HOW == "does_not_end":
    time.sleep(300)

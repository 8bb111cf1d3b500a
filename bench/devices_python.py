"""netmiko, scrapli and portcullis on the same emulated devices: commands on many of them, each connection new.

Arguments: the binary. One process of the binary is the devices; another one, or Python, asks them. Needs the packages
netmiko and scrapli. Ends with 1 where a goal is missed.
"""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

logging.disable(logging.CRITICAL)
BINARY = os.path.abspath(sys.argv[1])
PORT = 24_000 + os.getpid() % 1000
COMMANDS = ["show version", "show ip interface brief", "show interfaces", "show ip route", "show running-config"]
HOSTS = [f"127.0.77.{n}" for n in range(1, 201)]
HOME = tempfile.mkdtemp(prefix="portcullis-bench-")
ROLES = "principals: { bench: { kind: machine, owner: bench, roles: [all] } }\nroles: { all: { allow: ['*'] } }\n"
KEY = "sk_bench_" + "0123456789abcdef" * 2


def serve(name, text):
    """Starts the binary with a configuration and waits until it takes calls."""
    folder = os.path.join(HOME, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "p.yaml"), "w") as file:
        file.write("data_dir: data\n" + ROLES + text)
    command = [BINARY, "serve", "p.yaml", "--json", "--listen", "127.0.0.1:0"]
    environment = {**os.environ, "BENCH_KEY": KEY, "BENCH_PASSWORD": "lab"}
    log = open(os.path.join(folder, "log"), "w")
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
    # Its log goes to standard output too; the line with the address is the one that it is ready at.
    for line in process.stdout:
        if '"url"' in line:
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return process, json.loads(line)["url"]
    raise SystemExit(f"it did not start: {open(log.name).read()}")


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait()


def inventory(count, at_once):
    text = "bootstrap: { keys: [{ label: bench, principal: bench, secret: '${BENCH_KEY}', rate_per_minute: 100000 }] }\n"
    text += f"devices:\n  known_hosts: {HOME}/lab/known_hosts\n  devices_at_once_max: {at_once}\n"
    text += "  logins: { lab: { user: lab, password: '${BENCH_PASSWORD}', enable: '${BENCH_PASSWORD}' } }\n  inventory:\n"
    for n in range(count):
        text += f"    d{n}: {{ host: {HOSTS[n]}, port: {PORT}, platform: cisco_ios, login: lab }}\n"
    return text


def ours(count, workers, again=False):
    process, url = serve(f"client-{time.time()}", inventory(count, workers))
    body = json.dumps({"devices": ["*"], "commands": COMMANDS}).encode()

    def ask():
        request = urllib.request.Request(url + "/v1/mcp/run_show_commands", body, {"Authorization": "Bearer " + KEY})
        started = time.time()
        answer = json.load(urllib.request.urlopen(request))
        took = time.time() - started
        assert answer["successful"] == count, answer["results"][0]
        return took

    took = ask()
    if again:
        took = ask()
    stop(process)
    return took


def post(url, tool, arguments):
    request = urllib.request.Request(f"{url}/v1/mcp/{tool}", json.dumps(arguments).encode(), {"Authorization": "Bearer " + KEY})
    return json.load(urllib.request.urlopen(request))


class Line:
    """A line to a device that takes so many seconds each way, whatever is sent on it."""

    def __init__(self, host, port, each_way):
        self.target, self.each_way, self.loop = (host, port), each_way, asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self.join, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    async def join(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        await asyncio.gather(self.carry(reader, far_writer), self.carry(far_reader, writer))

    async def carry(self, reader, writer):
        while data := await reader.read(65536):
            self.loop.call_later(self.each_way, writer.write, data)
        self.loop.call_later(self.each_way, writer.close)


def command_over(line, ask, many=50):
    """What one command more takes on a session that is open, in ms."""
    ask(1)
    few, all_of_them = ask(1), ask(1 + many)
    return (all_of_them - few) / many * 1000


def round_trips():
    """One command on a line of 20 ms there and back: ours and netmiko's; the floor is 20 ms."""
    from netmiko import ConnectHandler

    line = Line(HOSTS[0], PORT, 0.010)
    # Trusted as the devices are, under the address of the line.
    key = open(f"{HOME}/lab/known_hosts").readline().split(" ", 1)[1]
    with open(f"{HOME}/line_hosts", "w") as file:
        file.write(f"[127.0.0.1]:{line.port} {key}")
    text = inventory(0, 10).replace(f"{HOME}/lab/known_hosts", f"{HOME}/line_hosts")
    text += f"    far: {{ host: 127.0.0.1, port: {line.port}, platform: cisco_ios, login: lab }}\n"
    process, url = serve("far", text)

    def ours(count):
        started = time.time()
        answer = post(url, "query_device", {"device_ip": "far", "commands": ["show clock"] * count})
        assert answer["status"] == "success", answer
        return time.time() - started

    device = ConnectHandler(device_type="cisco_ios", host="127.0.0.1", port=line.port, username="lab", password="lab")

    def theirs(count):
        started = time.time()
        for _ in range(count):
            device.send_command("show clock")
        return time.time() - started

    pairs = [(command_over(line, lambda n: ours(min(n, 50)), 49), command_over(line, theirs, 20)) for _ in range(3)]
    my, their = (median([pair[side] for pair in pairs]) for side in (0, 1))
    print(f"    one command on a line of 20 ms: {my:.1f} ms (goal 26), netmiko {their:.1f} ms; {their / my:.1f} times as long")
    hold("one command on a line of 20 ms", my <= 26)
    device.disconnect()
    stop(process)


def idle_sessions():
    """How much memory 500 sessions take that wait for their next command."""
    text = inventory(200, 200).replace("  logins:", "  sessions_per_device_max: 3\n  logins:")
    process, url = serve("idle", text)

    def resident():
        status = open(f"/proc/{process.pid}/status").read()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    before = resident()
    # Three at a time on each, each asking something else, so that none shares the others' read.
    asks = [{"devices": ["*"], "commands": [command] * 20} for command in ("show clock", "show version", "show users")]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda ask: post(url, "run_show_commands", ask), asks))
    def sessions():
        request = urllib.request.Request(url + "/health/detailed", headers={"Authorization": "Bearer " + KEY})
        return json.load(urllib.request.urlopen(request))["checks"]["device_connectivity"].get("idle_sessions", 0)

    # Health is looked at every ten seconds.
    waited = time.time()
    while sessions() < 400 and time.time() - waited < 40:
        time.sleep(1)
    sessions = sessions()
    more = resident() - before
    print(f"    {sessions} idle sessions take {more:.0f} MiB more than none: {more / sessions * 500:.0f} MiB for 500 (goal 100)")
    hold("500 idle sessions", sessions >= 400 and more / sessions * 500 <= 100)
    stop(process)


def netmiko(count, workers):
    from netmiko import ConnectHandler

    def one(host):
        device = ConnectHandler(
            device_type="cisco_ios", host=host, port=PORT, username="lab", password="lab", secret="lab", conn_timeout=30
        )
        device.enable()
        outputs = [device.send_command(command, read_timeout=60) for command in COMMANDS]
        device.disconnect()
        return len(outputs)

    started = time.time()
    with ThreadPoolExecutor(workers) as pool:
        assert sum(pool.map(one, HOSTS[:count])) == count * len(COMMANDS)
    return time.time() - started


def scrapli(count, workers):
    from scrapli import AuthOptions, Cli
    from scrapli.auth import LookupKeyValue
    from scrapli.transport import Ssh2Options

    async def one(host, places):
        async with places:
            auth = AuthOptions(username="lab", password="lab", lookups=[LookupKeyValue(key="enable", value="lab")])
            device = Cli(
                definition_file_or_name="cisco_iosxe", host=host, port=PORT, auth_options=auth, transport_options=Ssh2Options()
            )
            await device.open_async()
            for command in COMMANDS:
                await device.send_input_async(input_=command)
            await device.close_async()

    async def all_of_them():
        places = asyncio.Semaphore(workers)
        await asyncio.gather(*[one(host, places) for host in HOSTS[:count]])

    started = time.time()
    asyncio.run(all_of_them())
    return time.time() - started


MISSED = []


def hold(what, holds):
    """Notes a goal that is missed."""
    if not holds:
        MISSED.append(what)


def median(times):
    return sorted(times)[len(times) // 2]


def compare(what, mine, theirs, goal):
    pairs = [(mine(), theirs()) for _ in range(3)]
    ratio = median([their / my for my, their in pairs])
    told = ", ".join(f"{their:.2f} s to {my:.2f} s" for my, their in pairs)
    print(f"    {what}: {told}; {ratio:.1f} times as long (goal {goal})", flush=True)
    hold(what, ratio >= goal)


lab = f"lab: {{ network: {{ count: 200, port: {PORT}, vendors: [cisco_ios], known_hosts: known_hosts }} }}\n"
devices, _ = serve("lab", lab)
try:
    compare("netmiko, 50 devices, 5 commands, 10 workers, cold", lambda: ours(50, 10), lambda: netmiko(50, 10), 8)
    compare("scrapli, 50 devices, 5 commands, 10 workers, cold", lambda: ours(50, 10), lambda: scrapli(50, 10), 3)
    compare("netmiko, 200 devices, 5 commands, 50 workers, cold", lambda: ours(200, 50), lambda: netmiko(200, 50), 3)
    print(f"    portcullis, 200 devices, 5 commands, sessions that were there: {ours(200, 50, again=True):.2f} s")
    round_trips()
    idle_sessions()
finally:
    stop(devices)
if MISSED:
    raise SystemExit("missed: " + "; ".join(MISSED))

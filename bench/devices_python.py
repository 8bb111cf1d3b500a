"""netmiko, scrapli and portcullis on the same emulated devices: commands on many of them, each connection new.

Arguments: the binary. One process of the binary is the devices; another one, or Python, asks them. Needs the packages
netmiko and scrapli.
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


def median(times):
    return sorted(times)[len(times) // 2]


def compare(what, mine, theirs, goal):
    pairs = [(mine(), theirs()) for _ in range(3)]
    ratio = median([their / my for my, their in pairs])
    told = ", ".join(f"{their:.2f} s to {my:.2f} s" for my, their in pairs)
    print(f"    {what}: {told}; {ratio:.1f} times as long (goal {goal})", flush=True)


lab = f"lab: {{ network: {{ count: 200, port: {PORT}, vendors: [cisco_ios], known_hosts: known_hosts }} }}\n"
devices, _ = serve("lab", lab)
try:
    compare("netmiko, 50 devices, 5 commands, 10 workers, cold", lambda: ours(50, 10), lambda: netmiko(50, 10), 8)
    compare("scrapli, 50 devices, 5 commands, 10 workers, cold", lambda: ours(50, 10), lambda: scrapli(50, 10), 3)
    compare("netmiko, 200 devices, 5 commands, 50 workers, cold", lambda: ours(200, 50), lambda: netmiko(200, 50), 3)
    print(f"    portcullis, 200 devices, 5 commands, sessions that were there: {ours(200, 50, again=True):.2f} s")
finally:
    stop(devices)

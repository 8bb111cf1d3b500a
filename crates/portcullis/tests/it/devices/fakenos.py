"""Starts a device of every platform of FakeNOS and prints, for each, its port, a command and what it should print."""
import glob, json, logging, os, signal, sys, threading
import yaml
import fakenos
from fakenos.plugins.nos import nos_plugins

logging.disable(logging.CRITICAL)
base = int(sys.argv[1])
files = os.path.join(os.path.dirname(fakenos.__file__), "plugins/nos/platforms_yaml")


def case(platform):
    """A command of a platform whose output is worth comparing: one that shows, where there is one."""
    with open(os.path.join(files, platform + ".yaml")) as file:
        commands = yaml.safe_load(file)["commands"]
    usable = [
        (command, said["output"])
        for command, said in commands.items()
        if isinstance(said, dict) and isinstance(said.get("output"), str) and len(said["output"]) > 20 and "{" not in command
    ]
    # One of them is answered by code that makes up its numbers.
    usable = [one for one in usable if (platform, one[0]) != ("huawei_smartax", "display board")]
    shows = [one for one in usable if one[0].split()[0] in ("show", "display", "get")]
    return (shows or usable)[0]


platforms = [p for p in sorted(nos_plugins) if p != "base_template"]
hosts = {p.replace("_", "-"): {"platform": p, "port": base + i} for i, p in enumerate(platforms)}
net = fakenos.FakeNOS(inventory={"default": {"username": "user", "password": "user"}, "hosts": hosts})
net.start()
told = {}
for name, host in hosts.items():
    command, output = case(host["platform"])
    told[name] = {**host, "command": command, "output": output}
print(json.dumps(told), flush=True)
done = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: done.set())
done.wait()
os._exit(0)

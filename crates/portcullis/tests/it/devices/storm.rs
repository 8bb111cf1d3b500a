//! Devices that break while many ask them: what comes back is the device's own, or says what went wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpStream,
    path::PathBuf,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    app::{App, free_port, program, until},
    battery::{self, Dice},
    procs::Running,
};

/// How many devices there are. The last ones are good.
const DEVICES: u16 = 16;
/// What is wrong with the first ones, from 1.
const FAULTS: &[&str] = &["silent", "closes", "hangs", "renames", "chatters", "floods"];
/// How many ask at once.
const CALLERS: usize = 6;
/// What is asked, in words that each platform knows.
const COMMANDS: &[&str] =
    &["show version", "show ip route", "show running-config", "show ip interface brief"];

/// A process of emulated devices.
struct Emulated {
    process: Running,
    port: u16,
    home: PathBuf,
}

impl Emulated {
    fn start(home: PathBuf, port: u16) -> Self {
        let process = Self::run(&home, port);
        Self { process, port, home }
    }

    fn run(home: &std::path::Path, port: u16) -> Running {
        let mut command = program(home);
        let (count, port_text) = (DEVICES.to_string(), port.to_string());
        command.args(["lab", "--count", &count, "--port", &port_text, "--listen", "127.0.79.1"]);
        command.args(["--vendor", "cisco_ios", "--latency", "5", "--host-key", "lab_key"]);
        command.args(["--known-hosts", "lab_hosts"]);
        for (at, fault) in FAULTS.iter().enumerate() {
            command.args(["--fault", &format!("{}={fault}", at + 1)]);
        }
        let process = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("the devices are there", || TcpStream::connect(("127.0.79.1", port)).is_ok());
        process
    }

    /// Ends all of them in the middle of whatever they do, and starts them again.
    fn break_down(&mut self) {
        self.process.end();
        self.process = Self::run(&self.home, self.port);
    }
}

fn start() -> (App, Emulated) {
    let port = free_port();
    let home = tempfile::Builder::new().prefix("portcullis-storm-").tempdir().unwrap().keep();
    fs::write(home.join("password"), "lab").unwrap();
    let lab = Emulated::start(home.clone(), port);
    let app = App::with(|_| {
        let devices: String = (1..=DEVICES)
            .map(|n| {
                format!("    d{n}: {{ host: 127.0.79.{n}, port: {port}, platform: cisco_ios, login: lab }}\n")
            })
            .collect();
        format!(
            "data_dir: .\nprincipals:\n  agent: {{ kind: agent, owner: operations, roles: [all] }}\n  \
             local: {{ kind: human, owner: operations, roles: [all] }}\nroles: {{ all: {{ allow: ['*'] }} }}\n\
             bootstrap: {{ keys: [{{ label: agent, principal: agent, show: key, rate_per_minute: 1000000 }}] }}\n\
             devices:\n  known_hosts: {}/lab_hosts\n  login_timeout_ms: 2000\n  command_timeout_ms: 2000\n  \
             silence_timeout_ms: 700\n  output_bytes_max: 200000\n  logins_per_minute_max: 1000\n  refused_login_pause_ms: 1000\n  \
             logins: {{ lab: {{ user: lab, password: {{ file: {}/password }}, enable: {{ file: {}/password }} }} }}\n  \
             inventory:\n{devices}",
            home.display(),
            home.display(),
            home.display(),
        )
    });
    (app, lab)
}

/// What each good device says to each command while nothing is wrong.
fn calm(app: &App) -> BTreeMap<(String, String), String> {
    let first = DEVICES - u16::try_from(FAULTS.len()).unwrap();
    let devices: Vec<String> = (DEVICES - first + 1..=DEVICES).map(|n| format!("d{n}")).collect();
    let answer = app.done("run_show_commands", &json!({ "devices": devices, "commands": COMMANDS }));
    let results = answer["results"].as_array().unwrap();
    let outputs = results.iter().flat_map(|one| {
        let device = one["device"].as_str().unwrap().to_owned();
        one["results"].as_array().unwrap().iter().map(move |result| {
            let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
            ((device.clone(), text("command")), text("output"))
        })
    });
    let said: BTreeMap<_, _> = outputs.collect();
    assert_eq!(said.len(), devices.len() * COMMANDS.len(), "{answer}");
    // Each is told from every other by what it says.
    let apart: BTreeSet<_> =
        said.iter().filter(|(key, _)| key.1 == "show running-config").map(|(_, text)| text).collect();
    assert_eq!(apart.len(), devices.len());
    said
}

/// What is wrong in an answer about some devices, and how many outputs were looked at.
fn judged(answer: &Value, calm: &BTreeMap<(String, String), String>) -> (usize, Vec<String>) {
    let (mut looked, mut wrong) = (0, Vec::new());
    for one in answer["results"].as_array().into_iter().flatten() {
        let device = one["device"].as_str().or_else(|| answer["device"].as_str()).unwrap_or_default();
        let results = one["results"].as_array().cloned().unwrap_or_else(|| vec![one.clone()]);
        for result in &results {
            let command = result["command"].as_str().unwrap_or_default();
            let Some(output) = result["output"].as_str().filter(|_| result["status"] == "success") else {
                let class = result["error_class"].as_str().or_else(|| one["error_class"].as_str());
                if class.is_none() {
                    wrong.push(format!("{device}: it failed without a class: {one}"));
                }
                continue;
            };
            looked += 1;
            let wanted = calm.get(&(device.to_owned(), command.to_owned()));
            // Of one that is wrong in some way it is not known what it says, but that it says it of itself.
            let own = format!("10.255.0.{}/32", device.trim_start_matches('d'));
            let is_foreign =
                command == "show ip route" && result["truncated"] == false && !output.contains(&own);
            if is_foreign || wanted.is_some_and(|wanted| wanted != output) {
                wrong.push(format!("{device}: {command} was answered with {output:?}"));
            }
        }
    }
    (looked, wrong)
}

/// One call that somebody makes.
fn call(app: &App, dice: &mut Dice, calm: &BTreeMap<(String, String), String>) -> (usize, Vec<String>) {
    let some = |dice: &mut Dice| format!("d{}", 1 + dice.below(u64::from(DEVICES)));
    let command = |dice: &mut Dice| COMMANDS[dice.below(COMMANDS.len() as u64) as usize];
    let (tool, arguments) = match dice.below(4) {
        0 => {
            let devices = [some(dice), some(dice), some(dice)];
            let commands = [command(dice), command(dice)];
            ("run_show_commands", json!({ "devices": devices, "commands": commands }))
        }
        1 => ("analyze_routing_table", json!({ "device_ip": some(dice) })),
        _ => {
            let timeout = [1, 2, 10][dice.below(3) as usize];
            let commands = [command(dice), command(dice), command(dice)];
            ("query_device", json!({ "device_ip": some(dice), "commands": commands, "timeout": timeout }))
        }
    };
    let answer = app.call(tool, &arguments);
    match answer.status {
        200 if tool != "analyze_routing_table" => judged(&answer.json(), calm),
        200 => {
            // Its own address stands in the table of each.
            let value = answer.json();
            let own = format!(
                "10.255.0.{}/32",
                value["device"].as_str().unwrap_or_default().trim_start_matches('d')
            );
            let has = value["routes"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|route| route["network"] == own.as_str());
            (1, if has { Vec::new() } else { vec![format!("{arguments}: {}", answer.line())] })
        }
        // Breaking down is told, and told as that; a device that keeps breaking is left alone.
        409 | 502 if answer.line().contains("\"error_class\"") => (0, Vec::new()),
        503 | 504 if answer.line().contains("\"code\"") => (0, Vec::new()),
        _ => (0, vec![format!("{tool} {arguments}: {} {}", answer.status, answer.line())]),
    }
}

#[test]
fn what_comes_back_is_the_devices_own() {
    let (app, mut lab) = start();
    let calm = calm(&app);
    let rounds = battery::rounds(40);
    let (looked, wrong, over) = (Mutex::new(0), Mutex::new(Vec::new()), AtomicBool::new(false));
    let mut broken = 0;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (app, calm, looked, wrong) = (&app, &calm, &looked, &wrong);
                scope.spawn(move || {
                    let mut dice = Dice::new().of(caller as u64 + 7);
                    for _ in 0..rounds {
                        let (outputs, found) = call(app, &mut dice, calm);
                        *looked.lock().unwrap() += outputs;
                        wrong.lock().unwrap().extend(found);
                    }
                })
            })
            .collect();
        let breaking = scope.spawn(|| {
            let mut dice = Dice::new().of(99);
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(500 + dice.below(1_500)));
                lab.break_down();
                broken += 1;
            }
        });
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        over.store(true, Ordering::Relaxed);
        breaking.join().unwrap();
    });
    let mut wrong = wrong.into_inner().unwrap();
    // Once it is over, everything is as it was.
    let good: Vec<&String> =
        calm.keys().map(|(device, _)| device).collect::<BTreeSet<_>>().into_iter().collect();
    let mut last = Value::Null;
    until("the good devices answer again", || {
        last = app.done("run_show_commands", &json!({ "devices": good, "commands": COMMANDS }));
        last["successful"] == good.len()
    });
    let (more, found) = judged(&last, &calm);
    wrong.extend(found);
    let looked = looked.into_inner().unwrap() + more;
    assert!(broken > 0 && looked > more, "{broken} times broken, {looked} outputs");
    fs::remove_dir_all(&lab.home).unwrap();
    battery::conclude(
        "storm_devices",
        "devices hang, close, chatter and are killed while many ask: an output is the device's own, whole, or a typed error",
        looked,
        &wrong,
    );
}

//! `portcullis lab`: emulated network devices by themselves, for demos, tests and load.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use clap::Args;
use inventory::{Inventory, Members};
use lab::{Fault, Network, NetworkConfig, Vendor};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Exit, Failure, Out,
    inventory::{read_inventory, write_inventory},
};
use crate::data;

/// Start emulated network devices: routers in a chain, each an SSH server with a command line of its vendor.
///
/// They take `show` commands, paging, abbreviations and (Cisco, Arista) a configuration mode; their routes fit together.
/// They run until Ctrl-C, on addresses of this machine that nobody else reaches.
#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    /// How many there are
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// What they are, in turn: cisco_ios, arista_eos, juniper_junos or huawei_vrp; several times for several
    /// [default: all of them]
    #[arg(long = "vendor", value_name = "VENDOR", value_parser = named::<Vendor>)]
    vendors: Vec<Vendor>,
    /// The loopback address of the first; each other has the next one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.77.1")]
    listen: Ipv4Addr,
    /// The port of all of them
    #[arg(long, default_value_t = 2322, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Who logs in
    #[arg(long, default_value = "lab")]
    user: String,
    /// The password, and the secret of the privileged mode; it guards nothing
    #[arg(long, default_value = "lab")]
    password: String,
    /// How much longer each answer takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=60_000))]
    latency: u64,
    /// What is wrong with one, by its number from 1: silent, closes, floods, hangs, renames or chatters
    #[arg(long = "fault", value_name = "NUMBER=FAULT", value_parser = fault)]
    faults: Vec<(u16, Fault)>,
    /// Write an inventory of them, for `devices.inventory_files`; their login is called `lab` there
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Write their host key into this file of known hosts, so that they are trusted
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<PathBuf>,
    /// The file of their host key, made where there is none [default: one in the state folder of the user]
    #[arg(long, value_name = "FILE")]
    host_key: Option<PathBuf>,
}

/// A name of the configuration.
fn named<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::from(text)).map_err(|error| error.to_string())
}

fn fault(text: &str) -> Result<(u16, Fault), String> {
    let (number, fault) = text.split_once('=').ok_or("write NUMBER=FAULT")?;
    let number = number.parse().map_err(|_| format!("{number:?} is no number of a device"))?;
    Ok((number, named(fault)?))
}

pub(super) async fn run(args: LabArgs, out: &Out) -> Result<(), Failure> {
    let failed = |text: String| Failure::new(Exit::Failed, text);
    let here = std::env::current_dir().map_err(|error| failed(format!("the working folder: {error}")))?;
    let mut config = NetworkConfig {
        count: args.count,
        listen: args.listen,
        port: args.port,
        user: args.user,
        password: args.password,
        latency_ms: args.latency,
        faults: args.faults.into_iter().collect(),
        known_hosts: args.known_hosts,
        ..NetworkConfig::default()
    };
    if !args.vendors.is_empty() {
        config.vendors = args.vendors;
    }
    if let Some(file) = args.host_key.or_else(state_key) {
        config.host_key = file;
    }
    if let Some(wrong) = config.check().first() {
        let hint = wrong.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
        return Err(Failure::new(Exit::Usage, format!("{}{hint}", wrong.text)));
    }
    let network = Network::bind(&config, &here).await.map_err(|error| failed(error.to_string()))?;
    let devices = network.devices();
    if let Some(file) = &args.inventory {
        write(file, &devices)?;
    }
    announce(&config, &devices, out);
    let stopped = |error: std::io::Error| failed(format!("no signals: {error}"));
    let (mut term, mut int) = (
        signal(SignalKind::terminate()).map_err(stopped)?,
        signal(SignalKind::interrupt()).map_err(stopped)?,
    );
    tokio::select! {
        () = network.run() => {}
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// The host key of earlier times, so that what was trusted stays trusted.
fn state_key() -> Option<PathBuf> {
    let folder = data::state_folder()?;
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("lab_host_key"))
}

/// Writes an inventory file; what else is in it stays.
fn write(file: &Path, devices: &[lab::Emulated]) -> Result<(), Failure> {
    let before = read_inventory(file)?;
    let one = |device: &lab::Emulated| {
        let members = json!({
            "host": device.address.ip(), "port": device.address.port(), "platform": device.vendor.platform(),
            "login": "lab", "groups": ["lab"],
        });
        let Value::Object(members) = members else { return (device.name.clone(), Members::new()) };
        (device.name.clone(), members)
    };
    let ours = Inventory { groups: BTreeMap::new(), devices: devices.iter().map(one).collect() };
    let (merged, _) = before.with(&ours, false);
    write_inventory(file, &merged.text())
}

fn announce(config: &NetworkConfig, devices: &[lab::Emulated], out: &Out) {
    let row = |device: &lab::Emulated| {
        json!({
            "name": device.name, "host": device.address.ip(), "port": device.address.port(),
            "platform": device.vendor.platform(),
        })
    };
    let rows: Vec<Value> = devices.iter().map(row).collect();
    if out.json {
        out.line(&json!({ "devices": rows, "user": config.user, "password": config.password }).to_string());
        return;
    }
    let line = |device: &lab::Emulated| {
        vec![device.name.clone(), device.address.to_string(), device.vendor.platform().to_owned()]
    };
    out.table(&["device", "address", "platform"], devices.iter().map(line).collect(), &Value::Null);
    let (user, password) = (&config.user, &config.password);
    if let Some(first) = devices.first() {
        let (ip, port) = (first.address.ip(), first.address.port());
        out.note(&format!(
            "\nlog in as {user} with the password {password}: ssh -p {port} {user}@{ip}; Ctrl-C ends it"
        ));
    }
}

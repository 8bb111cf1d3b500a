//! Old algorithms, as OpenSSH still has them: what old devices speak, and what is said where we cannot.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use super::{EVERYTHING, frr::Lab, logins::key};
use crate::{
    app::{App, free_port, until},
    procs::Running,
};

/// A row: what it is called, what the server allows, the narrowest profile that speaks it, or what its refusal says.
struct Row {
    name: &'static str,
    allows: &'static str,
    profile: Result<&'static str, &'static str>,
}

const fn row(name: &'static str, allows: &'static str, profile: Result<&'static str, &'static str>) -> Row {
    Row { name, allows, profile }
}

const ROWS: [Row; 11] = [
    row("group1", "KexAlgorithms diffie-hellman-group1-sha1", Ok("legacy")),
    row("group14", "KexAlgorithms diffie-hellman-group14-sha1", Ok("compat")),
    row("gex", "KexAlgorithms diffie-hellman-group-exchange-sha1", Ok("compat")),
    row("rsa-sha1", "HostKeyAlgorithms ssh-rsa", Ok("compat")),
    row("dss", "HostKeyAlgorithms ssh-dss", Ok("legacy")),
    row("cbc128", "Ciphers aes128-cbc", Ok("compat")),
    row("cbc256", "Ciphers aes256-cbc", Ok("compat")),
    row("triple-des", "Ciphers 3des-cbc", Ok("legacy")),
    row("sha1", "Ciphers aes128-ctr\nMACs hmac-sha1", Ok("compat")),
    row("md5", "Ciphers aes128-ctr\nMACs hmac-md5", Err("offers hmac-md5; no profile has any of these")),
    row(
        "sha1-96",
        "Ciphers aes128-ctr\nMACs hmac-sha1-96",
        Err("offers hmac-sha1-96; no profile has any of these"),
    ),
];

fn start(lab: &Lab, ports: &[u16]) -> Vec<Running> {
    for kind in ["rsa", "dsa"] {
        key(&lab.dir().join(kind), kind, "");
    }
    ROWS.iter().zip(ports).map(|(row, port)| server(lab.dir(), *port, row)).collect()
}

fn server(dir: &Path, port: u16, row: &Row) -> Running {
    let file = dir.join(format!("{}.conf", row.name));
    let dir = dir.display();
    let keys = match row.name {
        "dss" => format!("HostKey {dir}/dsa"),
        _ => format!("HostKey {dir}/rsa"),
    };
    let text = format!(
        "Port {port}\nListenAddress 127.0.0.1\n{keys}\nPidFile none\nUsePAM no\nPasswordAuthentication yes\nAllowUsers pclab\nPrintMotd no\n{}\n",
        row.allows
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new("/usr/sbin/sshd");
    command.arg("-D").arg("-f").arg(file).stderr(Stdio::null()).stdout(Stdio::null());
    Running(command.spawn().unwrap())
}

fn configured(lab: &Lab, ports: &[u16]) -> String {
    let mut text = format!(
        "{EVERYTHING}devices:\n  logins: {{ all: {{ user: pclab, password: {{ file: \"{}/password\" }} }} }}\n  inventory:\n",
        lab.dir().display()
    );
    for (row, port) in ROWS.iter().zip(ports) {
        for profile in ["modern", "compat", "legacy"] {
            text.push_str(&format!(
                "    {}-{profile}: {{ host: 127.0.0.1, port: {port}, platform: linux, login: all, algorithms: {profile} }}\n",
                row.name
            ));
        }
    }
    text
}

#[test]
fn old_algorithms_are_spoken_where_a_profile_allows_them() {
    let Some(lab) = Lab::without_routers() else { return };
    let ports = ROWS.map(|_| free_port());
    let _servers = start(&lab, &ports);
    let app = App::with(|_| configured(&lab, &ports));
    for (row, port) in ROWS.iter().zip(ports) {
        let name = |profile: &str| format!("{}-{profile}", row.name);
        let ask = |profile: &str| {
            app.call("query_device", &json!({ "device_ip": name(profile), "commands": ["uptime"] }))
        };
        match row.profile {
            Ok(profile) => {
                // Trusting once is enough; that it listens may take a moment.
                until(row.name, || TcpStream::connect(("127.0.0.1", port)).is_ok());
                let trusted = app.cli(&["devices", "trust", &name(profile), "--yes"]);
                assert_eq!(trusted.code, 0, "{}: {trusted:?}", row.name);
                let answer = ask(profile);
                assert!(
                    answer.status == 200 && answer.line().contains("load average"),
                    "{}: {}",
                    row.name,
                    answer.line()
                );
                let refused = ask("modern").line();
                let hint = format!("`algorithms: {profile}` would allow it");
                assert!(
                    refused.contains(&hint) && refused.contains("\"error_class\":\"algorithms\""),
                    "{}: {refused}",
                    row.name
                );
            }
            Err(said) => {
                let refused = ask("legacy").line();
                assert!(refused.contains(said), "{}: {refused}", row.name);
            }
        }
    }
}

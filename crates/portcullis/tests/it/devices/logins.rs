//! The ways in, as OpenSSH has them: questions, agents, certificates, hops, locked keys.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::json;

use super::{EVERYTHING, frr::Lab};
use crate::{
    app::{App, alone, free_port, until},
    http::Answer,
    procs::Running,
};

/// A server with a host key and a log of its own.
struct Door {
    port: u16,
    log: PathBuf,
    /// Its line of `known_hosts`.
    known: String,
    _server: Running,
}

impl Door {
    /// Opens one, and waits until it listens.
    fn open(lab: &Lab, name: &str, allows: &str) -> Self {
        let at = |what: &str| lab.dir().join(format!("{name}-{what}"));
        let (port, log, file) = (free_port(), at("log"), at("conf"));
        let known = format!("[127.0.0.1]:{port} {}", key(&at("hostkey"), "ed25519", ""));
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nAllowUsers pclab\nStrictModes no\nPrintMotd no\n{allows}\nLogLevel VERBOSE\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            at("hostkey").display()
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.arg("-D").arg("-f").arg(file).arg("-E").arg(&log).stderr(Stdio::null()).stdout(Stdio::null());
        let server = Running(command.spawn().unwrap());
        until(name, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, log, known, _server: server }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// How often it said something.
    fn said(&self, what: &str) -> usize {
        self.log().matches(what).count()
    }

    /// How many logins it took, and how many attempts it refused. Asking what it takes is none.
    fn counted(&self) -> (usize, usize) {
        let log = self.log();
        let count = |word: &str| {
            let is_it = |line: &&str| line.starts_with(word) && line.contains(" for pclab from ");
            log.lines().filter(is_it).filter(|line| !line.starts_with("Failed none ")).count()
        };
        (count("Accepted "), count("Failed "))
    }
}

/// Makes a key; its public half.
pub(super) fn key(file: &Path, kind: &str, passphrase: &str) -> String {
    keygen(&["-t", kind, "-N", passphrase, "-f", file.to_str().unwrap()]);
    public(file)
}

/// The public half of a key, without its comment.
fn public(file: &Path) -> String {
    let text = fs::read_to_string(format!("{}.pub", file.display())).unwrap();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn keygen(args: &[&str]) {
    let made = Command::new("ssh-keygen").arg("-q").args(args).stdin(Stdio::null()).output().unwrap();
    assert!(made.status.success(), "ssh-keygen {args:?}: {made:?}");
}

/// A file of the keys that may come in, and the line that says so.
fn authorized(lab: &Lab, keys: &[&str]) -> String {
    let file = lab.dir().join("authorized_keys");
    fs::write(&file, keys.join("\n")).unwrap();
    format!("AuthorizedKeysFile {}", file.display())
}

/// A configuration with these logins, and devices each at a port, with a login and perhaps more.
fn configured(lab: &Lab, logins: &[(&str, String)], devices: &[(&str, u16, &str, &str)]) -> String {
    let mut text =
        format!("{EVERYTHING}devices:\n  known_hosts: \"{}/known_hosts\"\n  logins:\n", lab.dir().display());
    for (name, proof) in logins {
        text.push_str(&format!("    {name}: {{ user: pclab, {proof} }}\n"));
    }
    text.push_str("  inventory:\n");
    for (name, port, login, more) in devices {
        text.push_str(&format!(
            "    {name}: {{ host: 127.0.0.1, port: {port}, platform: linux, login: {login}{more} }}\n"
        ));
    }
    text
}

/// Trusts the keys of these doors, and of no others.
fn trust(lab: &Lab, doors: &[&Door]) {
    let lines: String = doors.iter().map(|door| format!("{}\n", door.known)).collect();
    fs::write(lab.dir().join("known_hosts"), lines).unwrap();
}

fn in_dir(lab: &Lab, name: &str) -> String {
    lab.dir().join(name).display().to_string()
}

fn ask(app: &App, device: &str) -> Answer {
    app.call("query_device", &json!({ "device_ip": device, "commands": ["uptime"] }))
}

fn is_in(app: &App, device: &str) {
    let answer = ask(app, device);
    assert!(answer.status == 200 && answer.line().contains("load average"), "{device}: {}", answer.line());
}

/// It is refused with an error of this class that says all of this.
fn is_refused(app: &App, device: &str, class: &str, says: &[&str]) {
    let answer = ask(app, device);
    let line = answer.line();
    assert!(
        answer.status >= 400 && line.contains(&format!("\"error_class\":\"{class}\"")),
        "{device}: {line}"
    );
    for said in says {
        assert!(line.contains(said), "{device} does not say {said:?}: {line}");
    }
}

/// A server that asks questions is told the password once, and no server is told it that does not take one.
#[test]
fn questions_are_answered_once() {
    let Some(lab) = Lab::without_routers() else { return };
    let user = key(&lab.dir().join("user"), "ed25519", "");
    fs::write(lab.dir().join("wrong"), "not-the-password").unwrap();
    let asks = "UsePAM yes\nKbdInteractiveAuthentication yes";
    // One attempt is all that some devices give.
    let right = Door::open(&lab, "right", &format!("{asks}\nMaxAuthTries 1"));
    let wrong = Door::open(&lab, "wrong", asks);
    let keys = Door::open(&lab, "keys", "PubkeyAuthentication yes");
    let both = format!("{asks}\nAuthenticationMethods publickey,keyboard-interactive");
    let both = Door::open(&lab, "both", &format!("{both}\n{}", authorized(&lab, &[&user])));
    trust(&lab, &[&right, &wrong, &keys, &both]);
    let password = |file: &str| format!("password: {{ file: \"{}\" }}", in_dir(&lab, file));
    let logins = [
        ("right", password("password")),
        ("wrong", password("wrong")),
        ("both", format!("{}, keys: [\"{}\"]", password("password"), in_dir(&lab, "user"))),
    ];
    let devices = [
        ("right", right.port, "right", ""),
        ("wrong", wrong.port, "wrong", ""),
        ("keys", keys.port, "right", ""),
        ("both", both.port, "both", ""),
    ];
    let app = App::with(|_| configured(&lab, &logins, &devices));

    is_in(&app, "right");
    assert_eq!(right.counted(), (1, 0), "{}", right.log());
    is_refused(&app, "wrong", "login", &["refused the login of", "by keyboard-interactive"]);
    is_refused(&app, "wrong", "login", &["was refused before and is not tried again"]);
    assert_eq!(wrong.counted(), (0, 1), "{}", wrong.log());
    is_refused(&app, "keys", "login", &["takes a login only by publickey", "has nothing for that"]);
    assert_eq!(keys.counted(), (0, 0), "{}", keys.log());
    // A key and a password, where one is not enough.
    is_in(&app, "both");
    assert_eq!(both.counted().1, 0, "{}", both.log());
}

/// An agent that holds these keys.
fn agent(lab: &Lab, name: &str, keys: &[&str]) -> Running {
    let socket = lab.dir().join(name);
    let mut command = Command::new("ssh-agent");
    command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.spawn().unwrap());
    until(name, || socket.exists());
    for key in keys {
        let mut command = Command::new("ssh-add");
        let added = command.arg("-q").arg(lab.dir().join(key)).env("SSH_AUTH_SOCK", &socket).output();
        let added = added.unwrap();
        assert!(added.status.success(), "ssh-add {key}: {added:?}");
    }
    running
}

fn by_agent(lab: &Lab, name: &str) -> String {
    format!("agent: \"{}\"", in_dir(lab, name))
}

#[test]
fn agents_sign_with_the_keys_they_hold() {
    let Some(lab) = Lab::without_routers() else { return };
    let [user, rsa, _] = [("user", "ed25519"), ("rsa", "rsa"), ("stranger", "ed25519")]
        .map(|(name, kind)| key(&lab.dir().join(name), kind, ""));
    let allows = authorized(&lab, &[&user, &rsa]);
    let door = Door::open(&lab, "door", &allows);
    let other = Door::open(&lab, "other", &allows);
    trust(&lab, &[&door, &other]);
    let _agents = [
        agent(&lab, "holds", &["user"]),
        agent(&lab, "second", &["stranger", "rsa"]),
        agent(&lab, "strange", &["stranger"]),
        agent(&lab, "empty", &[]),
    ];
    let logins = ["holds", "second", "strange", "empty", "gone"].map(|name| (name, by_agent(&lab, name)));
    let mut devices = logins.each_ref().map(|(name, _)| (*name, door.port, *name, ""));
    devices[2].1 = other.port;
    let app = App::with(|_| configured(&lab, &logins, &devices));

    is_in(&app, "holds");
    assert_eq!(door.counted(), (1, 0), "{}", door.log());
    is_in(&app, "second");
    assert_eq!(door.counted(), (2, 1), "the first key is not the one: {}", door.log());
    is_refused(&app, "strange", "login", &["refused the login of", "by agent; it would take publickey"]);
    is_refused(&app, "strange", "login", &["was refused before and is not tried again"]);
    assert_eq!(other.counted(), (0, 1), "{}", other.log());
    // Nothing was tried: it is no refusal, and the next one is not stopped by it.
    for _ in 0..2 {
        is_refused(&app, "empty", "login", &["takes a login only by publickey", "has nothing for that"]);
        is_refused(&app, "gone", "login", &["cannot use the agent", "/gone: No such file"]);
    }
    assert_eq!(door.counted(), (2, 1), "{}", door.log());
}

/// Certifies a key for the lab's user, from and to some time from now.
fn certify(lab: &Lab, key: &str, valid: &str) {
    let [ca, key] = [in_dir(lab, "ca"), in_dir(lab, &format!("{key}.pub"))];
    keygen(&["-s", &ca, "-I", "a test", "-n", "pclab", "-V", valid, &key]);
}

#[test]
fn certificates_are_shown_for_keys() {
    let Some(lab) = Lab::without_routers() else { return };
    key(&lab.dir().join("ca"), "ed25519", "");
    for (name, kind, valid) in [
        ("ed", "ed25519", Some("-1m:+1h")),
        ("rsa", "rsa", Some("-1m:+1h")),
        ("expired", "ed25519", Some("-2h:-1h")),
        ("early", "ed25519", Some("+1h:+2h")),
        ("plain", "ed25519", None),
    ] {
        key(&lab.dir().join(name), kind, "");
        if let Some(valid) = valid {
            certify(&lab, name, valid);
        }
    }
    let door = Door::open(&lab, "door", &format!("TrustedUserCAKeys {}.pub", in_dir(&lab, "ca")));
    trust(&lab, &[&door]);
    let _agents = [agent(&lab, "agent-ed", &["ed"]), agent(&lab, "agent-rsa", &["rsa"])];
    let by_key = |name: &'static str| (name, format!("keys: [\"{}\"]", in_dir(&lab, name)));
    let logins = [
        by_key("ed"),
        by_key("rsa"),
        by_key("expired"),
        by_key("early"),
        by_key("plain"),
        ("agent-ed", by_agent(&lab, "agent-ed")),
        ("agent-rsa", by_agent(&lab, "agent-rsa")),
    ];
    let devices = logins.each_ref().map(|(name, _)| (*name, door.port, *name, ""));
    let app = App::with(|_| configured(&lab, &logins, &devices));

    for (device, kind) in [("ed", "ED25519-CERT"), ("rsa", "RSA-CERT")] {
        for device in [device.to_owned(), format!("agent-{device}")] {
            let before = taken(&door, kind);
            is_in(&app, &device);
            assert_eq!(taken(&door, kind), before + 1, "{device}: {}", door.log());
        }
    }
    is_refused(&app, "plain", "login", &["refused the login of", "by publickey"]);
    is_refused(&app, "early", "login", &["refused the login of", "by certificate (valid from 20"]);
    is_refused(
        &app,
        "expired",
        "login",
        &["refused the login of", "by certificate (valid from 20", "Z to 20"],
    );
    assert_eq!(door.said("Certificate invalid: expired"), 1, "{}", door.log());
    is_refused(&app, "expired", "login", &["was refused before and is not tried again"]);
    // A new certificate is another login, and is tried.
    certify(&lab, "expired", "-1m:+1h");
    app.done("config_reload", &json!({}));
    is_in(&app, "expired");
}

/// How many logins by a key of this kind it took.
fn taken(door: &Door, kind: &str) -> usize {
    let is_it = |line: &&str| line.starts_with("Accepted publickey") && line.contains(kind);
    door.log().lines().filter(is_it).count()
}

/// Three servers in a row: every one must be trusted, and what goes through is shared.
#[test]
fn hops_are_logged_in_to_once() {
    let Some(lab) = Lab::without_routers() else { return };
    let allows = authorized(&lab, &[&key(&lab.dir().join("user"), "ed25519", "")]);
    // Where they forward to is said at this level alone.
    let [first, second] =
        ["first", "second"].map(|name| Door::open(&lab, name, &format!("LogLevel DEBUG1\n{allows}")));
    let target = Door::open(&lab, "target", &allows);
    let logins = [("user", format!("keys: [\"{}\"]", in_dir(&lab, "user")))];
    let devices = [
        ("hop1", first.port, "user", ""),
        ("hop2", second.port, "user", ""),
        ("target", target.port, "user", ", via: [hop1, hop2]"),
        ("neighbour", target.port, "user", ", via: [hop1, hop2]"),
    ];
    let app = App::with(|_| configured(&lab, &logins, &devices));

    let counts = || [&first, &second, &target].map(|door| door.counted().0);
    for (trusted, device, door) in
        [(&[][..], "hop1", &first), (&[&first], "hop2", &second), (&[&first, &second], "target", &target)]
    {
        trust(&lab, trusted);
        let says = format!("{device}: the host key of [127.0.0.1]:{} is not known", door.port);
        is_refused(&app, "target", "host_key", &[&says]);
        let so_far = [0, 1, 2].map(|at| usize::from(at < trusted.len()));
        assert_eq!(counts(), so_far, "nobody logs in beyond {device}");
    }
    trust(&lab, &[&first, &second, &target]);
    is_in(&app, "target");
    is_in(&app, "neighbour");
    assert_eq!(counts(), [1, 1, 2]);
    // Each was opened once more for a key that was not trusted.
    let to = |door: &Door| format!("target 127.0.0.1 port {}", door.port);
    assert_eq!((first.said(&to(&second)), first.said(&to(&target))), (2, 0), "{}", first.log());
    assert_eq!((second.said(&to(&target)), second.said(&to(&first))), (3, 0), "{}", second.log());
}

#[test]
fn locked_keys_are_opened_by_their_passphrase() {
    let Some(lab) = Lab::without_routers() else { return };
    let (right, wrong) = ("open-Sesame-1", "shut-Sesame-2");
    let allows = authorized(&lab, &[&key(&lab.dir().join("locked"), "ed25519", right)]);
    fs::write(lab.dir().join("right"), right).unwrap();
    fs::write(lab.dir().join("wrong"), wrong).unwrap();
    let door = Door::open(&lab, "door", &allows);
    trust(&lab, &[&door]);
    let config = |more: &str| {
        let logins = [("user", format!("keys: [\"{}\"]{more}", in_dir(&lab, "locked")))];
        configured(&lab, &logins, &[("device", door.port, "user", "")])
    };
    let passphrase = |file: &str| format!(", passphrase: {{ file: \"{}\" }}", in_dir(&lab, file));
    let app = App::with(|_| config(&passphrase("right")));
    is_in(&app, "device");

    // What cannot be opened is told before anybody is asked.
    let checked = |more: &str| {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("portcullis.yaml"), config(more)).unwrap();
        alone(home.path(), &["check"])
    };
    assert_eq!(checked(&passphrase("right")).code, 0);
    for (more, says) in
        [(passphrase("wrong"), "its passphrase is another one"), (String::new(), "it is locked")]
    {
        let said = checked(&more);
        let text = format!("{}{}", said.out, said.err);
        assert!(said.code != 0 && text.contains("cannot use") && text.contains(says), "{said:?}");
        assert!(text.contains("/devices/logins/user/keys"), "{text}");
        assert!(!text.contains(wrong) && !text.contains(right), "{text}");
    }
    // A server that runs keeps what it had, and says why.
    fs::write(lab.dir().join("right"), wrong).unwrap();
    let refused = app.call("config_reload", &json!({}));
    assert!(refused.line().contains("its passphrase is another one"), "{}", refused.line());
    assert!(!refused.line().contains(wrong) && !app.log().contains(wrong), "{}", refused.line());
}

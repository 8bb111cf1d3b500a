//! Follows references to secrets: a text, a file, the output of a program.
//!
//! References are followed when a configuration is taken, at the start and at a reload, never while a call runs.
//! A program that several references name runs once per configuration.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use tool::{Secret, SecretRef, Secrets};
use zeroize::{Zeroize as _, Zeroizing};

/// The most bytes of a secret.
const BYTES_MAX: u64 = 64 * 1024;

/// How long a program may take to print a secret.
const EXEC_TIME_MAX: Duration = Duration::from_secs(10);

/// What is said of a placeholder.
pub(crate) const PLACEHOLDER: &str =
    "the secret is still a placeholder; set a real one, or ENVIRONMENT=development to try things out";

/// Words that only placeholders hold.
const PLACEHOLDER_PARTS: &[&str] = &[
    "change-me",
    "changeme",
    "change_me",
    "your-",
    "your_",
    "placeholder",
    "replace-me",
    "replace_me",
    "xxxx",
    "<",
];

/// Texts that are nobody's secret.
const PLACEHOLDER_TEXTS: &[&str] =
    &["secret", "password", "token", "key", "test", "none", "todo", "dummy", "example"];

/// Placeholders that our own examples hold, and those we were born of.
const PLACEHOLDER_EXAMPLES: &[&str] = &[
    "change-me-in-production",
    "sk_prod_xxx",
    "sk_prod_xxxx",
    "sk_test_xxx",
    "your-api-key",
    "your-secret-here",
];

/// Whether a text is what examples and templates have in place of a secret.
pub(crate) fn is_placeholder(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    PLACEHOLDER_TEXTS.contains(&text.as_str()) || PLACEHOLDER_PARTS.iter().any(|part| text.contains(part))
}

/// The fewest characters of a key's secret: less can be guessed.
pub(crate) const KEY_CHARS_MIN: usize = 16;

/// Why a text is no secret of a key, where it is none and this is not only for trying things out.
pub(crate) fn unfit_for_a_key(text: &str) -> Option<&'static str> {
    // In this order: what we made ourselves is told at a look, and comes with every call.
    if !admin::KeyMaker::plausible(text) && is_placeholder(text) {
        return Some(PLACEHOLDER);
    }
    let short = "the secret of a key has at least 16 characters; take one that cannot be guessed, such as the output \
                 of `openssl rand -hex 32`";
    (text.chars().count() < KEY_CHARS_MIN).then_some(short)
}

/// Texts that were taken for a key's secret where placeholders are taken: they can be looked for by their hash.
pub(crate) fn known_placeholders() -> impl Iterator<Item = &'static str> {
    PLACEHOLDER_TEXTS.iter().chain(PLACEHOLDER_PARTS).chain(PLACEHOLDER_EXAMPLES).copied()
}

/// Whether the environment says that this is only for trying things out.
pub(crate) fn placeholders_allowed(lookup: &dyn Fn(&str) -> Option<String>) -> bool {
    lookup("ENVIRONMENT").as_deref() == Some("development")
}

/// The secrets of one configuration.
pub(crate) struct SecretStore {
    base_dir: PathBuf,
    exec_time_max: Duration,
    placeholders_allowed: bool,
    printed: Mutex<HashMap<Vec<String>, Secret>>,
}

impl SecretStore {
    /// A store whose relative paths start at `base_dir`.
    pub(crate) fn new(base_dir: &Path, placeholders_allowed: bool) -> Self {
        Self {
            base_dir: base_dir.to_owned(),
            exec_time_max: EXEC_TIME_MAX,
            placeholders_allowed,
            printed: Mutex::default(),
        }
    }

    fn in_file(&self, file: &str) -> Result<Secret, String> {
        let path = self.base_dir.join(file);
        let fail = |e: io::Error| format!("the secret file {file:?} cannot be read: {e}");
        let opened = File::open(&path).map_err(fail)?;
        if !opened.metadata().map_err(fail)?.is_file() {
            return Err(format!("the secret file {file:?} is not a regular file"));
        }
        let mut bytes = Zeroizing::new(Vec::new());
        opened.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
        secret(&bytes, &format!("the secret file {file:?}"))
    }

    fn printed_by(&self, exec: &[String]) -> Result<Secret, String> {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(secret) = printed.get(exec) {
            return Ok(secret.clone());
        }
        let secret = run(exec, &self.base_dir, self.exec_time_max)?;
        printed.insert(exec.to_vec(), secret.clone());
        Ok(secret)
    }
}

impl Secrets for SecretStore {
    fn resolve(&self, reference: &SecretRef) -> Result<Secret, String> {
        let secret = match reference {
            SecretRef::Text(text) if text.is_empty() => return Err("the secret is empty".to_owned()),
            SecretRef::Text(text) => Secret::new(text.clone()),
            SecretRef::File { file } => self.in_file(file)?,
            SecretRef::Exec { exec } => self.printed_by(exec)?,
        };
        if is_placeholder(secret.expose()) && !self.placeholders_allowed {
            return Err(PLACEHOLDER.to_owned());
        }
        Ok(secret)
    }
}

/// Runs a program without a shell, in a process group of its own, and takes what it prints.
fn run(exec: &[String], folder: &Path, time_max: Duration) -> Result<Secret, String> {
    let Some((program, arguments)) = exec.split_first() else {
        return Err("`exec` names no program".to_owned());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|e| format!("the program {program:?} cannot be started: {e}"))?;
    let outcome = output(&mut child, program, time_max);
    end(&mut child);
    outcome
}

fn output(child: &mut Child, program: &str, time_max: Duration) -> Result<Secret, String> {
    let deadline = Instant::now() + time_max;
    let Some(stdout) = child.stdout.take() else {
        return Err(format!("the program {program:?} has no output"));
    };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::new());
        let read = stdout.take(BYTES_MAX + 1).read_to_end(&mut bytes);
        // The receiver is gone where the time is up.
        let _ = sender.send(read.map(|_| bytes));
    });
    let slow = || format!("the program {program:?} took longer than {} s", time_max.as_secs());
    let bytes = receiver
        .recv_timeout(time_max)
        .map_err(|_| slow())?
        .map_err(|e| format!("the output of {program:?} cannot be read: {e}"))?;
    if bytes.len() as u64 > BYTES_MAX {
        return secret(&bytes, &format!("the output of {program:?}"));
    }
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => return Err(slow()),
            Err(e) => return Err(format!("the program {program:?} cannot be waited for: {e}")),
        }
    };
    if !status.success() {
        return Err(format!("the program {program:?} failed ({status}); run it by hand to see why"));
    }
    secret(&bytes, &format!("the output of {program:?}"))
}

/// Ends the program and what it has started, where it still runs.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if matches!(child.try_wait(), Ok(None)) {
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = child.wait();
    }
}

/// Takes bytes as a secret: at most 64 KiB of UTF-8 text, less one line end.
fn secret(bytes: &[u8], what: &str) -> Result<Secret, String> {
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("{what} holds more than {BYTES_MAX} bytes"));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(format!("{what} is not UTF-8 text"));
    };
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut text = text.strip_suffix('\r').unwrap_or(text).to_owned();
    if text.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if text.contains(['\n', '\0']) && !text.starts_with("-----BEGIN ") {
        text.zeroize();
        return Err(format!("{what} holds more than one line"));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(reference: &SecretRef, want: &str) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("plain", b"hunter2");
        write("line", b"hunter2\n");
        write("dos", b"hunter2\r\n");
        write("two", b"hunter2\n\n");
        write("empty", b"\n");
        write("pem", b"-----BEGIN KEY-----\nabc\n-----END KEY-----\n");
        write("binary", b"\xff\xfe");
        write("full", &vec![b'y'; 64 * 1024]);
        write("over", &vec![b'y'; 64 * 1024 + 1]);
        let mut store = SecretStore::new(folder.path(), false);
        store.exec_time_max = Duration::from_millis(500);
        let started = Instant::now();
        let got = match store.resolve(reference) {
            Ok(secret) if secret.expose().len() > 100 => format!("= {} bytes", secret.expose().len()),
            Ok(secret) => format!("= {}", secret.expose()),
            Err(error) => format!("! {error}"),
        };
        assert_eq!(got, want, "{reference:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{reference:?}");
    }

    #[test]
    fn files_hold_one_line_of_a_bounded_size() {
        let file = |name: &str| SecretRef::File { file: name.to_owned() };
        check(&file("plain"), "= hunter2");
        check(&file("line"), "= hunter2");
        check(&file("dos"), "= hunter2");
        check(&file("pem"), "= -----BEGIN KEY-----\nabc\n-----END KEY-----");
        check(&file("full"), "= 65536 bytes");
        check(&file("two"), "! the secret file \"two\" holds more than one line");
        check(&file("empty"), "! the secret file \"empty\" is empty");
        check(&file("binary"), "! the secret file \"binary\" is not UTF-8 text");
        check(&file("over"), "! the secret file \"over\" holds more than 65536 bytes");
        check(
            &file("none"),
            "! the secret file \"none\" cannot be read: No such file or directory (os error 2)",
        );
        check(&file("."), "! the secret file \".\" is not a regular file");
    }

    #[test]
    fn programs_run_without_a_shell_and_within_bounds() {
        let exec = |words: &[&str]| SecretRef::Exec { exec: words.iter().map(|w| (*w).to_owned()).collect() };
        check(&exec(&["echo", "hunter2"]), "= hunter2");
        check(&exec(&["echo", "$HOME; id"]), "= $HOME; id");
        check(&exec(&["cat", "line"]), "= hunter2");
        check(&exec(&[]), "! `exec` names no program");
        check(&exec(&["true"]), "! the output of \"true\" is empty");
        check(
            &exec(&["false"]),
            "! the program \"false\" failed (exit status: 1); run it by hand to see why",
        );
        check(&exec(&["sleep", "60"]), "! the program \"sleep\" took longer than 0 s");
        check(&exec(&["yes"]), "! the output of \"yes\" holds more than 65536 bytes");
        check(
            &exec(&["no-such-program"]),
            "! the program \"no-such-program\" cannot be started: No such file or directory (os error 2)",
        );
    }

    #[test]
    fn texts_are_taken_as_they_are_but_not_empty() {
        check(&SecretRef::Text("hunter2".to_owned()), "= hunter2");
        check(&SecretRef::Text(String::new()), "! the secret is empty");
        for text in
            ["change-me-in-production", "sk_prod_xxxx", "Your-API-Key", "<token>", "secret", " password "]
        {
            check(&SecretRef::Text(text.to_owned()), &format!("! {PLACEHOLDER}"));
        }
    }
}

//! A command line: what is typed is echoed, long answers are paged, and words may be shortened.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    ios, junos,
    router::{Router, Vendor},
    vrp,
};

/// How many lines are shown at a time while there is paging.
const PAGE_LINES: usize = 24;
/// The longest line that is taken, in bytes.
const LINE_BYTES_MAX: usize = 1024;

/// Where a command line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Looking only.
    User,
    /// Everything but configuring.
    Privileged,
    /// Configuring.
    Configure,
    /// Configuring a port, by its name.
    Port(String),
}

/// What comes of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// What is printed, lines ended by `\n`.
    pub(super) text: String,
    /// The session ends.
    pub(super) ends: bool,
    /// The next line is a secret, asked for by this.
    pub(super) asks: Option<&'static str>,
}

impl Said {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(super) fn end() -> Self {
        Self { ends: true, ..Self::default() }
    }
}

/// What is printed in return for what was typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Printed {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: bool,
    /// True where a command showed something.
    pub(super) shows: bool,
}

/// A command line of one session.
pub(super) struct Shell {
    router: Arc<Mutex<Router>>,
    pub(super) mode: Mode,
    secret: String,
    line: String,
    /// The last character ended a line as a carriage return.
    after_return: bool,
    is_asking: bool,
    pages: bool,
    /// What is still to be shown.
    rest: Vec<String>,
}

impl Shell {
    pub(super) fn new(router: Arc<Mutex<Router>>, secret: String) -> Self {
        let vendor = router.lock().unwrap_or_else(PoisonError::into_inner).vendor;
        let mode = match vendor {
            Vendor::CiscoIos | Vendor::AristaEos => Mode::User,
            Vendor::JuniperJunos | Vendor::HuaweiVrp => Mode::Privileged,
        };
        Self {
            router,
            mode,
            secret,
            line: String::new(),
            after_return: false,
            is_asking: false,
            pages: true,
            rest: Vec::new(),
        }
    }

    fn vendor(&self) -> Vendor {
        self.router.lock().unwrap_or_else(PoisonError::into_inner).vendor
    }

    /// What stands there first.
    pub(super) fn greeting(&self) -> String {
        let banner = match self.vendor() {
            Vendor::CiscoIos | Vendor::AristaEos => "\r\n",
            Vendor::JuniperJunos => {
                "Last login: Thu Jan  1 00:00:00 2026 from 192.0.2.1\r\n--- JUNOS 22.4R3 Kernel 64-bit\r\n"
            }
            Vendor::HuaweiVrp => "\r\nInfo: The max number of VTY users is 21.\r\n",
        };
        format!("{banner}{}", self.prompt())
    }

    /// The prompt.
    pub(super) fn prompt(&self) -> String {
        let router = self.router.lock().unwrap_or_else(PoisonError::into_inner);
        match router.vendor {
            Vendor::CiscoIos | Vendor::AristaEos => ios::prompt(&router, &self.mode),
            Vendor::JuniperJunos => junos::prompt(&router),
            Vendor::HuaweiVrp => vrp::prompt(&router),
        }
    }

    /// Takes what was typed.
    pub(super) fn typed(&mut self, bytes: &[u8]) -> Printed {
        let mut printed = Printed::default();
        for c in String::from_utf8_lossy(bytes).chars() {
            if printed.ends {
                break;
            }
            if !self.rest.is_empty() {
                self.page(c, &mut printed.bytes);
                continue;
            }
            match c {
                '\n' if self.after_return => self.after_return = false,
                '\r' | '\n' => {
                    self.after_return = c == '\r';
                    self.enter(&mut printed);
                }
                '\u{3}' => {
                    self.line.clear();
                    self.is_asking = false;
                    printed.bytes.extend(format!("^C\r\n{}", self.prompt()).into_bytes());
                }
                '\u{15}' => {
                    let blank = "\u{8} \u{8}".repeat(self.line.chars().count());
                    printed.bytes.extend(blank.into_bytes());
                    self.line.clear();
                }
                '\u{8}' | '\u{7f}' => {
                    if self.line.pop().is_some() {
                        printed.bytes.extend(b"\x08 \x08");
                    }
                }
                c if c.is_control() => {}
                c => {
                    self.after_return = false;
                    if self.line.len() < LINE_BYTES_MAX {
                        self.line.push(c);
                        if !self.is_asking {
                            printed.bytes.extend(c.to_string().into_bytes());
                        }
                    }
                }
            }
        }
        printed
    }

    /// Runs the line that was typed.
    fn enter(&mut self, printed: &mut Printed) {
        let line = std::mem::take(&mut self.line);
        printed.bytes.extend(b"\r\n");
        let said = if std::mem::take(&mut self.is_asking) {
            match line == self.secret {
                true => {
                    self.mode = Mode::Privileged;
                    Said::default()
                }
                false => Said::text("% Access denied\n\n"),
            }
        } else if line.trim().is_empty() {
            Said::default()
        } else {
            printed.shows = ["sh", "display"].iter().any(|word| line.trim().starts_with(word));
            self.run(line.trim())
        };
        printed.ends = said.ends;
        if let Some(question) = said.asks {
            self.is_asking = true;
            printed.bytes.extend(question.as_bytes());
            return;
        }
        if said.ends {
            return;
        }
        let mut lines: Vec<String> = said.text.lines().map(|line| format!("{line}\r\n")).collect();
        if self.pages && lines.len() > PAGE_LINES {
            self.rest = lines.split_off(PAGE_LINES);
            printed.bytes.extend(lines.concat().into_bytes());
            printed.bytes.extend(self.pager().as_bytes());
            return;
        }
        printed.bytes.extend(lines.concat().into_bytes());
        printed.bytes.extend(self.prompt().into_bytes());
    }

    fn run(&mut self, line: &str) -> Said {
        if let Some(pages) = turns_paging(line) {
            self.pages = pages;
            return match self.vendor() {
                Vendor::JuniperJunos => Said::text("Screen length set to 0\n"),
                _ => Said::default(),
            };
        }
        let mut router = self.router.lock().unwrap_or_else(PoisonError::into_inner);
        match router.vendor {
            Vendor::CiscoIos | Vendor::AristaEos => ios::run(&mut router, &mut self.mode, line),
            Vendor::JuniperJunos => junos::run(&router, line),
            Vendor::HuaweiVrp => vrp::run(&router, line),
        }
    }

    fn pager(&self) -> &'static str {
        match self.vendor() {
            Vendor::CiscoIos | Vendor::AristaEos => " --More-- ",
            Vendor::JuniperJunos => "---(more)---",
            Vendor::HuaweiVrp => "  ---- More ----",
        }
    }

    /// A key at the prompt of the pager.
    fn page(&mut self, key: char, bytes: &mut Vec<u8>) {
        let blank = format!("\r{}\r", " ".repeat(self.pager().len()));
        bytes.extend(blank.into_bytes());
        let count = match key {
            'q' | 'Q' | '\u{3}' => {
                self.rest.clear();
                bytes.extend(self.prompt().into_bytes());
                return;
            }
            '\r' | '\n' => 1,
            _ => PAGE_LINES,
        };
        let rest = self.rest.split_off(count.min(self.rest.len()));
        bytes.extend(std::mem::replace(&mut self.rest, rest).concat().into_bytes());
        let next = if self.rest.is_empty() { self.prompt() } else { self.pager().to_owned() };
        bytes.extend(next.into_bytes());
    }
}

/// Whether a command turns paging off (`false`) or on.
fn turns_paging(line: &str) -> Option<bool> {
    let off = ["terminal length 0", "set cli screen-length 0", "screen-length 0 temporary", "terminal width"];
    let quiet = ["set cli screen-width", "set cli complete-on-space"];
    if off[..3].iter().any(|command| is_like(line, command)) {
        return Some(false);
    }
    let changes_nothing = line.starts_with(off[3]) || quiet.iter().any(|command| line.starts_with(command));
    changes_nothing.then_some(false)
}

/// Whether what was typed is a command, each word written out or begun.
pub(super) fn is_like(typed: &str, command: &str) -> bool {
    let (typed, command): (Vec<&str>, Vec<&str>) =
        (typed.split_whitespace().collect(), command.split(' ').collect());
    typed.len() == command.len()
        && typed.iter().zip(command).all(|(typed, word)| word.starts_with(&typed.to_ascii_lowercase()))
}

/// Lets an output through a filter that stands behind a `|`: `include`, `exclude`, `begin`, `count`, and `no-more`.
pub(super) fn filtered(text: String, filter: Option<&str>) -> Result<String, ()> {
    let Some(filter) = filter else { return Ok(text) };
    let (word, pattern) = filter.trim().split_once(' ').unwrap_or((filter.trim(), ""));
    let pattern = pattern.trim();
    let has = |line: &&str| pattern.split('|').any(|part| line.contains(part));
    let join = |lines: Vec<&str>| lines.iter().map(|line| format!("{line}\n")).collect();
    Ok(match word {
        "no-more" => text,
        "count" => format!("Count: {} lines\n", text.lines().count()),
        _ if "include".starts_with(word) || "match".starts_with(word) => {
            join(text.lines().filter(has).collect())
        }
        _ if "exclude".starts_with(word) || "except".starts_with(word) => {
            join(text.lines().filter(|line| !has(line)).collect())
        }
        _ if "begin".starts_with(word) => join(text.lines().skip_while(|line| !has(line)).collect()),
        _ => return Err(()),
    })
}

//! The pages that show commands. Every `console` block is run against a demo, in order, and what it prints must be
//! what the page says; a `yaml` block that begins with `# below rest: tools:` is put there first. What differs from
//! run to run (ids, secrets, times, ports) has one spelling in the pages. `UPDATE_EXPECT=1` writes them anew: read
//! the diff.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use expect_test::expect_file;
use regex::Regex;

use crate::app::{App, PROGRAM, QUICKSTART, alone, said, until};

/// What the pages call the demo's address and that of its sample API.
const SHOWN: (&str, &str) = ("127.0.0.1:8000", "127.0.0.1:8098");

#[test]
fn adding_a_tool_is_as_the_page_says() {
    let Some(page) = Reader::read("docs/adding-a-tool.md") else { return };
    expect_file!["../../../../docs/adding-a-tool.md"].assert_eq(&page);
}

#[test]
fn operating_is_as_the_page_says() {
    let Some(page) = Reader::read("docs/operating.md") else { return };
    expect_file!["../../../../docs/operating.md"].assert_eq(&page);
}

#[test]
fn the_readme_shows_what_happens() {
    let Some(page) = Reader::read("README.md") else { return };
    expect_file!["../../../../README.md"].assert_eq(&page);
}

#[test]
fn every_block_of_the_page_on_policy_is_taken() {
    blocks_are_taken("docs/policy.md", 6);
}

#[test]
fn every_block_of_the_page_on_prompts_and_resources_is_taken() {
    blocks_are_taken("docs/prompts-and-resources.md", 3);
}

/// Each block of configuration is good in place of its sections of the quickstart.
fn blocks_are_taken(page: &str, at_least: usize) {
    let page = fs::read_to_string(place(page)).unwrap();
    let blocks: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= at_least);
    for block in blocks {
        let home = tempfile::tempdir().unwrap();
        let sections: Vec<&str> =
            block.lines().filter_map(|line| line.split_once(':').map(|(name, _)| name)).collect();
        let sections: Vec<&str> =
            sections.into_iter().filter(|name| !name.starts_with([' ', '#', '-'])).collect();
        let kept = without(QUICKSTART, &sections);
        fs::write(home.path().join("a.yaml"), format!("{kept}\n{block}")).unwrap();
        fs::create_dir(home.path().join("files")).unwrap();
        let checked = alone(home.path(), &["check", "a.yaml"]);
        assert_eq!(checked.code, 0, "{block}\n{checked:?}");
    }
}

/// A configuration without some of its sections, and without the keys that need them.
fn without(config: &str, sections: &[&str]) -> String {
    let mut kept = String::new();
    let mut is_kept = true;
    for line in config.lines() {
        if !line.starts_with([' ', '#']) && !line.is_empty() {
            let name = line.split(':').next().unwrap_or_default();
            is_kept = !sections.contains(&name) && name != "bootstrap" && name != "principals";
        }
        if is_kept {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn place(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page)
}

/// Reads a page from top to bottom as somebody at a terminal does.
struct Reader {
    app: App,
    /// What stands for an id in the page, by the id itself.
    names: BTreeMap<String, String>,
    /// The configuration as edited since the last command.
    unsaved: Option<String>,
}

impl Reader {
    /// The page with what really happens; none where there is no curl.
    fn read(page: &str) -> Option<String> {
        if Command::new("curl").arg("--version").output().is_err() {
            assert!(std::env::var("PORTCULLIS_BEDS").is_err(), "there is no curl");
            eprintln!("skipped: there is no curl");
            return None;
        }
        let app = App::start();
        let mut reader = Self { app, names: BTreeMap::new(), unsaved: None };
        Some(reader.follow(&fs::read_to_string(place(page)).unwrap()))
    }

    fn follow(&mut self, page: &str) -> String {
        let mut out = String::new();
        let mut lines = page.lines();
        while let Some(line) = lines.next() {
            out.push_str(line);
            out.push('\n');
            let Some(kind) = line.strip_prefix("```").filter(|kind| matches!(*kind, "console" | "yaml"))
            else {
                continue;
            };
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            match kind {
                "console" => out.push_str(&self.run_all(&block)),
                _ => {
                    self.edit(&block);
                    block.iter().for_each(|line| out.push_str(&format!("{line}\n")));
                }
            }
            out.push_str("```\n");
        }
        out
    }

    /// Puts a block into the configuration.
    fn edit(&mut self, block: &[&str]) {
        let Some(where_to) = block.first().and_then(|line| line.strip_prefix("# below ")) else { return };
        let config = self.unsaved.take().unwrap_or_else(|| fs::read_to_string(self.app.config()).unwrap());
        let mut rest = config.as_str();
        for key in where_to.split_whitespace() {
            let at = rest.find(&format!("\n{key}")).or_else(|| rest.find(&format!("\n  {key}"))).unwrap();
            rest = &rest[at + 1..];
            rest = &rest[rest.find('\n').unwrap()..];
        }
        let (head, tail) = config.split_at(config.len() - rest.len() + 1);
        let text = block[1..].join("\n");
        // A tool that is there already gives way to the new text of it.
        let tail = match text.strip_prefix("    get_orders_v1:") {
            Some(_) => tail.replacen("    get_orders:\n      api: shop\n", "", 1),
            None => tail.to_owned(),
        };
        self.unsaved = Some(format!("{head}{text}\n{tail}"));
    }

    /// Saves what was edited and waits until the server has taken it.
    fn save(&mut self) {
        let Some(config) = self.unsaved.take() else { return };
        let taken = || self.app.log().matches("the configuration was taken anew").count();
        let before = taken();
        fs::write(self.app.config(), config).unwrap();
        until("the edited configuration is taken", || taken() > before);
    }

    fn run_all(&mut self, block: &[&str]) -> String {
        self.save();
        let mut out = String::new();
        let mut lines = block.iter().peekable();
        while let Some(line) = lines.next() {
            let Some(first) = line.strip_prefix("$ ") else { continue };
            let mut command = first.to_owned();
            out.push_str(&format!("{line}\n"));
            while command.ends_with('\\') {
                let more = lines.next().expect("a line after a backslash");
                out.push_str(&format!("{more}\n"));
                command = format!("{command}\n{more}");
            }
            out.push_str(&self.run(&command));
        }
        out
    }

    /// Runs one command and gives back what it printed, as the page spells it.
    fn run(&mut self, command: &str) -> String {
        let mut command = command.to_owned();
        for (real, shown) in &self.names {
            command = command.replace(shown.as_str(), real);
        }
        let command = command.replace(SHOWN.0, &self.app.addr.to_string()).replace(SHOWN.1, &self.app.lab);
        // What a command exports is there for the next one.
        let script = format!("[ -f .vars ] && . ./.vars\nset -a\n{{ {command}\n}} 2>&1\nexport -p > .vars\n");
        let mut shell = Command::new("sh");
        shell.current_dir(self.app.home()).env_clear().arg("-c").arg(script);
        let bin = Path::new(PROGRAM).parent().unwrap().display().to_string();
        shell.env("PATH", format!("{bin}:/usr/bin:/bin")).env("HOME", self.app.home());
        shell.env("XDG_STATE_HOME", self.app.home().join("state")).env("NO_COLOR", "1");
        shell.env("KEY", &self.app.key).env("VIEWER_KEY", &self.app.viewer).env("URL", &self.app.url);
        let printed = said(shell.output().unwrap());
        self.shown(&printed.out)
    }

    /// A text with what differs from run to run as the pages spell it.
    fn shown(&mut self, text: &str) -> String {
        let home = self.app.home().display().to_string();
        let mut text = text
            .replace('\r', "")
            .replace(&format!("{home}/"), "")
            .replace(&self.app.addr.to_string(), SHOWN.0);
        text = text.replace(&self.app.lab, SHOWN.1);
        for (pattern, shown) in [
            (
                r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
                "01a1fe3c-332c-728d-8910-ae08cf3d95ce",
            ),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "2026-11-21T13:12:00.558Z"),
            (r"(sk_[a-z0-9-]+_)[0-9A-Za-z]{20,}", "${1}…"),
            (r"(sk_[a-z0-9-]+_)[0-9A-Za-z]{4}\b", "${1}x69K"),
            (
                r#"(latency_ms|uptime_seconds|cpu_percent|memory_percent|disk_percent|memory_usage_percent)":[\d.]+"#,
                "$1\":1.0",
            ),
            (r#"(process_count|bytes_free|bytes_total|files_free)":\d+"#, "$1\":1"),
            (r#""(snapshot|rules|config_hash)":"[0-9a-f]+""#, "\"$1\":\"e16471e42bb6ab5b\""),
            (r#""(hash|prev|signature)":"[0-9a-f]+""#, "\"$1\":\"2a548ef4…\""),
            (r"head [0-9a-f]{64}", "head 2a548ef4…"),
            (r"\d+ records in 1 segments, \d+ checkpoints", "20 records in 1 segments, 2 checkpoints"),
            (r#""seq":\d+"#, r#""seq":20"#),
            (r"line \d+ \(seq \d+\)", "line 14 (seq 14)"),
            (r"(uid|local):\d+", "$1:1000"),
            (r"curl/[0-9.]+", "curl/8.14"),
        ] {
            text = Regex::new(pattern).unwrap().replace_all(&text, shown).into_owned();
        }
        for (kind, pattern, first) in [
            ("chg", r"chg_[0-9A-Za-z_-]{16}", "chg_k3Jd0aPqVn2xW8bC"),
            ("key", r"key_[0-9a-f]{12}", "key_851332187143"),
        ] {
            let found: Vec<String> =
                Regex::new(pattern).unwrap().find_iter(&text).map(|id| id.as_str().to_owned()).collect();
            for id in found {
                let count = self.names.keys().filter(|known| known.starts_with(kind)).count();
                let shown = format!("{}{count}", &first[..first.len() - 1]);
                let shown = self.names.entry(id.clone()).or_insert(shown);
                text = text.replace(&id, shown);
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

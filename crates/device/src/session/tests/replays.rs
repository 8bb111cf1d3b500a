//! A session with each platform, as its devices print it: `platforms/replays/<name>.yaml`.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use super::*;
use crate::platform::{Channel, ErrorClass, Platform, known};

/// A session that was written down.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    /// Prompts of every mode, with the lines above them that belong to them.
    prompts: BTreeMap<String, Vec<String>>,
    /// What the device prints before anything is typed.
    first: String,
    /// What it prints in return for a line until commands are run, in their order. A line of `prepare` that is not
    /// here is echoed, and the prompt printed again.
    #[serde(default)]
    login: Vec<(String, String)>,
    /// What is run.
    commands: Vec<Asked>,
}

/// A command, and what comes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    run: String,
    /// What the device prints in return for the line.
    printed: String,
    /// What it prints in return for each key that its pager is answered with.
    #[serde(default)]
    pages: Vec<(String, String)>,
    /// What a reader gets.
    #[serde(default)]
    text: Option<String>,
    /// The class of the error that it tells of.
    #[serde(default)]
    error: Option<ErrorClass>,
}

/// What a replay must show of its platform, and does not.
fn lacking(platform: &Platform, replay: &Replay) -> Vec<String> {
    let mut lacking = Vec::new();
    for mode in &platform.modes {
        if !replay.prompts.contains_key(&mode.name) {
            lacking.push(format!("there is no prompt of the mode {}", mode.name));
        }
    }
    if !replay.commands.iter().any(|asked| asked.text.as_ref().is_some_and(|text| !text.is_empty())) {
        lacking.push("no command prints something".to_owned());
    }
    for asked in &replay.commands {
        if asked.text.is_none() && asked.error.is_none() {
            lacking.push(format!("it does not say what comes of {:?}", asked.run));
        }
    }
    if !platform.pagers.is_empty() && replay.commands.iter().all(|asked| asked.pages.is_empty()) {
        lacking.push("no output is paged".to_owned());
    }
    if !platform.errors.is_empty() && replay.commands.iter().all(|asked| asked.error.is_none()) {
        lacking.push("no command is one the device refuses".to_owned());
    }
    lacking
}

/// The prompts that are taken for those of another mode, or of none.
fn mistaken(platform: &Platform, replay: &Replay) -> Vec<String> {
    let mut mistaken = Vec::new();
    for (wanted, prompts) in &replay.prompts {
        for prompt in prompts {
            let (above, line) = prompt.rsplit_once('\n').unwrap_or(("", prompt));
            let mode = platform.mode_of(line.trim_end(), above.trim_end());
            let mode = mode.map(|index| platform.modes[index].name.as_str());
            if mode != Some(wanted) {
                mistaken.push(format!("{prompt:?} is {wanted}, and is taken for {mode:?}"));
            }
        }
    }
    mistaken
}

/// Plays it, in pieces of some bytes; what came out otherwise than it should.
fn played(platform: &Platform, replay: &Replay, piece: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut answers: Vec<(&str, &str)> = replay.login.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let home = &platform.modes[platform.home].name;
    let prompt = replay.prompts.get(home).and_then(|prompts| prompts.first()).map_or("", String::as_str);
    let prompt = prompt.replace('\n', "\r\n");
    let quiet: Vec<(&String, String)> =
        platform.prepare.iter().map(|line| (line, format!("{line}\r\n{prompt}"))).collect();
    let is_told = |line: &str| replay.login.iter().any(|(typed, _)| typed == line);
    answers.extend(quiet.iter().filter(|(line, _)| !is_told(line)).map(|(a, b)| (a.as_str(), b.as_str())));
    for asked in &replay.commands {
        answers.push((&asked.run, &asked.printed));
        answers.extend(asked.pages.iter().map(|(a, b)| (a.as_str(), b.as_str())));
    }
    let mut device = Played::new(&replay.first, &answers, piece);
    let (mut session, mut now, opened) = opened(&platform.name, &replay.first, &mut device);
    if let Err(error) = opened {
        return vec![format!("it does not open: {error}")];
    }
    for asked in &replay.commands {
        session.run(&asked.run, now);
        match device.until_done(&mut session, &mut now) {
            Ok(output) => {
                let class = output.error.as_ref().map(|(class, _)| *class);
                if class != asked.error {
                    wrong.push(format!("{}: its error is {class:?}, not {:?}", asked.run, asked.error));
                }
                if asked.text.as_ref().is_some_and(|text| text.trim_end() != output.text.trim_end()) {
                    wrong.push(format!("{}: {:?}, not {:?}", asked.run, output.text, asked.text));
                }
            }
            Err(error) => wrong.push(format!("{}: {error}", asked.run)),
        }
    }
    let unused = (0..answers.len()).filter(|at| !device.used.contains(at)).map(|at| answers[at].0);
    // What was not typed was not tried.
    wrong.extend(unused.map(|typed| format!("{typed:?} is never typed")));
    wrong
}

#[test]
fn every_platform_plays_its_replay() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("platforms/replays");
    let mut wrong = Vec::new();
    let names: BTreeSet<&str> = known().values().map(|known| known.name()).collect();
    for name in names {
        let platform = named(name).unwrap();
        // What has a channel for each command has no session; what is not known yet has no platform.
        if platform.channel == Channel::Exec || name == "autodetect" {
            continue;
        }
        let Ok(text) = fs::read_to_string(folder.join(format!("{name}.yaml"))) else {
            wrong.push(format!("{name}: there is no replay of it"));
            continue;
        };
        let replay: Replay = match serde_saphyr::from_str(&text) {
            Ok(replay) => replay,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let mut found = lacking(platform, &replay);
        found.extend(mistaken(platform, &replay));
        for piece in [2, 5, 4096] {
            let more = played(platform, &replay, piece);
            found.extend(more.into_iter().map(|what| format!("in pieces of {piece}: {what}")));
        }
        wrong.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

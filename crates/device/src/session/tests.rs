mod replays;

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::*;
use crate::platform::named;

const BOUNDS: Bounds = Bounds {
    login_max: Duration::from_secs(20),
    command_max: Duration::from_secs(60),
    silence_max: Duration::from_secs(30),
    output_bytes_max: 1 << 20,
};

/// A device of which is known what it prints in return for a line or a key.
struct Played {
    answers: Vec<(String, String)>,
    used: BTreeSet<usize>,
    typed: String,
    prompt: String,
    /// How many bytes come at a time.
    piece: usize,
}

impl Played {
    fn new(first: &str, answers: &[(&str, &str)], piece: usize) -> Self {
        let answers =
            answers.iter().map(|(typed, printed)| (typed.to_string(), printed.to_string())).collect();
        let prompt = first.rsplit(['\n', '\r']).next().unwrap_or_default().to_owned();
        Self { answers, used: BTreeSet::new(), typed: String::new(), prompt, piece }
    }

    /// What is printed in return for what is typed.
    fn take(&mut self, bytes: &[u8]) -> String {
        let mut printed = String::new();
        let typed = String::from_utf8_lossy(bytes);
        // A line ends with LF, CR LF or CR, whichever the platform says.
        for c in typed.replace("\r\n", "\n").replace('\r', "\n").chars() {
            if let Some(answer) = self.typed.is_empty().then(|| self.find(&c.to_string())).flatten() {
                printed.push_str(&answer);
            } else if c == '\n' {
                let line = std::mem::take(&mut self.typed);
                let answer = self.find(&line);
                printed
                    .push_str(&answer.unwrap_or_else(|| {
                        format!("{line}\r\n% Unknown command: {line}\r\n{}", self.prompt)
                    }));
            } else {
                self.typed.push(c);
            }
        }
        printed
    }

    /// The answer that was not given yet, or else the first.
    fn find(&mut self, typed: &str) -> Option<String> {
        let fits = |(typed_then, _): &(String, String)| typed_then.trim_end_matches('\n') == typed;
        let fresh = (0..self.answers.len()).find(|at| !self.used.contains(at) && fits(&self.answers[*at]));
        let at = fresh.or_else(|| self.answers.iter().position(fits))?;
        self.used.insert(at);
        let last = self.answers[at].1.rsplit(['\n', '\r']).next().unwrap_or_default();
        if last.trim_end().ends_with(['#', '>']) {
            last.clone_into(&mut self.prompt);
        }
        Some(self.answers[at].1.clone())
    }

    /// Plays on until the session has a result.
    fn until_done(&mut self, session: &mut Session, now: &mut Instant) -> Result<Output, SessionError> {
        for _ in 0..100_000 {
            match session.poll(*now) {
                Step::Done(result) => return result,
                Step::Wait(until) => *now = (*now).max(until),
                Step::Write(Typed { bytes, .. }) => {
                    let printed = self.take(&bytes);
                    for piece in printed.as_bytes().chunks(self.piece) {
                        session.feed(piece, *now);
                    }
                }
            }
        }
        panic!("the session goes round in circles");
    }
}

fn opened(
    platform: &str,
    first: &str,
    played: &mut Played,
) -> (Session, Instant, Result<Output, SessionError>) {
    opened_with("more secret", platform, first, played)
}

fn opened_with(
    enable: &str,
    platform: &str,
    first: &str,
    played: &mut Played,
) -> (Session, Instant, Result<Output, SessionError>) {
    let mut now = Instant::now();
    let typist = Typist {
        user: "user".to_owned(),
        password: Some(Secret::new("secret".to_owned())),
        enable: Some(Secret::new(enable.to_owned())),
    };
    let mut session = Session::open(Arc::clone(named(platform).unwrap()), typist, BOUNDS, now);
    session.feed(first.as_bytes(), now);
    let result = played.until_done(&mut session, &mut now);
    (session, now, result)
}

/// A session on a device that prints this first, and what it then answers to `show x`.
fn asked(platform: &str, first: &str, answers: &[(&str, &str)]) -> Result<Output, SessionError> {
    let mut results = [2, 5, 4096].map(|piece| {
        let mut played = Played::new(first, answers, piece);
        let (mut session, mut now, result) = opened(platform, first, &mut played);
        result?;
        session.run("show x", now);
        played.until_done(&mut session, &mut now)
    });
    let last = results[2].clone();
    for result in &mut results {
        assert_eq!(*result, last);
    }
    last
}

fn text(result: Result<Output, SessionError>) -> String {
    result.unwrap().text
}

#[test]
fn output_is_what_stands_between_echo_and_prompt() {
    let quiet = [
        ("terminal length 0", "terminal length 0\r\nr1#"),
        ("terminal width 511", "terminal width 511\r\nr1#"),
    ];
    let with = |answer: &'static str| [quiet[0], quiet[1], ("show x", answer)];
    let cases = [
        ("show x\r\none\r\ntwo\r\nr1#", "one\ntwo"),
        ("show x\r\nr1#", ""),
        // a prompt in the middle of the output is not the end of it
        ("show x\r\nlog: r1#\r\n r1# show y\r\nend\r\nr1#", "log: r1#\n r1# show y\nend"),
        // a message comes before the echo, and the device paints its prompt anew
        ("\r\n*Mar 1 00:00:01: %SYS-5-CONFIG_I: changed\r\nr1#show x\r\none\r\nr1#", "one"),
        // the echo is broken by the device
        ("show \r\nx\r\none\r\nr1#", "x\none"),
        // a pager
        ("show x\r\none\r\n --More-- ", "one\ntwo"),
    ];
    for (answer, wanted) in cases {
        let mut answers = with(answer).to_vec();
        answers.push((" ", "\r        \rtwo\r\nr1#"));
        assert_eq!(text(asked("cisco_ios", "\r\nr1#", &answers)), wanted, "{answer:?}");
    }
}

/// BIRD paints its prompt as soon as a line is typed, and takes it away when its answer comes.
#[test]
fn a_prompt_that_is_taken_away_again_ends_nothing() {
    let first = "BIRD 2.0.12 ready.\r\n\x1b[?2004hbird> ";
    let answer = "show x\r\n\x1b[?2004l\r\x1b[?2004hbird> \r\x1b[KTable master4:\r\none\r\nbird> ";
    assert_eq!(text(asked("bird", first, &[("show x", answer)])), "Table master4:\none");
    // However long the answer takes.
    let mut now = Instant::now();
    let mut played = Played::new(first, &[("show x", "show x\r\nbird> ")], 4096);
    let (mut session, _, opened) = opened("bird", first, &mut played);
    assert!(opened.is_ok());
    session.run("show x", now);
    for _ in 0..20 {
        match session.poll(now) {
            Step::Done(result) => panic!("it ended with {result:?}"),
            Step::Wait(_) => now += Duration::from_millis(500),
            Step::Write(Typed { bytes, .. }) => session.feed(played.take(&bytes).as_bytes(), now),
        }
    }
    session.feed(b"\r\x1b[Kone\r\nbird> ", now);
    assert_eq!(text(played.until_done(&mut session, &mut now)), "one");
    // Where it is not painted, as without a terminal, the prompt counts once it stands.
    assert_eq!(text(asked("bird", first, &[("show x", "show x\r\none\r\nbird> ")])), "one");
}

#[test]
fn the_privileged_mode_is_entered_and_a_wrong_secret_is_sent_once() {
    let right = [
        ("enable", "enable\r\nPassword: "),
        ("more secret", "\r\nr1#"),
        ("terminal length 0", "terminal length 0\r\nr1#"),
        ("terminal width 511", "terminal width 511\r\nr1#"),
        ("show x", "show x\r\none\r\nr1#"),
    ];
    assert_eq!(text(asked("cisco_ios", "\r\nr1>", &right)), "one");
    let wrong = [
        ("enable", "enable\r\nPassword: "),
        ("more secret", "\r\nPassword: "),
        ("", "\r\n% Bad secrets\r\n\r\nr1>"),
    ];
    let refused = asked("cisco_ios", "\r\nr1>", &wrong).unwrap_err();
    assert_eq!(refused.to_string(), "the device did not go to privileged_exec: % Bad secrets");
}

#[test]
fn logins_in_the_session_are_filled_in_once() {
    let right = [("user", "user\r\nPassword: "), ("secret", "\r\nr1#"), ("show x", "show x\r\none\r\nr1#")];
    assert_eq!(text(asked("frr", "\r\nUser Access Verification\r\n\r\nUsername: ", &right)), "one");
    let wrong = [("user", "user\r\nPassword: "), ("secret", "\r\n% Login invalid\r\n\r\nUsername: ")];
    assert_eq!(asked("frr", "Username: ", &wrong), Err(SessionError::LoginRefused));
}

#[test]
fn questions_are_not_answered() {
    let answers = [
        ("show x", "show x\r\nClear it all? [confirm]"),
        ("\u{3}", "^C\r\nr1#"),
        ("terminal length 0", "\r\nr1#"),
    ];
    let error = asked("frr", "r1#", &answers).unwrap_err();
    assert_eq!(error, SessionError::Asked { question: "Clear it all? [confirm]".to_owned() });
}

#[test]
fn a_command_that_hangs_is_broken_off_and_the_session_goes_on() {
    let first = "r1#";
    let answers =
        [("show x", "show x\r\nnothing more"), ("\u{3}", "^C\r\nr1#"), ("show y", "show y\r\nyes\r\nr1#")];
    let mut played = Played::new(first, &answers, 5);
    let (mut session, mut now, _) = opened("frr", first, &mut played);
    session.run("show x", now);
    let error = played.until_done(&mut session, &mut now).unwrap_err();
    assert!(matches!(error, SessionError::TimedOut { .. }), "{error:?}");
    assert!(!session.is_lost());
    session.run("show y", now);
    assert_eq!(text(played.until_done(&mut session, &mut now)), "yes");
}

#[test]
fn a_device_without_a_prompt_is_an_error_in_time() {
    let mut played = Played::new("Welcome", &[], 5);
    let (session, _, result) = opened("frr", "Welcome", &mut played);
    assert!(matches!(result, Err(SessionError::NoPrompt { .. })), "{result:?}");
    assert!(session.is_lost());
}

#[test]
fn a_flood_is_cut_and_the_session_goes_on() {
    let flood = format!("show x\r\n{}", "x".repeat(99) + "\r\n");
    let flood = flood.clone() + &("y".repeat(98) + "\r\n").repeat(20_000);
    let answers = [("show x", flood.as_str()), ("\u{3}", "^C\r\nr1#"), ("show y", "show y\r\nyes\r\nr1#")];
    let mut played = Played::new("r1#", &answers, 4096);
    let (mut session, mut now, _) = opened("frr", "r1#", &mut played);
    session.run("show x", now);
    let output = played.until_done(&mut session, &mut now).unwrap();
    assert!(output.cut && output.text.len() <= BOUNDS.output_bytes_max, "{}", output.text.len());
    session.run("show y", now);
    assert_eq!(text(played.until_done(&mut session, &mut now)), "yes");
}

/// What a recording means: it is written as a text of Ruby in double quotes.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        let digits = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, radix: u32, most: usize| {
            let mut digits = String::new();
            while digits.len() < most && chars.peek().is_some_and(|c| c.is_digit(radix)) {
                digits.extend(chars.next());
            }
            u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32)
        };
        match chars.next() {
            Some('e') => plain.push('\x1b'),
            Some('r') => plain.push('\r'),
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('a') => plain.push('\x07'),
            Some('b') => plain.push('\x08'),
            Some('x') => plain.extend(digits(&mut chars, 16, 2)),
            Some('u') => plain.extend(digits(&mut chars, 16, 4)),
            Some('0') => plain.extend(digits(&mut chars, 8, 2).or(Some('\0'))),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    let mut whole = String::new();
    for c in plain.chars() {
        if c == '\n' && !whole.ends_with('\r') {
            whole.push('\r');
        }
        whole.push(c);
    }
    whole
}

#[test]
fn recorded_sessions_are_read_to_the_expected_text() {
    let Some(folder) = testkit::corpus("oxidized") else { return };
    let files = fs::read_dir(&folder).unwrap();
    let mut wrong = Vec::new();
    let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with("#simulation.yaml"));
    names.sort();
    for name in &names {
        let recorded = fs::read_to_string(folder.join(name)).unwrap();
        let wanted = name.replace("simulation.yaml", "output.txt");
        let wanted = fs::read_to_string(folder.join(wanted)).unwrap();
        wrong.extend(replayed(name, &recorded, &wanted));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), names.len(), wrong.join("\n"));
}

/// Replays a recording and looks for the expected lines in what was read; what is missing.
fn replayed(name: &str, recorded: &str, wanted: &str) -> Option<String> {
    let value: Value = serde_saphyr::from_str(recorded).unwrap();
    let pair = |(typed, printed): (&String, &Value)| {
        let typed = unescaped(typed).replace('\r', "");
        (typed, unescaped(printed.as_str().unwrap_or_default()))
    };
    let answers: Vec<(String, String)> = match &value["commands"] {
        Value::Object(map) => map.iter().map(pair).collect(),
        Value::Array(items) => {
            items.iter().flat_map(|item| item.as_object().unwrap().iter().map(pair)).collect()
        }
        _ => panic!("{name} has no commands"),
    };
    let model = name.split('#').next().unwrap();
    if named(model).is_none() {
        return Some(format!("{name}: there is no platform {model}"));
    }
    if model == "eatonnetwork" {
        // What is expected of it was made of its JSON, and is no text that it prints.
        return None;
    }
    let mut first = value["init_prompt"].as_str().map(unescaped).unwrap_or_default();
    let mut answers = answers;
    // Some were recorded without a terminal, or without its prompts and echoes: what a terminal adds is put around them.
    if let Some(prompt) = added_prompt(model, &first) {
        first.push_str(if first.is_empty() { prompt } else { "" });
        for (typed, printed) in &mut answers {
            *printed = format!("{}\r\n{printed}\r\n{prompt}", typed.trim_end_matches('\n'));
        }
    }
    let ends = ["exit", "quit", "logout"];
    let commands: Vec<&str> = answers
        .iter()
        .map(|(typed, _)| typed.trim_end_matches('\n'))
        .filter(|typed| {
            !typed.trim().is_empty() && !ends.contains(typed) && !typed.starts_with(|c: char| c.is_control())
        })
        .filter(|typed| !["enable", "n"].contains(typed))
        .collect();
    let mut read = String::new();
    let pairs: Vec<(&str, &str)> = answers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let mut played = Played::new(&first, &pairs, 7);
    let (mut session, mut now, opened) = opened_with("", model, &first, &mut played);
    if let Err(error) = opened {
        return Some(format!("{name}: {error}"));
    }
    for command in commands {
        session.run(command, now);
        match played.until_done(&mut session, &mut now) {
            Ok(output) => read.push_str(&(output.text + "\n")),
            Err(error) => return Some(format!("{name}: {command}: {error}")),
        }
    }
    // Lines that an export broke are expected whole.
    let read = regex::Regex::new(r"\\\n +").unwrap().replace_all(&read, "");
    // Expected texts may hold the prompts and the echoes that stand between the outputs.
    let typed: Vec<&str> = answers.iter().map(|(typed, _)| typed.trim_end()).collect();
    let prompt = session.prompt().unwrap_or_default();
    let mut missing = missing(&read, wanted);
    missing.retain(|line| !line.ends_with(prompt) && !typed.iter().any(|typed| line.ends_with(typed)));
    if model == "arubainstant" {
        // Its expected text leaves columns of the table of access points out.
        missing
            .retain(|line| !(line.contains("Serial #") || line.contains("----  ") || line.contains("OXR")));
    }
    let some = missing.iter().take(6).map(|line| format!("{line:?}")).collect::<Vec<_>>().join("\n    ");
    (!missing.is_empty()).then(|| format!("{name}: {} lines are missing:\n    {some}", missing.len()))
}

/// The prompt of a device whose recording has none.
fn added_prompt(model: &str, first: &str) -> Option<&'static str> {
    match model {
        "junos" => Some("oxidized> "),
        "routeros" if first.is_empty() => Some("[admin@MikroTik] > "),
        _ if first.is_empty() => Some("root@device:~# "),
        _ => None,
    }
}

/// The lines of an expected text that were not read. The expected texts were made for comparing backups: lines stand
/// behind the sign of a comment, what changes all the time is a word in angle brackets, and some are headings.
fn missing(read: &str, wanted: &str) -> Vec<String> {
    let bare = |line: &str| {
        // Versions were put behind the end of XML.
        let line = line.split("<!-- ").next().unwrap_or_default().trim();
        let signs = ["! ", "# ", "// ", "; ", "!", "#"];
        signs.iter().find_map(|sign| line.strip_prefix(sign)).unwrap_or(line).trim().to_owned()
    };
    let have: BTreeSet<String> = read.lines().flat_map(|line| [line.trim().to_owned(), bare(line)]).collect();
    let placeholder = regex::Regex::new(" *<[a-z]+(?: [a-z]+)*>").unwrap();
    let is_read = |line: &str| {
        let mut pattern = String::from("^");
        let mut end = 0;
        for found in placeholder.find_iter(line) {
            pattern.push_str(&regex::escape(&line[end..found.start()]));
            pattern.push_str(r"\s*\S.*?");
            end = found.end();
        }
        pattern.push_str(&regex::escape(&line[end..]));
        let pattern = regex::Regex::new(&(pattern + "$")).unwrap();
        have.contains(line) || (end > 0 && have.iter().any(|have| pattern.is_match(have)))
    };
    let is_heading = |line: &str| line.is_empty() || line.contains("output stripped");
    let lines = wanted.lines().filter(|line| !line.trim().is_empty() && !is_heading(&bare(line)));
    lines.filter(|line| !is_read(line.trim()) && !is_read(&bare(line))).map(str::to_owned).collect()
}

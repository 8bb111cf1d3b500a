//! What platform a device is of: it is asked what it is, in the words of those platforms first whose prompt it shows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Room,
    error::DeviceError,
    inventory::Device,
    platform::{self, Sign},
    session::Bounds,
    shapes::{DetectResult, Shown},
    tape::Tape,
};

/// The name of the platform that stands for one that is not known.
pub(crate) const UNKNOWN: &str = "autodetect";
/// The most questions to one device.
const QUESTIONS_MAX: usize = 40;
/// A device that does not know a command says so at once.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// What a device is shows on the first page.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

impl Room {
    /// Asks a device what it is.
    pub(crate) async fn detect(
        &self,
        device: &Arc<Device>,
        tape: &Arc<Tape>,
        ends: Instant,
    ) -> Result<DetectResult, DeviceError> {
        let bare =
            platform::named(UNKNOWN).ok_or_else(|| DeviceError::NotFound { asked: UNKNOWN.to_owned() })?;
        let unknown = Device { platform: bare, ..Device::clone(device) };
        let bounds = Bounds {
            command_max: ANSWER_MAX,
            silence_max: SILENCE_MAX,
            output_bytes_max: ANSWER_BYTES_MAX,
            ..self.pool.bounds()
        };
        let mut taken = self.pool.take_apart(&unknown, tape, bounds).await?;
        let prompt = taken.prompt().unwrap_or_default().to_owned();
        let mut asked = Vec::new();
        let mut found = Vec::new();
        let may_ask = |ask: &&str| !self.is_denied(ask);
        for ask in questions(&prompt).into_iter().filter(may_ask).take(QUESTIONS_MAX) {
            // What was asked so far is told, rather than that there was no time.
            if Instant::now() + ANSWER_MAX > ends {
                break;
            }
            asked.push(ask.to_owned());
            let answer = match self.pool.run(&unknown, &mut taken, ask).await {
                Ok(answer) => answer.text,
                // It asked something back, or took too long: the next question may do.
                Err(_) if !taken.is_lost() => continue,
                Err(_) => {
                    self.pool.renew(&unknown, &mut taken).await?;
                    continue;
                }
            };
            found = told(ask, &answer, &prompt);
            if !found.is_empty() {
                break;
            }
        }
        let (first, also) = match found.split_first() {
            Some((first, rest)) => {
                (Some(first), rest.iter().map(|(sign, _)| sign.platform.to_owned()).collect())
            }
            None => (None, Vec::new()),
        };
        let known = first.and_then(|(sign, _)| platform::named(sign.platform));
        Ok(DetectResult {
            device: Arc::clone(&device.name),
            configured: device.platform.name.clone(),
            platform: known.map(|platform| platform.name.clone()),
            title: known.map(|platform| platform.title.clone()),
            shown: first.map(|(sign, line)| Shown { command: sign.ask.to_owned(), line: line.clone() }),
            also,
            prompt,
            asked,
        })
    }
}

/// What to ask a device with this prompt, in order: what most of the platforms answer that have such a prompt.
fn questions(prompt: &str) -> Vec<&'static str> {
    let mut questions: Vec<(&'static str, usize, usize)> = Vec::new();
    for sign in platform::signs() {
        let fits = platform::named(sign.platform).is_some_and(|platform| platform.may_prompt(prompt));
        let at = questions.iter().position(|(ask, ..)| *ask == sign.ask).unwrap_or_else(|| {
            questions.push((sign.ask, 0, 0));
            questions.len() - 1
        });
        questions[at].1 += usize::from(fits);
        questions[at].2 += 1;
    }
    questions.sort_by_key(|(_, fitting, all)| std::cmp::Reverse((*fitting, *all)));
    questions.into_iter().map(|(ask, ..)| ask).collect()
}

/// The signs that an answer shows, and the line of each; those of platforms with such a prompt first.
fn told(ask: &str, answer: &str, prompt: &str) -> Vec<(&'static Sign, String)> {
    let of_ask = platform::signs().iter().filter(|sign| sign.ask == ask);
    let mut found: Vec<(&Sign, String)> =
        of_ask.filter_map(|sign| Some((sign, sign.shown_in(answer)?.chars().take(200).collect()))).collect();
    let fits =
        |sign: &Sign| platform::named(sign.platform).is_some_and(|platform| platform.may_prompt(prompt));
    found.sort_by_key(|(sign, _)| !fits(sign));
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    #[test]
    fn questions_go_by_the_prompt() {
        assert_eq!(questions("R1#")[0], "show version");
        assert_eq!(questions("<HUAWEI>")[0], "display version");
        assert_eq!(questions("[admin@MikroTik] >")[0], "/system resource print");
        // A host is asked for its distribution before its kernel, which says less.
        let of_host = questions("root@host:~#");
        let at = |ask: &str| of_host.iter().position(|one| *one == ask).unwrap();
        assert!(at("cat /etc/os-release") < at("uname -a") && at("uname -a") < QUESTIONS_MAX, "{of_host:?}");
    }

    /// What others recorded of devices of known platforms is told apart.
    #[test]
    fn recorded_answers_are_told_apart() {
        let Some(path) = testkit::corpus("textfsm-cases.jsonl") else { return };
        let (mut wrong, mut count) = (Vec::new(), 0);
        for line in fs::read_to_string(path).unwrap().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let (name, ask) = (case["platform"].as_str().unwrap(), case["command"].as_str().unwrap());
            let Some(platform) = platform::named(name) else { continue };
            if !platform::signs().iter().any(|sign| sign.platform == platform.name && sign.ask == ask) {
                continue;
            }
            count += 1;
            let found: Vec<&str> = told(ask, case["raw"].as_str().unwrap(), "R1#")
                .iter()
                .map(|(sign, _)| sign.platform)
                .collect();
            // Two of them stand under each other's name there.
            let right = match platform.name.as_str() {
                "aruba_os" => "hp_procurve",
                "hp_procurve" if ask == "show version" => "aruba_os",
                name => name,
            };
            if found != [right] {
                wrong.push(format!("{name}: {ask} tells of {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        assert!(count > 20, "{count}");
    }
}

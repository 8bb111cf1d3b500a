//! Messages of logs, as devices of every platform print them.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad a message is (RFC 5424, section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// The system cannot be used.
    Emergency,
    /// Something must be done at once.
    Alert,
    /// Critical.
    Critical,
    /// An error.
    Error,
    /// A warning.
    Warning,
    /// Normal, but of note.
    Notice,
    /// What goes on.
    Informational,
    /// For those who search for errors.
    Debug,
}

impl Severity {
    /// A severity by its number, or by a vendor's word for it. Those of alarms stand for what RFC 5674, section 2, has
    /// them stand for.
    fn of(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "0" | "emergency" => Self::Emergency,
            "1" | "alert" => Self::Alert,
            "2" | "critical" | "major" => Self::Critical,
            "3" | "error" | "minor" | "high" | "e" => Self::Error,
            "4" | "warning" | "medium" | "w" => Self::Warning,
            "5" | "notice" | "indeterminate" | "cleared" | "low" | "n" => Self::Notice,
            "6" | "information" | "informational" | "info" | "i" => Self::Informational,
            "7" | "debug" | "d" => Self::Debug,
            _ => return None,
        })
    }
}

/// A message of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Message {
    /// When it was written, as the device writes it; null where the line does not say.
    pub(crate) timestamp: Option<String>,
    /// How bad it is; null where the line does not say.
    pub(crate) severity: Option<Severity>,
    /// The message.
    pub(crate) message: String,
}

/// The forms that lines of logs have: the parts `time`, `date`, `severity`, `topics`, `facility`, and `rest`, which is
/// the message; `goes_on` where it goes on in the next lines, until an empty one. The first that fits counts.
const FORMS: &[&str] = &[
    // Cisco: `*Mar  1 00:00:01.123 UTC: %SYS-5-CONFIG_I: text`, also after a year, a sequence number or a host.
    r"^(?:\d+: )?(?P<time>.*?)[:\s]*%(?P<facility>[A-Z][\w\-]*)-(?:\w+-)?(?P<severity>[0-7])-(?P<rest>.*)$",
    // Comware: `%Nov 27 21:00:00:123 2026 host IFNET/5/LINK_UPDOWN: text`.
    r"^%@?\d*(?P<time>[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d(?::\d+)? \d{4}) \S+ (?P<rest>\w+/(?P<severity>[0-7])/.*)$",
    // Huawei: `2026-01-01 00:00:00 host %%01IFNET/4/LINK_STATE(l)[0]:text`.
    r"^(?P<time>.*?)\s+(?:\S+\s+)?%%\d{2}(?P<rest>\w+/(?P<severity>[0-7])/.*)$",
    // SR OS: `115 2026/04/10 16:21:45.072 UTC MINOR: LLDP #2101 Base text`, and the text again in the next line.
    r"^\d+ (?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\S* \S+) (?P<severity>CRITICAL|MAJOR|MINOR|WARNING|INDETERMINATE|CLEARED): (?P<rest>.*)(?P<goes_on>)$",
    // FortiOS: `1: date=2026-01-01 time=00:00:00 .. level="notice" .. msg="text"`.
    r#"^(?:\d+: )?date=(?P<date>\S+) time=(?P<time>\S+) (?P<rest>.*?\blevel="?(?P<severity>\w+).*)$"#,
    // PAN-OS: `2026/01/01 00:00:00 info     general        general 0  text`.
    r"^(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) +(?P<severity>critical|high|medium|low|info\w*) +(?P<rest>.*)$",
    // RouterOS: `2026-01-01 00:00:00 system,info,account text`, with less of the date the older it is.
    r"^(?P<time>(?:\d{4}-\d\d-\d\d |\d\d-\d\d |[a-z]{3}/\d\d(?:/\d{4})? )?\d\d:\d\d:\d\d) (?P<topics>[a-z][\w\-]*(?:,[\w!\-]+)+) (?P<rest>.*)$",
    // SR Linux: `2026-01-01T00:00:00.000000+00:00 host sr_bgp_mgr: bgp|1885|1935|00012|W: text`.
    r"^(?P<time>\d{4}-\d{2}-\d{2}T\S+)\s+\S+\s+(?P<rest>\S+ ?\w+\|\d+\|\d+\|\d+\|(?P<severity>[EWNID]): .*)$",
    // RFC 3164: `Nov 27 21:00:00 host program[1]: text`, and the same with a time of RFC 3339.
    r"^(?P<time>[A-Z][a-z]{2}\s+\d{1,2} \d{2}:\d{2}:\d{2}|\d{4}-\d{2}-\d{2}T\S+)\s+\S+\s+(?P<rest>.*)$",
];

static COMPILED: LazyLock<Vec<Regex>> =
    LazyLock::new(|| FORMS.iter().filter_map(|form| Regex::new(form).ok()).collect());

/// The messages in an output, in its order; lines that are none are left out.
///
/// Error: a sentence, where several lines have times and none of them is a message.
pub(crate) fn messages(text: &str) -> Result<Vec<Message>, String> {
    let mut all: Vec<Message> = Vec::new();
    let mut goes_on = false;
    for line in text.lines().map(str::trim) {
        let found = COMPILED.iter().find_map(|form| form.captures(line));
        match (found, all.last_mut()) {
            (Some(found), _) => {
                goes_on = found.name("goes_on").is_some();
                all.push(message(&found));
            }
            (None, Some(last)) if goes_on && !line.is_empty() => {
                last.message.push(' ');
                last.message.push_str(line);
            }
            (None, _) => goes_on = false,
        }
    }
    static TIME: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(?:^|\s)\d\d:\d\d:\d\d(?:[.,\s]|$)").ok());
    // One such line may be the time of the answer itself, which some devices print above it.
    let has_time = |line: &&str| TIME.as_ref().is_some_and(|time| time.is_match(line));
    if all.is_empty() && text.lines().filter(has_time).nth(1).is_some() {
        return Err(
            "it holds times, and none of its lines is a message as they are on this platform".to_owned()
        );
    }
    Ok(all)
}

fn message(found: &Captures<'_>) -> Message {
    let named = |name: &str| found.name(name).map(|text| text.as_str().trim());
    let (severity, topics) = (named("severity"), named("topics"));
    let rest = named("rest").unwrap_or_default();
    let message = match (named("facility"), severity, topics) {
        (Some(facility), Some(severity), _) => format!("%{facility}-{severity}-{rest}"),
        (_, _, Some(topics)) => format!("{topics} {rest}"),
        _ => rest.to_owned(),
    };
    let of_topics = || topics.into_iter().flat_map(|topics| topics.split(',')).filter_map(Severity::of).min();
    let time = [named("date"), named("time")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let time = time.trim_matches(['*', '.', ':', ' ']).to_owned();
    Message {
        timestamp: (!time.is_empty()).then_some(time),
        severity: severity.and_then(Severity::of).or_else(of_topics),
        message,
    }
}

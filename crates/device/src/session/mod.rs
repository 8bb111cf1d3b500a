//! A session on a device, without IO and without a clock: bytes and the time go in, bytes to send and answers come out.
//!
//! What a device prints is framed by what it shows in return for what was typed: the echo of the command, and after it
//! the prompt, alone on the last line. So one round trip is enough for a command, and a log message or the end of an
//! earlier command is never taken for its answer. The prompt is learned; where it changes (a mode, another hostname), it
//! must fit a mode of the platform.

#[cfg(test)]
mod anything;
mod exchange;
mod screen;

use std::{
    collections::VecDeque,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use regex::bytes::Regex;
use tool::Secret;

use self::{
    exchange::{Exchange, Purpose},
    screen::Screen,
};
use crate::platform::{Dialog, ErrorClass, Fill, Platform, compiled};

/// How long a line that is a prompt by its shape, but not the learned one, must stand before it counts.
const SETTLE: Duration = Duration::from_millis(300);
/// How long a prompt must stand where the command was never echoed.
const SETTLE_WITHOUT_ECHO: Duration = Duration::from_millis(700);
/// How long a prompt of no known shape must stand after a login.
const SETTLE_ODD: Duration = Duration::from_millis(1500);
/// How long a question must stand before it counts as one.
const SETTLE_QUESTION: Duration = Duration::from_millis(200);
/// What empties a line that is being typed: Ctrl-U, as readline and its kin have it.
const KILL_LINE: &str = "\u{15}";
/// How long breaking a command off may take.
const INTERRUPT_MAX: Duration = Duration::from_secs(3);
/// How often a pager is told to go on in one command.
const PAGES_MAX: u32 = 100_000;
/// How many questions a login may ask.
const QUESTIONS_MAX: u32 = 12;

/// What a prompt is like, whoever made the device.
static ODD_PROMPT: LazyLock<Regex> = LazyLock::new(|| match compiled(r"^[^\s>#$%][^>#$%]{0,62}[>#$%]$") {
    Ok(pattern) => pattern,
    Err(error) => unreachable!("a pattern written here does not compile: {error}"),
});

/// The bounds of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The longest wait from the shell to the first prompt.
    pub(crate) login_max: Duration,
    /// The longest a command may take.
    pub(crate) command_max: Duration,
    /// The longest that a command may print nothing.
    pub(crate) silence_max: Duration,
    /// The most bytes of the output of one command.
    pub(crate) output_bytes_max: usize,
}

/// Who is at the keyboard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typist {
    /// The name of the user, where the device asks for it in the session.
    pub(crate) user: String,
    /// The password, likewise.
    pub(crate) password: Option<Secret>,
    /// The secret for the privileged mode.
    pub(crate) enable: Option<Secret>,
}

/// Why a session or a command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("the device showed no prompt within {} s; its last line is {last:?}", took.as_secs_f32())]
    NoPrompt { took: Duration, last: String },
    #[error("the command did not end within {} s; its last line is {last:?}", took.as_secs_f32())]
    TimedOut { took: Duration, last: String },
    #[error("the command asks {question:?}, and nothing here answers; it was broken off")]
    Asked { question: String },
    #[error("the login cannot go on: {why}")]
    Stuck { why: String },
    #[error("the device refused the login in its session")]
    LoginRefused,
    #[error("the device asks for the secret of {mode}, and none is configured")]
    NoSecret { mode: String },
    #[error("the device did not go to {mode}: {said}")]
    ModeRefused { mode: String, said: String },
    #[error("there is no way from {from} to {to} on this platform")]
    NoWay { from: String, to: String },
    #[error("the device closed the session")]
    Closed,
}

/// What a command printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// The text, without the echo and the prompt.
    pub(crate) text: String,
    /// True where there was more than is kept.
    pub(crate) cut: bool,
    /// The error that the device told of, and the line that says so.
    pub(crate) error: Option<(ErrorClass, String)>,
}

/// What is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) bytes: Vec<u8>,
    /// True where nobody may read it.
    pub(crate) is_secret: bool,
}

impl Typed {
    fn plain(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), is_secret: false }
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send this.
    Write(Typed),
    /// Feed bytes as they come, and ask again at this time at the latest.
    Wait(Instant),
    /// What was asked for is done.
    Done(Result<Output, SessionError>),
}

/// What is known of the prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Prompt {
    line: String,
    mode: usize,
}

/// A session.
pub(crate) struct Session {
    platform: Arc<Platform>,
    typist: Typist,
    bounds: Bounds,
    screen: Screen,
    prompt: Option<Prompt>,
    /// What is still to be typed, in order.
    queue: VecDeque<Exchange>,
    /// What was typed, and waits for its prompt.
    current: Option<Exchange>,
    to_write: VecDeque<Typed>,
    /// What came of the last exchange that someone waits for.
    result: Option<Result<Output, SessionError>>,
    /// When something last came.
    last_byte: Instant,
    is_lost: bool,
}

impl Session {
    /// A session whose shell has just been opened. [`poll`](Self::poll) says what to do until it is ready.
    pub(crate) fn open(platform: Arc<Platform>, typist: Typist, bounds: Bounds, now: Instant) -> Self {
        let screen = Screen::new(bounds.output_bytes_max);
        let mut session = Self {
            platform,
            typist,
            bounds,
            screen,
            prompt: None,
            queue: VecDeque::new(),
            current: None,
            to_write: VecDeque::new(),
            result: None,
            last_byte: now,
            is_lost: false,
        };
        session.queue.push_back(Exchange::login(now));
        session.next(now);
        session
    }

    /// Types a command. Whoever calls has polled the one before to its end.
    pub(crate) fn run(&mut self, command: &str, now: Instant) {
        self.result = None;
        let home = self.platform.home;
        match self.go(home, now) {
            Ok(()) => self.queue.push_back(Exchange::command(command, now)),
            Err(error) => self.result = Some(Err(error)),
        }
        self.next(now);
    }

    /// True once no further command can be run here.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// The prompt, once it is known.
    pub(crate) fn prompt(&self) -> Option<&str> {
        self.prompt.as_ref().map(|prompt| prompt.line.as_str())
    }

    /// Takes what came from the device.
    pub(crate) fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.last_byte = now;
        self.screen.feed(bytes);
        self.look(now);
    }

    /// The device has closed the session.
    pub(crate) fn closed(&mut self) {
        self.is_lost = true;
        self.queue.clear();
        if self.current.take().is_some() || self.result.is_none() {
            self.result = Some(Err(SessionError::Closed));
        }
    }

    /// What to do next.
    pub(crate) fn poll(&mut self, now: Instant) -> Step {
        self.look(now);
        if let Some(typed) = self.to_write.pop_front() {
            return Step::Write(typed);
        }
        match (&self.current, self.result.take()) {
            (None, Some(result)) => Step::Done(result),
            (None, None) => Step::Done(Err(SessionError::Closed)),
            (Some(exchange), result) => {
                self.result = result;
                Step::Wait(self.wake_at(exchange))
            }
        }
    }

    /// When to look again, though nothing came.
    fn wake_at(&self, exchange: &Exchange) -> Instant {
        let ends = exchange.ends_at(&self.bounds).min(self.last_byte + exchange.silence_max(&self.bounds));
        let settling =
            [SETTLE_QUESTION, SETTLE, SETTLE_WITHOUT_ECHO, SETTLE_ODD].map(|settle| self.last_byte + settle);
        let looked_at = exchange.looked_at.unwrap_or(self.last_byte);
        settling.into_iter().filter(|at| *at > looked_at).fold(ends, Instant::min)
    }

    /// Puts the way to a mode before what is typed next.
    fn go(&mut self, to: usize, now: Instant) -> Result<(), SessionError> {
        let Some(prompt) = &self.prompt else { return Err(SessionError::Closed) };
        let platform = &self.platform;
        let way = platform.way(prompt.mode, to).ok_or_else(|| SessionError::NoWay {
            from: platform.modes[prompt.mode].name.clone(),
            to: platform.modes[to].name.clone(),
        })?;
        self.queue.extend(way.into_iter().map(|step| Exchange::mode(step, now)));
        Ok(())
    }

    /// Types what is next.
    fn next(&mut self, now: Instant) {
        if self.current.is_some() || self.result.is_some() {
            return;
        }
        let Some(mut exchange) = self.queue.pop_front() else { return };
        exchange.begin(now, self.screen.row(), self.screen.wiped());
        self.last_byte = now;
        if let Some(line) = &exchange.line {
            self.to_write.push_back(Typed::plain(&format!("{line}{}", self.platform.newline)));
        }
        self.current = Some(exchange);
    }

    /// Looks at what stands there now.
    fn look(&mut self, now: Instant) {
        let Some(mut exchange) = self.current.take() else { return };
        exchange.looked_at = Some(now);
        let quiet = now.saturating_duration_since(self.last_byte);
        let line = self.screen.line();
        exchange.find_echo(self.screen.above(), self.screen.row());
        if let Some(end) = self.ended(&exchange, &line, quiet) {
            self.end(exchange, end, now);
            return;
        }
        if self.screen.overflowed() && exchange.purpose == Purpose::Command && !exchange.interrupted {
            exchange.cut = true;
            self.interrupt(&mut exchange, now);
        } else if let Some(error) = self.answer(&mut exchange, &line, quiet, now) {
            match error {
                SessionError::Asked { .. } if !exchange.interrupted => {
                    exchange.failed = Some(error);
                    self.interrupt(&mut exchange, now);
                }
                error => return self.fail(error),
            }
        } else if now >= exchange.ends_at(&self.bounds) || quiet >= exchange.silence_max(&self.bounds) {
            let late = too_late(&exchange, line, now);
            if exchange.purpose == Purpose::Command && !exchange.interrupted {
                exchange.failed = Some(late);
                self.interrupt(&mut exchange, now);
            } else if exchange.cut {
                // What was read is good; the session is not, since the rest of it may come at any time.
                let above = self.screen.take();
                let text = exchange.text(&above, &self.platform);
                self.fail(late);
                self.result = Some(Ok(Output { text, cut: true, error: None }));
                return;
            } else {
                let error = exchange.failed.take().unwrap_or(late);
                return self.fail(error);
            }
        }
        self.current = Some(exchange);
    }

    /// Breaks off what runs: its prompt is waited for a little longer.
    fn interrupt(&mut self, exchange: &mut Exchange, now: Instant) {
        exchange.interrupted = true;
        exchange.ends = Some(now + INTERRUPT_MAX);
        self.last_byte = now;
        self.to_write.push_back(Typed::plain(&self.platform.interrupt));
    }

    /// Whether the line with the cursor is the prompt that ends an exchange: then the prompt.
    fn ended(&self, exchange: &Exchange, line: &str, quiet: Duration) -> Option<Prompt> {
        if line.is_empty() {
            return None;
        }
        // A question of the login may look like a prompt.
        let is_question = |dialog: &Dialog| dialog.prompt.is_match(line.trim_end().as_bytes());
        if exchange.purpose == Purpose::Login && self.platform.dialog.iter().any(is_question) {
            return None;
        }
        // A prompt that is still to be taken away is the one before the answer.
        let is_early = self.platform.early_prompt
            && exchange.line.is_some()
            && self.screen.wiped() == exchange.wiped_before;
        let answered = match exchange.is_answered(self.screen.row()) {
            exchange::Answered::Yes if is_early && !exchange.has_output(self.screen.above()) => {
                exchange::Answered::NotYet
            }
            exchange::Answered::Yes if is_early => exchange::Answered::Perhaps,
            answered => answered,
        };
        // What is only the beginning of the known prompt may go on, and so may the prompt of the mode that is left: that of
        // MRV's superuser is that of everyone with one sign more.
        let may_go_on = |known: &Prompt| {
            known.line.starts_with(line) && (known.line != line || exchange.purpose == Purpose::Mode)
        };
        let is_like = |known: &Prompt| known.line == line || is_same_host(&known.line, line);
        let settled = match (&self.prompt, answered) {
            (_, exchange::Answered::NotYet) => return None,
            // Nothing was echoed, or the line is still the one that was typed on.
            (_, exchange::Answered::Perhaps) => SETTLE_WITHOUT_ECHO,
            (Some(known), exchange::Answered::Yes) if is_like(known) && !may_go_on(known) => Duration::ZERO,
            // A sign alone may be the beginning of a line of a banner.
            (None, exchange::Answered::Yes) if !line.contains(char::is_alphanumeric) => SETTLE,
            (None, exchange::Answered::Yes) => Duration::ZERO,
            (Some(_), exchange::Answered::Yes) => SETTLE,
        };
        if quiet < settled {
            return None;
        }
        let above = self.screen.above().lines().next_back().unwrap_or_default();
        let known = || self.prompt.as_ref().filter(|known| known.line == line).map(|known| known.mode);
        // A prompt of another shape than the platform's, where nothing else comes: it is learned as it stands.
        let odd = || {
            let is_prompt = ODD_PROMPT.is_match(line.as_bytes());
            (exchange.purpose == Purpose::Login && quiet >= SETTLE_ODD && is_prompt)
                .then_some(self.platform.home)
        };
        let mode = self.platform.mode_of(line, above).or_else(known).or_else(odd)?;
        Some(Prompt { line: line.to_owned(), mode })
    }

    /// Answers what the device asks for now: a pager, a login, a secret, or a question that nobody answers.
    fn answer(
        &mut self,
        exchange: &mut Exchange,
        line: &str,
        quiet: Duration,
        now: Instant,
    ) -> Option<SessionError> {
        let bytes = line.as_bytes();
        if line.is_empty() {
            return None;
        }
        let platform = Arc::clone(&self.platform);
        if exchange.purpose != Purpose::Login
            && let Some((pager, at)) =
                platform.pagers.iter().find_map(|pager| Some((pager, pager.prompt.find(bytes)?)))
        {
            exchange.pages += 1;
            if exchange.pages > PAGES_MAX {
                return Some(SessionError::TimedOut { took: Duration::ZERO, last: line.to_owned() });
            }
            self.screen.ghost(&String::from_utf8_lossy(at.as_bytes()));
            self.last_byte = now;
            self.to_write.push_back(Typed::plain(&pager.send));
            return None;
        }
        if exchange.purpose == Purpose::Login {
            let asked = platform.dialog.iter().find(|dialog| dialog.prompt.is_match(bytes))?;
            exchange.questions += 1;
            if exchange.questions > QUESTIONS_MAX {
                return Some(SessionError::Stuck { why: format!("it keeps asking {line:?}") });
            }
            return self.fill(exchange, &asked.fill, now);
        }
        if let Some((ask, fill)) = &exchange.ask
            && ask.is_match(bytes)
        {
            let fill = fill.clone();
            return self.fill(exchange, &fill, now);
        }
        if exchange.is_left_standing(line, self.prompt(), quiet) {
            exchange.cleared = true;
            self.last_byte = now;
            self.to_write.push_back(Typed::plain(KILL_LINE));
            return None;
        }
        let is_question = |pattern: &Regex| pattern.is_match(bytes);
        let asks = quiet >= SETTLE_QUESTION && platform.questions.iter().any(is_question);
        asks.then(|| SessionError::Asked { question: line.to_owned() })
    }

    /// Fills in what was asked for, each secret once.
    fn fill(&mut self, exchange: &mut Exchange, fill: &Fill, now: Instant) -> Option<SessionError> {
        let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        let is_again = exchange.filled.contains(fill);
        let text = match fill {
            Fill::Nothing(why) => return Some(SessionError::Stuck { why: why.clone() }),
            Fill::Text(text) | Fill::Key(text) => text.clone(),
            _ if is_again && exchange.purpose == Purpose::Login => return Some(SessionError::LoginRefused),
            // Asked again, a device has refused the secret. Nothing is sent a second time; an empty line ends it.
            _ if is_again => String::new(),
            Fill::User => self.typist.user.clone(),
            Fill::Password => match secret(&self.typist.password) {
                Some(password) => password,
                None => return Some(SessionError::NoSecret { mode: "the login".to_owned() }),
            },
            Fill::Enable => match secret(&self.typist.enable) {
                Some(enable) => enable,
                None => {
                    let mode =
                        exchange.target.map_or("the login", |to| self.platform.modes[to].name.as_str());
                    return Some(SessionError::NoSecret { mode: mode.to_owned() });
                }
            },
        };
        exchange.filled.push(fill.clone());
        exchange.asked_on(self.screen.row());
        let asked = self.screen.line();
        self.screen.ghost(&asked);
        self.last_byte = now;
        let newline = if matches!(fill, Fill::Key(_)) { "" } else { &self.platform.newline };
        let is_secret = matches!(fill, Fill::Password | Fill::Enable);
        self.to_write.push_back(Typed { is_secret, ..Typed::plain(&format!("{text}{newline}")) });
        None
    }

    /// An exchange came to its prompt.
    fn end(&mut self, exchange: Exchange, prompt: Prompt, now: Instant) {
        let above = self.screen.take();
        let text = exchange.text(&above, &self.platform);
        let mode = prompt.mode;
        self.prompt = Some(prompt);
        match exchange.purpose {
            Purpose::Login => {
                // Preparing is what the platform says, in the mode that commands are run in where we can get there.
                match self.go(self.platform.home, now) {
                    Ok(()) => self
                        .queue
                        .extend(self.platform.prepare.iter().map(|line| Exchange::prepare(line, now))),
                    Err(error) => return self.fail(error),
                }
                if self.queue.is_empty() {
                    self.result = Some(Ok(Output { text, cut: false, error: None }));
                }
            }
            Purpose::Prepare if self.queue.is_empty() => {
                self.result = Some(Ok(Output { text: String::new(), cut: false, error: None }));
            }
            Purpose::Prepare => {}
            Purpose::Mode if Some(mode) != exchange.target => {
                let to = exchange.target.map_or("", |to| self.platform.modes[to].name.as_str());
                let said =
                    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
                let error = SessionError::ModeRefused { mode: to.to_owned(), said: said.to_owned() };
                self.queue.clear();
                self.result = Some(Err(error));
            }
            Purpose::Mode if self.queue.is_empty() => {
                self.result = Some(Ok(Output { text, cut: false, error: None }));
            }
            Purpose::Mode => {}
            Purpose::Command => {
                let error = self.platform.error_in(&text).map(|(class, line)| (class, line.to_owned()));
                let output = Output { text, cut: exchange.cut, error };
                self.result = Some(exchange.failed.map_or(Ok(output), Err));
            }
        }
        self.next(now);
    }

    /// Nothing more can come of this session.
    fn fail(&mut self, error: SessionError) {
        self.is_lost = true;
        self.queue.clear();
        self.current = None;
        self.to_write.clear();
        self.result = Some(Err(error));
    }
}

/// Why an exchange that took too long failed.
fn too_late(exchange: &Exchange, last: String, now: Instant) -> SessionError {
    let took = now.saturating_duration_since(exchange.began);
    match exchange.purpose {
        Purpose::Login => SessionError::NoPrompt { took, last },
        _ => SessionError::TimedOut { took, last },
    }
}

/// Whether two prompts are of one host: what stands before the first character that changes with the mode is the same,
/// or one is the other cut short, as in the configuration mode of some.
fn is_same_host(known: &str, shown: &str) -> bool {
    let name = |prompt: &str| {
        let word = |c: char| c.is_alphanumeric() || "-_.@:/".contains(c);
        let begun = prompt.trim_start_matches(|c: char| !word(c));
        let end = begun.find(|c: char| !word(c)).unwrap_or(begun.len());
        begun[..end].to_owned()
    };
    let (known, shown) = (name(known), name(shown));
    let shorter = known.len().min(shown.len());
    shorter > 0
        && (known == shown || (shorter >= 16 && (known.starts_with(&shown) || shown.starts_with(&known))))
}

#[cfg(test)]
mod tests;

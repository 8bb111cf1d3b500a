//! Asking one device.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use textfsm::{Limits, Style};
use tool::{Permit, RequestId, Talk};

use crate::{
    Room,
    error::DeviceError,
    inventory::Device,
    kept::Kept,
    mask::masked,
    outside,
    platform::Class,
    session::{Output, SessionError},
    shapes::{CommandResult, QueryArguments, QueryAsArguments, QueryResult, Status},
    tape::Tape,
};

/// How a device is asked.
pub(crate) struct Question<'a> {
    pub(crate) device: &'a Device,
    pub(crate) asked: QueryArguments,
    pub(crate) permit: &'a Permit,
    /// On a session of its own, which nobody else gets.
    pub(crate) is_apart: bool,
}

/// What came of commands on one session.
#[derive(Debug)]
pub(crate) struct Exchanged {
    outputs: Vec<(Result<Output, DeviceError>, Duration)>,
    session_ms: f64,
    session_reused: bool,
    /// The call that asked.
    request_id: RequestId,
}

impl Exchanged {
    /// What came of one command.
    pub(crate) fn one(output: Output, took: Duration, request_id: &RequestId) -> Self {
        let request_id = request_id.clone();
        Self { outputs: vec![(Ok(output), took)], session_ms: 0.0, session_reused: true, request_id }
    }

    /// Says in the transcript of a call that shares this where its own is.
    pub(crate) fn note_in(&self, tape: &Tape) {
        tape.printed(
            format!("(shared with the call {}, whose transcript has it)\r\n", self.request_id.as_str())
                .as_bytes(),
        );
    }

    /// The output of the first.
    pub(crate) fn first(&self) -> Result<Output, DeviceError> {
        match self.outputs.first() {
            Some((output, _)) => output.clone(),
            None => Err(DeviceError::Late { device: String::new() }),
        }
    }
}

impl Room {
    /// Runs the commands of a call on its device, until its deadline and until it is asked to stop.
    pub(crate) async fn query(
        &self,
        permit: &Permit,
        talk: &Talk,
        asked: QueryArguments,
    ) -> Result<QueryResult, DeviceError> {
        let device = self.find(&asked.device_ip)?;
        self.query_on(permit, talk, &device, asked, false).await
    }

    /// The same with a login that came with the call, on a session that is closed after it.
    pub(crate) async fn query_as(
        &self,
        permit: &Permit,
        talk: &Talk,
        asked: QueryAsArguments,
    ) -> Result<QueryResult, DeviceError> {
        let carried = outside::carried(permit.call(), &asked.device_ip, &asked.user);
        let login = carried.ok_or_else(|| DeviceError::BadArgument {
            pointer: "/user".to_owned(),
            what: format!(
                "no login of {:?} for {} came with the call; `POST /execute-commands` carries them",
                asked.user, asked.device_ip
            ),
        })?;
        let credential = Arc::new(outside::credential(login, permit.caller()));
        let device = self.find_as(&asked.device_ip, asked.device_type.as_deref(), credential)?;
        let asked = QueryArguments {
            device_ip: asked.device_ip,
            commands: asked.commands,
            timeout: asked.timeout,
            parse: asked.parse,
        };
        self.query_on(permit, talk, &Arc::new(device), asked, true).await
    }

    async fn query_on(
        &self,
        permit: &Permit,
        talk: &Talk,
        device: &Arc<Device>,
        asked: QueryArguments,
        is_apart: bool,
    ) -> Result<QueryResult, DeviceError> {
        let ends = permit.deadline().min(Instant::now() + Duration::from_secs(asked.timeout));
        let question = Question { device, asked, permit, is_apart };
        let ask = async |tape: &Arc<Tape>| self.ask(&question, tape).await;
        self.taped(permit, talk, device, ends, ask).await
    }

    /// Does a piece of work on a device, until a deadline and until it is asked to stop, and keeps the transcript of it,
    /// whatever comes of it.
    pub(crate) async fn taped<T>(
        &self,
        permit: &Permit,
        talk: &Talk,
        device: &Arc<Device>,
        ends: Instant,
        work: impl AsyncFnOnce(&Arc<Tape>) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        let name = || device.name.to_string();
        let (tape, started) = (Tape::new(), self.clock.now());
        let done = tokio::select! {
            done = tokio::time::timeout_at(ends.into(), work(&tape)) => {
                done.unwrap_or_else(|_| Err(DeviceError::Late { device: name() }))
            }
            () = talk.stop().asked() => Err(DeviceError::Stopped { device: name() }),
        };
        let (folder, platform) = (self.transcripts.clone(), Arc::clone(device.platform));
        let id = permit.call().request_id.as_str().to_owned();
        let about = serde_json::json!({
            "request_id": id, "device": device.name, "principal": permit.caller().principal,
            "tool": permit.tool().name.as_str(), "started": started,
        });
        // The answer does not wait for it; closing the room does.
        let device = Arc::clone(&device.name);
        self.tasks.spawn_blocking(move || {
            if let Err(error) = tape.write(&folder, &id, &about, &platform) {
                tracing::error!(%error, device = &*device, "a transcript could not be written");
            }
        });
        done
    }

    /// Asks a device, or shares what another call asks it from now on, where all that is asked only shows something and
    /// the login is the inventory's.
    async fn ask(&self, question: &Question<'_>, tape: &Arc<Tape>) -> Result<QueryResult, DeviceError> {
        let began = Instant::now();
        let timestamp = self.clock.now();
        let (device, asked) = (question.device, &question.asked);
        let work = async || self.exchange(question, tape).await.map(Arc::new);
        let (exchanged, shared) = match !question.is_apart && self.only_shows(device, &asked.commands) {
            true => {
                let key = (Arc::clone(&device.name), asked.commands.join("\n"));
                self.flights.share(key, work).await
            }
            false => (work().await, false),
        };
        let exchanged = exchanged?;
        if shared {
            exchanged.note_in(tape);
        }
        let all = asked.commands.iter().zip(&exchanged.outputs);
        let results: Vec<CommandResult> = all
            .map(|(command, (output, took))| self.result(question, command, output.clone(), *took))
            .collect();
        let failed = results.iter().any(|result| result.status == Status::Error);
        Ok(QueryResult {
            device_ip: asked.device_ip.clone(),
            device: Arc::clone(&device.name),
            status: if failed { Status::Error } else { Status::Success },
            results,
            timestamp,
            execution_time_ms: ms(began.elapsed()),
            session_ms: exchanged.session_ms,
            session_reused: exchanged.session_reused,
            shared,
        })
    }

    /// True where commands may be run once for several who ask for them.
    fn only_shows(&self, device: &Device, commands: &[String]) -> bool {
        let shows = |command: &String| {
            device.platform.classify(command).is_ok_and(|classed| classed.class == Class::Show)
        };
        commands.iter().all(shows)
    }

    /// Runs commands one after the other on one session. What ends the session ends the rest of them too.
    async fn exchange(&self, question: &Question<'_>, tape: &Arc<Tape>) -> Result<Exchanged, DeviceError> {
        let began = Instant::now();
        let (device, commands) = (question.device, &question.asked.commands);
        let mut taken = match question.is_apart {
            true => self.pool.take_apart(device, tape, self.pool.bounds()).await?,
            false => self.pool.take(device, tape).await?,
        };
        let (session_ms, session_reused) = (ms(began.elapsed()), !taken.is_new);
        let mut outputs = Vec::with_capacity(commands.len());
        for command in commands {
            let started = Instant::now();
            let output = self.pool.run(device, &mut taken, command).await;
            let was_cut = output.as_ref().is_ok_and(|output| output.cut);
            outputs.push((output, started.elapsed()));
            if taken.is_lost() && was_cut && outputs.len() < commands.len() {
                // The device is well; only what it was still printing had to be left behind.
                self.pool.renew(device, &mut taken).await?;
            } else if taken.is_lost() {
                break;
            }
        }
        let closed = || (Err(DeviceError::session(device, SessionError::Closed)), Duration::ZERO);
        outputs.resize_with(commands.len(), closed);
        taken.give_back();
        Ok(Exchanged {
            outputs,
            session_ms,
            session_reused,
            request_id: question.permit.call().request_id.clone(),
        })
    }

    /// What came of a command, as it is told.
    fn result(
        &self,
        question: &Question<'_>,
        command: &str,
        output: Result<Output, DeviceError>,
        took: Duration,
    ) -> CommandResult {
        let (device, asked) = (question.device, &question.asked);
        let mut result = CommandResult {
            command: command.to_owned(),
            status: Status::Success,
            error_class: None,
            error: None,
            output: String::new(),
            bytes: 0,
            truncated: false,
            handle: None,
            redactions: 0,
            parsed: None,
            execution_time_ms: ms(took),
        };
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                result.status = Status::Error;
                (result.error_class, result.error) = (Some(error.class()), Some(error.to_string()));
                return result;
            }
        };
        if let Some((class, line)) = output.error {
            result.status = Status::Error;
            (result.error_class, result.error) = (Some(class.as_str()), Some(line));
        }
        let (text, redactions) = masked(&output.text, device.platform);
        (result.bytes, result.redactions, result.truncated) = (output.text.len(), redactions, output.cut);
        if asked.parse && result.status == Status::Success {
            result.parsed = Some(self.parsed(device, command, &text));
        }
        let (principal, name) = (Arc::clone(&question.permit.caller().principal), Arc::clone(&device.name));
        let kept = Kept { principal, device: name, command: command.to_owned(), text };
        (result.output, result.handle) = self.cut(kept);
        result.truncated |= result.handle.is_some();
        result
    }

    /// A text that is short enough for an answer, and the handle of the whole where it is not.
    pub(crate) fn cut(&self, kept: Kept) -> (String, Option<String>) {
        let Some((end, _)) = kept.text.char_indices().nth(self.answer_chars_max) else {
            return (kept.text, None);
        };
        // A line that is cut in the middle says something else than the device did.
        let end = kept.text[..end].rfind('\n').unwrap_or(end);
        let shown = kept.text[..end].to_owned();
        (shown, Some(self.shelf.keep(kept)))
    }

    /// An output as records.
    fn parsed(&self, device: &Device, command: &str, text: &str) -> Value {
        let Some(templates) = &self.templates else {
            let why = "no templates are configured (`devices.templates`)";
            return serde_json::json!({ "status": "no_template", "error": why });
        };
        let parsed = templates.parse(&device.platform.templates, command, text, &Limits::default());
        let mut value = serde_json::json!({ "status": parsed.status, "template": parsed.template });
        if let Some(table) = &parsed.table {
            value["records"] = serde_json::json!(table.records(Style::Plain));
        }
        if let Some(error) = &parsed.error {
            value["error"] = Value::from(error.as_str());
        }
        value
    }
}

/// Milliseconds, to the microsecond.
pub(crate) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

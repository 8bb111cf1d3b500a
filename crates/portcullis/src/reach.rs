//! How a command reaches the gate: through the socket of the server that runs, or in process where none does.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use gate::{Credentials, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinSet,
};
use tool::{Call, Deaf, Face, Fault, Kind, Reply, RequestId, Tool};

use crate::{
    app::App,
    cli::{Exit, Failure, Globals, Out},
    config,
    data::{self, DataError},
};

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// How long connecting may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// The gate, near or far.
pub(crate) enum Reach {
    /// Through the socket of a running server.
    Server(Client),
    /// In this process, under the lock of the data folder.
    Inside(Box<App>),
}

impl Reach {
    /// Finds the server of the data folder that is meant, or opens the folder itself.
    pub(crate) async fn connect(globals: &Globals, out: &Out) -> Result<Self, Failure> {
        let dir = data::find(globals)?;
        let client = Client::socket(data::socket(&dir));
        if client.answers().await {
            return Ok(Self::Server(client));
        }
        let unreachable = |text: String| Failure::new(Exit::Unreachable, text);
        let Some(file) = data::config_for(globals, &dir) else {
            let text =
                "no server runs on {}, and no configuration is known to work with; name one with --config";
            return Err(unreachable(text.replace("{}", &dir.display().to_string())));
        };
        let loaded = config::load(&file, &data::environment).map_err(|problems| {
            out.problems(&problems);
            Failure::said(Exit::Unreachable)
        })?;
        match App::open_inside(loaded, &dir).await {
            Ok(app) => Ok(Self::Inside(Box::new(app))),
            Err(crate::app::OpenError::Data(DataError::Locked(_))) => {
                let dir = dir.display();
                Err(unreachable(format!(
                    "a server holds {dir} but does not answer on its socket; is it starting or stopping?"
                )))
            }
            Err(error) => Err(error.into_failure(out)),
        }
    }

    /// Calls a tool.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Result<Value, Failure> {
        self.call_with(tool, arguments, None).await
    }

    /// Calls a tool, with an idempotency key.
    pub(crate) async fn call_with(
        &self,
        tool: &str,
        arguments: Value,
        idempotency_key: Option<&str>,
    ) -> Result<Value, Failure> {
        match self {
            Self::Server(client) => {
                let path = format!("/v1/mcp/{}", escape(tool));
                let (status, body) = client.post(&path, &arguments, idempotency_key).await?;
                if (200..300).contains(&status) { Ok(body) } else { Err(Failure::answered(status, body)) }
            }
            Self::Inside(app) => call_inside(app, tool, &arguments, idempotency_key).await,
        }
    }

    /// The tools that can be called.
    pub(crate) async fn tools(&self) -> Result<Value, Failure> {
        match self {
            Self::Server(client) => {
                let (status, body) = client.get("/mcp/tools").await?;
                if status == 200 { Ok(body) } else { Err(Failure::answered(status, body)) }
            }
            Self::Inside(app) => {
                let gate = app.gate();
                let id = RequestId::ours("-");
                let caller = gate.identify(&local(), &id, &id).await.map_err(|fault| refused(&fault, "-"))?;
                Ok(gate.visible(&caller).iter().map(|tool| shown(tool)).collect())
            }
        }
    }

    /// Ends: in process, everything is closed in order.
    pub(crate) async fn close(self) {
        if let Self::Inside(app) = self {
            app.close().await;
        }
    }
}

fn local() -> Credentials {
    Credentials::Local { uid: rustix::process::getuid().as_raw() }
}

async fn call_inside(
    app: &App,
    tool: &str,
    arguments: &Value,
    idempotency_key: Option<&str>,
) -> Result<Value, Failure> {
    let id = RequestId::ours(uuid::Uuid::now_v7().to_string());
    let mut call = Call::new(Kind::tool(tool, tool::json::raw(arguments)), Face::Cli, id);
    call.idempotency_key = idempotency_key.map(Arc::from);
    let request = Request { credentials: local(), call, line: Arc::new(Deaf) };
    let answer = app.gate().call(request).await;
    match answer.result {
        Ok(Reply::Done(outcome)) => Ok(outcome.to_value()),
        Ok(Reply::NeedsInput(question)) => {
            let question =
                json!({ "key": question.key, "method": question.method(), "params": question.params() });
            Ok(json!({ "status": "input_required", "question": question }))
        }
        Ok(Reply::Task(task)) => Ok(json!({ "task_id": task })),
        Err(fault) => Err(refused(&fault, answer.request_id.as_str())),
    }
}

/// A fault as the REST doors show it.
fn refused(fault: &Fault, request_id: &str) -> Failure {
    let row = fault.code.row();
    let body = json!({
        "error": fault.text,
        "status": fault.status(),
        "detail": fault.text,
        "code": row.name,
        "pointer": fault.pointer,
        "retry_after_seconds": fault.retry_after.map(|wait| wait.as_secs_f64().ceil()),
        "request_id": request_id,
    });
    Failure::answered(row.http, body)
}

fn shown(tool: &Tool) -> Value {
    json!({
        "name": tool.name,
        "description": tool.about,
        "input_schema": tool.input,
        "deprecated": tool.deprecation.is_some(),
    })
}

/// A text as one segment of a path.
fn escape(text: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if safe(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// A small HTTP client for the server's own doors: one connection a request.
pub(crate) struct Client {
    to: To,
    host: String,
}

enum To {
    Socket(PathBuf),
    Address(String),
}

impl Client {
    /// To the socket of a data folder.
    pub(crate) fn socket(path: PathBuf) -> Self {
        Self { to: To::Socket(path), host: "localhost".to_owned() }
    }

    /// To a plain HTTP address, `http://host:port`.
    pub(crate) fn http(url: &str) -> Result<Self, Failure> {
        let wrong =
            || Failure::new(Exit::Usage, format!("{url:?} is not an address such as http://127.0.0.1:8000"));
        let uri: http::Uri = url.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong());
        }
        let address = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        Ok(Self { host: address.clone(), to: To::Address(address) })
    }

    /// Whether somebody listens.
    pub(crate) async fn answers(&self) -> bool {
        match &self.to {
            To::Socket(path) => UnixStream::connect(path).await.is_ok(),
            To::Address(address) => TcpStream::connect(address).await.is_ok(),
        }
    }

    /// Asks for a page: its status and its body as JSON, or as a text where it is none.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, Value), Failure> {
        self.send(http::Method::GET, path, Bytes::new(), None).await
    }

    /// Sends a body.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &Value,
        idempotency_key: Option<&str>,
    ) -> Result<(u16, Value), Failure> {
        self.send(http::Method::POST, path, body.to_string().into(), idempotency_key).await
    }

    async fn send(
        &self,
        method: http::Method,
        path: &str,
        body: Bytes,
        idempotency_key: Option<&str>,
    ) -> Result<(u16, Value), Failure> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, &self.host)
            .header(http::header::CONTENT_TYPE, "application/json");
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|e| Failure::new(Exit::Usage, format!("the request cannot be made: {e}")))?;
        let fail = |error: &dyn std::fmt::Display| {
            Failure::new(
                Exit::Unreachable,
                format!("the server at {} cannot be reached: {error}", self.place()),
            )
        };
        let connecting = tokio::time::timeout(CONNECT_TIME_MAX, self.connect());
        let mut connection = connecting.await.map_err(|e| fail(&e))?.map_err(|e| fail(&format!("{e:#}")))?;
        let answer = connection.sender.send_request(request).await.map_err(|e| fail(&e))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|e| fail(&e))?.to_bytes();
        let value = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Ok((status, value))
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        match &self.to {
            To::Socket(path) => handshake(UnixStream::connect(path).await?).await,
            To::Address(address) => handshake(TcpStream::connect(address).await?).await,
        }
    }

    fn place(&self) -> String {
        match &self.to {
            To::Socket(path) => path.display().to_string(),
            To::Address(address) => address.clone(),
        }
    }
}

/// A connection, and the task that drives it for as long as this lives.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

async fn handshake<S>(stream: S) -> anyhow::Result<Connection>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // What breaks it also breaks the request, which says so.
        let _ = connection.await;
    });
    Ok(Connection { sender, _driver: driver })
}

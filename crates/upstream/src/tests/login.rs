//! Servers that want a token, and their authorization servers.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{any, get, post},
};
use serde_json::{Value, json};
use state::Grants;
use tokio::{net::TcpListener, task::AbortHandle};
use tool::{Code, Fault, PrincipalKind};
use url::Url;

use super::bed::{MemoryGrants, Room};

const BACK: &str = "http://127.0.0.1:9/callback";

/// A server and its authorization server, on one port.
struct Bed {
    address: SocketAddr,
    all: Arc<Mutex<All>>,
    task: AbortHandle,
}

/// What the two know, and what they were told.
#[derive(Default)]
struct All {
    origin: String,
    /// The token that is taken, and what it is renewed with.
    good: String,
    refresh: Option<String>,
    /// How long tokens are said to live, in seconds.
    lives: u64,
    given: u32,
    /// How many clients have registered.
    registered: u32,
    /// How often the authorization server was asked what it is.
    discovered: u32,
    /// True where no token is taken.
    refuses: bool,
    /// The scope that no token has, where one is wanted.
    needs: Option<&'static str>,
    /// What stands in place of the metadata of the authorization server.
    metadata: Option<Value>,
    /// What was asked of the token endpoint.
    asked: Vec<HashMap<String, String>>,
    /// `Authorization` of everything that reached the server.
    seen: Vec<String>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Shared = State<Arc<Mutex<All>>>;

async fn serve(State(all): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let mut all = all.lock().unwrap();
    let sent = headers.get(header::AUTHORIZATION).map_or("-", |value| value.to_str().unwrap()).to_owned();
    all.seen.push(sent.clone());
    if all.refuses || sent != format!("Bearer {}", all.good) {
        let said = format!(
            "Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\", scope=\"tools\"",
            all.origin
        );
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, said)]).into_response();
    }
    if let Some(needs) = all.needs {
        let said = format!("Bearer error=\"insufficient_scope\", scope=\"{needs}\"");
        return (StatusCode::FORBIDDEN, [(header::WWW_AUTHENTICATE, said)]).into_response();
    }
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let result = match asked["method"].as_str().unwrap_or_default() {
        "server/discover" => json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
        }),
        "tools/list" => json!({
            "resultType": "complete", "tools": [{ "name": "do", "inputSchema": { "type": "object" } }],
        }),
        _ if body.windows(4).any(|part| part == b"tell") => {
            let error = json!({ "code": -32_603, "message": format!("you came with {sent}") });
            return Json(json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error })).into_response();
        }
        _ => json!({ "resultType": "complete", "content": [{ "type": "text", "text": "done" }] }),
    };
    Json(json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result })).into_response()
}

async fn resource(State(all): Shared) -> Response {
    let origin = all.lock().unwrap().origin.clone();
    Json(json!({ "resource": format!("{origin}/mcp"), "authorization_servers": [origin] })).into_response()
}

async fn metadata(State(all): Shared) -> Response {
    let mut all = all.lock().unwrap();
    all.discovered += 1;
    let origin = &all.origin;
    let own = json!({
        "issuer": origin,
        "authorization_endpoint": format!("{origin}/authorize"),
        "token_endpoint": format!("{origin}/token"),
        "registration_endpoint": format!("{origin}/register"),
        "code_challenge_methods_supported": ["S256"],
        "response_types_supported": ["code"],
    });
    Json(all.metadata.clone().unwrap_or(own)).into_response()
}

async fn register(State(all): Shared, Json(asked): Json<Value>) -> Response {
    let mut all = all.lock().unwrap();
    all.registered += 1;
    let given = json!({ "client_id": format!("made-{}", all.registered), "client_secret": "s3cret-of-the-client",
        "redirect_uris": asked["redirect_uris"], "client_name": asked["client_name"] });
    (StatusCode::CREATED, Json(given)).into_response()
}

async fn token(State(all): Shared, form: Bytes) -> Response {
    let asked: HashMap<String, String> = url::form_urlencoded::parse(&form).into_owned().collect();
    let mut all = all.lock().unwrap();
    all.asked.push(asked.clone());
    let is_refused = match asked["grant_type"].as_str() {
        "authorization_code" => asked["code"] != "the-code",
        "refresh_token" => all.refresh.as_deref() != Some(&asked["refresh_token"]),
        _ => false,
    };
    if is_refused {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
    }
    all.given += 1;
    all.good = format!("token-no-{}", all.given);
    all.refresh = Some(format!("refresh-{}", all.given));
    let mut given = json!({ "access_token": all.good, "token_type": "Bearer", "expires_in": all.lives });
    if asked["grant_type"] != "client_credentials" {
        given["refresh_token"] = json!(all.refresh);
    }
    Json(given).into_response()
}

impl Bed {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let all =
            Arc::new(Mutex::new(All { origin: format!("http://{address}"), lives: 3_600, ..All::default() }));
        let router = Router::new()
            .route("/mcp", any(serve))
            .route("/.well-known/oauth-protected-resource/mcp", get(resource))
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/register", post(register))
            .route("/token", post(token))
            .with_state(Arc::clone(&all));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
        Self { address, all, task }
    }

    fn section(&self, oauth: &Value) -> Value {
        json!({ "docs": {
            "url": format!("http://{}/mcp", self.address),
            "allow_private": [self.address.to_string()],
            "protocol": "modern",
            "start_wait_ms": 2_000,
            "oauth": oauth,
        } })
    }

    async fn open(&self, grants: &Arc<dyn Grants>) -> Room {
        Room::open_granted(self.section(&json!({})), grants).await
    }

    fn all<T>(&self, look: impl FnOnce(&mut All) -> T) -> T {
        look(&mut self.all.lock().unwrap())
    }

    /// What was asked of the token endpoint last.
    fn last_asked(&self) -> HashMap<String, String> {
        self.all(|all| all.asked.last().unwrap().clone())
    }
}

fn no_grants() -> Arc<dyn Grants> {
    Arc::new(MemoryGrants::default())
}

async fn operate(room: &Room, name: &str, arguments: Value) -> Result<Value, Fault> {
    room.operate(PrincipalKind::Human, name, arguments).await
}

/// A person says yes; gives the address that the browser comes back with.
async fn say_yes(room: &Room) -> Url {
    let begun = json!({ "server": "docs", "redirect_uri": BACK });
    let page = operate(room, "upstream_login", begun).await.unwrap();
    let page = Url::parse(page["authorization_url"].as_str().unwrap()).unwrap();
    let asked: HashMap<_, _> = page.query_pairs().into_owned().collect();
    assert_eq!(asked["code_challenge_method"], "S256");
    assert_eq!(asked["redirect_uri"], BACK);
    assert!(asked["resource"].ends_with("/mcp"), "{asked:?}");
    let mut back = Url::parse(BACK).unwrap();
    back.query_pairs_mut().append_pair("code", "the-code").append_pair("state", &asked["state"]);
    back
}

async fn log_in(room: &Room) {
    let back = say_yes(room).await;
    let finished = json!({ "server": "docs", "callback_url": back.as_str() });
    assert_eq!(operate(room, "upstream_login_finish", finished).await.unwrap()["logged_in"], true);
    room.until("its tools are there", |room| !room.names().is_empty()).await;
}

async fn stands(room: &Room) -> Value {
    operate(room, "upstream_list", json!({})).await.unwrap()["servers"][0]["login"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_once() {
    let (bed, grants) = (Bed::start().await, no_grants());
    let room = bed.open(&grants).await;
    assert!(room.names().is_empty());
    assert_eq!(stands(&room).await, "wanted");
    // However often it is asked, that is what is said, and nobody else is asked for it.
    for _ in 0..6 {
        let fault = operate(&room, "upstream_restart", json!({ "server": "docs" })).await.unwrap_err();
        assert!(fault.text.contains("portcullis upstream login docs"), "{fault:?}");
    }
    assert_eq!(bed.all(|all| all.discovered), 0);

    log_in(&room).await;
    assert_eq!(stands(&room).await, "granted");
    let asked = bed.last_asked();
    assert!(asked.contains_key("code_verifier") && asked["resource"].ends_with("/mcp"), "{asked:?}");
    assert!(room.plain("docs_do", "{}").await.unwrap().contains("done"));
    let told = room.plain("docs_do", r#"{"tell":1}"#).await.unwrap_err();
    assert!(told.text.contains("you came with Bearer [redacted]"), "{told:?}");
    assert!(!told.as_sent.unwrap().get().contains("token-no-1"));
    room.provider.close().await;

    // Another day nobody is asked: what was granted is there, and is renewed once it is refused.
    let room = bed.open(&grants).await;
    assert!(room.plain("docs_do", "{}").await.is_ok());
    assert_eq!(bed.all(|all| all.asked.len()), 1);
    bed.all(|all| all.good = "revoked".to_owned());
    assert!(room.plain("docs_do", "{}").await.is_ok());
    let asked = bed.last_asked();
    assert_eq!((&*asked["grant_type"], &*asked["refresh_token"]), ("refresh_token", "refresh-1"));
    room.provider.close().await;

    // A refresh token is worth nothing once it was used, so the newer one was kept.
    bed.all(|all| all.good = "revoked".to_owned());
    let room = bed.open(&grants).await;
    assert!(room.plain("docs_do", "{}").await.is_ok());
    assert_eq!(bed.last_asked()["refresh_token"], "refresh-2");

    // Until it is refused as well: then a person is asked again.
    bed.all(|all| (all.good, all.refresh) = ("revoked".to_owned(), None));
    let fault = room.plain("docs_do", "{}").await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.text.contains("portcullis upstream login docs"), "{fault:?}");
    assert_eq!(stands(&room).await, "wanted");
    // What was refused is not tried again.
    let asked = bed.all(|all| all.asked.len());
    assert!(room.plain("docs_do", "{}").await.is_err());
    assert_eq!(bed.all(|all| all.asked.len()), asked);
    log_in(&room).await;
    assert!(room.plain("docs_do", "{}").await.is_ok());

    // A login that nobody ends takes nothing away, whoever we would have been in it.
    let begun = json!({ "server": "docs", "redirect_uri": "http://127.0.0.1:10/callback" });
    operate(&room, "upstream_login", begun).await.unwrap();
    let refresh = bed.all(|all| {
        all.good = "revoked".to_owned();
        all.refresh.clone()
    });
    assert!(room.plain("docs_do", "{}").await.is_ok());
    let asked = bed.last_asked();
    assert_eq!(
        (&asked["grant_type"], asked.get("refresh_token")),
        (&"refresh_token".to_owned(), refresh.as_ref())
    );

    // It wants more than was granted: the next login asks for that as well.
    bed.all(|all| all.needs = Some("admin"));
    let fault = room.plain("docs_do", "{}").await.unwrap_err();
    assert!(fault.text.contains("portcullis upstream login docs"), "{fault:?}");
    let begun = json!({ "server": "docs", "redirect_uri": BACK });
    let page = operate(&room, "upstream_login", begun).await.unwrap()["authorization_url"].to_string();
    assert!(page.contains("scope=tools+admin") || page.contains("scope=admin+tools"), "{page}");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_before_it_ends() {
    let (bed, grants) = (Bed::start().await, no_grants());
    bed.all(|all| all.lives = 0);
    let room = bed.open(&grants).await;
    log_in(&room).await;
    let before = bed.all(|all| all.asked.len());
    assert!(room.plain("docs_do", "{}").await.is_ok());
    assert!(bed.all(|all| all.asked.len()) > before);
    // Not once was the server shown an old one.
    let seen = bed.all(|all| std::mem::take(&mut all.seen));
    let mut shown: Vec<_> = seen.iter().filter_map(|sent| sent.strip_prefix("Bearer token-no-")).collect();
    shown.dedup();
    let numbers: Vec<u32> = shown.iter().map(|number| number.parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_can_be_forgotten() {
    let (bed, grants) = (Bed::start().await, no_grants());
    let room = bed.open(&grants).await;
    log_in(&room).await;
    operate(&room, "upstream_logout", json!({ "server": "docs" })).await.unwrap();
    assert_eq!(stands(&room).await, "wanted");
    assert!(grants.granted("docs").await.unwrap().is_none());
    let fault = room.plain("docs_do", "{}").await.unwrap_err();
    assert!(fault.text.contains("portcullis upstream login docs"), "{fault:?}");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_for_one_place_goes_to_no_other() {
    let (one, other, grants) = (Bed::start().await, Bed::start().await, no_grants());
    let room = one.open(&grants).await;
    log_in(&room).await;
    room.provider.close().await;
    // The same name in the configuration, and another URL.
    let room = other.open(&grants).await;
    assert!(room.names().is_empty());
    assert!(other.all(|all| all.seen.iter().all(|sent| sent == "-")));
    assert!(other.all(|all| all.asked.is_empty()));
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_lead_nowhere() {
    let (bed, grants) = (Bed::start().await, no_grants());
    let room = bed.open(&grants).await;
    for kind in [PrincipalKind::Agent, PrincipalKind::Machine] {
        let begun = json!({ "server": "docs", "redirect_uri": BACK });
        assert_eq!(room.operate(kind, "upstream_login", begun).await.unwrap_err().code, Code::Denied);
    }
    for redirect in ["http://elsewhere.example/callback", "javascript:alert(1)", "file:///etc/passwd", ""] {
        let begun = json!({ "server": "docs", "redirect_uri": redirect });
        assert_eq!(operate(&room, "upstream_login", begun).await.unwrap_err().code, Code::BadArguments);
    }
    let back = say_yes(&room).await;
    for (callback, text) in [
        (format!("{BACK}?error=access_denied"), "access_denied"),
        (format!("{BACK}?code=the-code&state=made-up"), "state"),
        (format!("{BACK}?state=x"), "code"),
        ("no address".to_owned(), "no address"),
        (back.as_str().replace("the-code", "another"), "token"),
    ] {
        let finished = json!({ "server": "docs", "callback_url": callback });
        let fault = operate(&room, "upstream_login_finish", finished).await.unwrap_err();
        assert!(fault.text.contains(text), "{text}: {fault:?}");
    }
    // A code is good once.
    log_in(&room).await;
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_logs_in_by_itself() {
    let (bed, grants) = (Bed::start().await, no_grants());
    let oauth =
        json!({ "grant": "client_credentials", "client_id": "us", "client_secret": "s3cret-of-ours" });
    let room = Room::open_granted(bed.section(&oauth), &grants).await;
    assert!(room.plain("docs_do", "{}").await.is_ok());
    let asked = bed.last_asked();
    assert_eq!((&*asked["grant_type"], &*asked["scope"]), ("client_credentials", "tools"));
    bed.all(|all| all.good = "revoked".to_owned());
    assert!(room.plain("docs_do", "{}").await.is_ok());
    assert_eq!(bed.all(|all| all.asked.len()), 2);
    // Nothing of it is kept: it can be had again.
    assert!(grants.granted("docs").await.unwrap().is_none());
    // A server that takes nothing is not asked for ever.
    bed.all(|all| all.seen.clear());
    bed.all(|all| all.refuses = true);
    let fault = room.plain("docs_do", "{}").await.unwrap_err();
    assert!(fault.text.contains("refuses every token"), "{fault:?}");
    for _ in 0..5 {
        assert!(room.plain("docs_do", "{}").await.is_err());
    }
    assert!(bed.all(|all| all.seen.len()) <= 20, "{:?}", bed.all(|all| all.seen.len()));
    assert_eq!(bed.all(|all| all.asked.len()), 2 + 3);
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_names_is_looked_at_before_it_is_asked() {
    for (endpoint, text) in [
        ("http://169.254.169.254/token", "169.254"),
        ("http://10.0.0.1/token", "10.0.0.1"),
        ("http://[::1]:9/token", "[::1]"),
        ("file:///etc/passwd", "file"),
        ("javascript:alert(1)", "javascript"),
    ] {
        let (bed, grants) = (Bed::start().await, no_grants());
        let origin = bed.all(|all| all.origin.clone());
        let hostile = json!({ "issuer": origin, "authorization_endpoint": endpoint, "token_endpoint": endpoint,
            "registration_endpoint": endpoint, "code_challenge_methods_supported": ["S256"] });
        bed.all(|all| all.metadata = Some(hostile));
        let room = bed.open(&grants).await;
        let begun = json!({ "server": "docs", "redirect_uri": BACK });
        let fault = operate(&room, "upstream_login", begun).await.unwrap_err();
        assert_eq!(fault.code, Code::Upstream, "{fault:?}");
        assert!(fault.text.contains("cannot be logged in to"), "{text}: {fault:?}");
        room.provider.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_section_is_said() {
    let one = |oauth: Value| json!({ "docs": { "url": "https://docs.example.com/mcp", "oauth": oauth } });
    for (section, text) in [
        (one(json!({ "client_secret": "x" })), "without its `client_id`"),
        (one(json!({ "private_key": "x" })), "for `grant: client_credentials`"),
        (one(json!({ "grant": "client_credentials" })), "needs one"),
        (one(json!({ "grant": "client_credentials", "client_id": "x" })), "either a `client_secret`"),
        (one(json!({ "client_metadata_url": "http://x/y" })), "no https URL with a path"),
        (one(json!({ "scopes": ["a b"] })), "is no scope"),
        (json!({ "docs": { "command": ["x"], "oauth": {} } }), "for a server with a url"),
        (json!({ "docs": { "url": "http://docs.example.com/mcp", "oauth": {} } }), "tokens go over https"),
        (
            json!({ "docs": { "url": "tls://docs.example.com:9", "protocol": "jsonl", "oauth": {} } }),
            "over http and https",
        ),
        (
            json!({ "docs": { "url": "https://docs.example.com/mcp", "oauth": {},
                "headers": { "Authorization": "x" } } }),
            "one of the two is too many",
        ),
    ] {
        let said = Room::try_open(section).await.err().unwrap();
        assert!(said.contains(text), "{text}: {said}");
    }
}

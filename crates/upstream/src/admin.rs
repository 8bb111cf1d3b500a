//! What operators do with tool servers, as tools: look at them, take what they offer now, start them anew.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tool::{Audience, Code, Effect, Fault, Permit, PrincipalKind, Tool, ToolName, json::closed_object};

use crate::{
    error::UpstreamError,
    oauth,
    upstream::{Chosen, Means, NotTaken, Upstream},
};

/// What these tools talk to, in policy and metrics.
pub(crate) const SOURCE: &str = "upstreams";

/// The longest that starting a server anew may take.
const TIME_MAX: Duration = Duration::from_secs(60);

/// The most bytes of an answer: every difference of every tool that is held back.
const BYTES_MAX: usize = 4 * 1024 * 1024;

const LIST: &str = "upstream_list";
const APPROVE: &str = "upstream_approve";
const RESTART: &str = "upstream_restart";
const LOGS: &str = "upstream_logs";
const LOGIN: &str = "upstream_login";
const LOGIN_FINISH: &str = "upstream_login_finish";
const LOGOUT: &str = "upstream_logout";

#[derive(Deserialize)]
struct Asked {
    server: String,
    tools: Option<Vec<String>>,
    #[serde(default)]
    digests: HashMap<String, String>,
    #[serde(default)]
    redirect_uri: String,
    #[serde(default)]
    callback_url: String,
}

/// The tools; a role must name them, or `group:admin`.
pub(crate) fn tools() -> Vec<Arc<Tool>> {
    let server = json!({ "type": "string", "description": "The server, by its name in the configuration." });
    let one = closed_object(&json!({ "server": server }), &["server"]);
    let and = |member: &str, most: u32, about: &str| {
        let text = json!({ "type": "string", "maxLength": most, "description": about });
        closed_object(&json!({ "server": server, member: text }), &["server", member])
    };
    let named = json!({
        "server": server,
        "digests": {
            "type": "object", "additionalProperties": { "type": "string" },
            "description": "What you have seen of them, by their names: `digest` of `upstream_list`. Refused where one is another by now.",
        },
        "tools": {
            "type": "array", "items": { "type": "string" }, "minItems": 1, "maxItems": 1_000,
            "description": "Which of its tools that are held back, by their names there. Left out: all.",
        },
    });
    vec![
        line(
            LIST,
            "Lists the tool servers: whether each is connected, how many tools it offers, and which are held back since they are not what was taken, with the difference.",
            Effect::Reads,
            closed_object(&json!({}), &[]),
            json!({}),
        ),
        line(
            APPROVE,
            "Takes tools that are held back as their server describes them now. The caller must be a human.",
            Effect::Changes,
            closed_object(&named, &["server"]),
            json!({ "server": "docs", "tools": ["search"] }),
        ),
        line(
            RESTART,
            "Ends the connection to a tool server and makes a new one; a program is started anew, also one that is left alone since it kept ending.",
            Effect::Changes,
            one.clone(),
            json!({ "server": "docs" }),
        ),
        line(
            LOGS,
            "Shows what the program of a tool server said last on standard error, over all of its starts, at most 200 lines.",
            Effect::Reads,
            one.clone(),
            json!({ "server": "docs" }),
        ),
        line(
            LOGIN,
            "Begins a login to a tool server that wants one (`oauth` in its configuration), and gives the page on which a person says yes. The caller must be a human.",
            Effect::Changes,
            and(
                "redirect_uri",
                2_048,
                "Where that page leads back to: an http URL on this machine, or an https URL.",
            ),
            json!({ "server": "docs", "redirect_uri": "http://127.0.0.1:33418/callback" }),
        ),
        line(
            LOGIN_FINISH,
            "Ends a login with the address that the person came back with, and connects to the server. The caller must be a human.",
            Effect::Changes,
            and("callback_url", 16_384, "That address, with the `code` and the `state` in it."),
            json!({ "server": "docs", "callback_url": "http://127.0.0.1:33418/callback?code=..&state=.." }),
        ),
        line(
            LOGOUT,
            "Forgets the login to a tool server. Its authorization server is not told.",
            Effect::Changes,
            one,
            json!({ "server": "docs" }),
        ),
    ]
}

fn line(name: &str, about: &str, effect: Effect, input: Value, example: Value) -> Arc<Tool> {
    let name = ToolName::parse(name).expect("the names of these tools are tool names");
    let mut tool = Tool::reading(name, SOURCE, about, input);
    tool.effect = effect;
    tool.audience = Audience::Admins;
    tool.time_max = TIME_MAX;
    tool.bytes_max = BYTES_MAX;
    tool.examples = vec![example];
    Arc::new(tool)
}

/// Does what one of these tools does.
pub(crate) async fn run(servers: &[Arc<Upstream>], permit: &Permit) -> Result<Value, Fault> {
    let name = permit.tool().name.as_str();
    if name == LIST {
        return Ok(json!({ "servers": servers.iter().map(|server| shown(server)).collect::<Vec<_>>() }));
    }
    let Asked { server: wanted, tools, digests, redirect_uri, callback_url } = permit.parse()?;
    let names = || servers.iter().map(|server| server.name());
    let Some(server) = servers.iter().find(|server| server.name() == wanted) else {
        let hint = match tool::nearest(&wanted, names()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        };
        return Err(Fault::bad_argument("/server", format!("there is no tool server {wanted:?}; {hint}")));
    };
    if name == LOGS {
        let Means::Program(launch) = &server.settings.means else {
            let text = format!("{wanted:?} is no program that is started here; its logs are where it runs");
            return Err(Fault::bad_argument("/server", text));
        };
        return Ok(json!({ "server": wanted, "lines": launch.complaints.all() }));
    }
    if name == RESTART {
        server.restart().await.map_err(|error| error.into_fault(server.name(), false))?;
        return Ok(json!({ "server": wanted, "restarted": true }));
    }
    if [LOGIN, LOGIN_FINISH, LOGOUT].contains(&name) {
        let said = if name == LOGIN { redirect_uri } else { callback_url };
        return login(server, permit, &said).await;
    }
    if permit.caller().kind != PrincipalKind::Human {
        let text = "only a human takes what a tool server offers; an agent would decide about its own tools";
        return Err(Fault::new(Code::Denied, text));
    }
    let chosen = Chosen { tools: tools.as_deref(), digests: &digests };
    match server.approve(&chosen, &permit.caller().principal).await? {
        Ok(taken) => Ok(json!({ "server": wanted, "taken": taken })),
        Err(NotTaken::NotHeld) => {
            let catalogue = server.catalogue();
            let held: Vec<&str> = catalogue.held.iter().map(|held| held.offered.tool.as_str()).collect();
            let held =
                if held.is_empty() { "none is".to_owned() } else { format!("those are {}", held.join(", ")) };
            Err(Fault::bad_argument("/tools", format!("not all of these are held back; {held}")))
        }
        Err(NotTaken::Changed(tool)) => {
            let text = format!("{tool:?} is described otherwise again by now; look at it once more");
            Err(Fault::new(Code::Drifted, text))
        }
    }
}

/// Begins a login, ends it, or forgets it.
async fn login(server: &Arc<Upstream>, permit: &Permit, said: &str) -> Result<Value, Fault> {
    let (name, step) = (server.name(), permit.tool().name.as_str());
    let Some(oauth) = server.oauth() else {
        let text = format!("{name:?} has no `oauth` in its configuration");
        return Err(Fault::bad_argument("/server", text));
    };
    if step == LOGOUT {
        oauth.forget().await?;
        server.disconnect("it was logged out of").await;
        return Ok(json!({ "server": name, "logged_out": true }));
    }
    if permit.caller().kind != PrincipalKind::Human {
        let text = "only a human logs in to a tool server; an agent would decide about its own reach";
        return Err(Fault::new(Code::Denied, text));
    }
    let refused = |error: UpstreamError| error.into_fault(name, false);
    if step == LOGIN {
        if let Err(text) = check_redirect(said) {
            return Err(Fault::bad_argument("/redirect_uri", text));
        }
        let page = oauth.begin(said).await.map_err(refused)?;
        return Ok(json!({ "server": name, "authorization_url": page }));
    }
    oauth.finish(said).await.map_err(refused)?;
    server.restart().await.map_err(refused)?;
    Ok(json!({ "server": name, "logged_in": true }))
}

/// Where a login page may lead back to (RFC 8252, section 7).
fn check_redirect(text: &str) -> Result<(), String> {
    let url = place::parse_url(text)?;
    match url.scheme() {
        "https" => Ok(()),
        _ if oauth::is_this_machine(&url) => Ok(()),
        _ => Err(format!("{text:?} leads off this machine over plain http; it needs https")),
    }
}

fn shown(server: &Upstream) -> Value {
    let catalogue = server.catalogue();
    let live = server.live();
    let held = catalogue.held.iter();
    let mut shown = json!({
        "server": server.name(),
        "state": server.state(),
        "protocol_version": live.as_ref().map(|peer| peer.version.as_str()),
        "tools": catalogue.tools.iter().filter(|tool| tool.purpose == tool::Purpose::Call).count(),
        "pin": server.settings.pin,
        "suspicious": catalogue.suspicious,
        "held": held
            .map(|held| {
                let offered = &held.offered;
                json!({ "tool": offered.tool, "why": held.why(), "digest": offered.digest, "diff": held.diff() })
            })
            .collect::<Vec<_>>(),
    });
    if let Some(oauth) = server.oauth() {
        shown["login"] = json!(if oauth.is_granted() { "granted" } else { "wanted" });
    }
    if server.is_program() {
        shown["restarts"] = json!(server.restarts().count);
        shown["why"] = json!(server.restarts().why());
        shown["sandbox"] = json!(live.as_ref().and_then(|peer| peer.held()));
    }
    shown
}

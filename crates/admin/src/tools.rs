use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use state::{Artefacts, Usage};
use tool::{
    Audience, Clock, Code, Effect, Fault, Hygiene, Kind, Outcome, Permit, Provider, Purpose, Reply, Resource,
    Talk, Tool, ToolName, json::closed_object,
};

use crate::{
    AdminParts, House, LABEL_CHARS_MAX, artefacts,
    keys::{KeyDesk, Rotate},
};

/// What these tools talk to, in policy, health and metrics.
const SOURCE: &str = "admin";

/// What reads kept results talks to, which is not administration.
const ARTEFACTS: &str = "artefacts";

/// The tool that stands for kept results as resources.
const ARTEFACT_RESOURCE: &str = "artefact_resource";

const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(600);

/// The longest overlap of a rotation: 30 days.
const OVERLAP_HOURS_MAX: u32 = 720;

/// The most audit records in one answer.
const TAIL_MAX: u32 = 1_000;

/// The most keys whose usage one answer shows.
const USAGE_KEYS_MAX: usize = 1_000;

/// The largest offset that every JSON reader takes exactly: 2^53 - 1.
const OFFSET_MAX: u64 = (1 << 53) - 1;

/// One tool of this room.
struct Line {
    name: &'static str,
    about: &'static str,
    effect: Effect,
    source: &'static str,
    audience: Audience,
    purpose: Purpose,
    time_max: Duration,
    hygiene: Hygiene,
    input: fn() -> Value,
    example: &'static str,
}

/// A line for administration that is short and cleaned as usual.
const ADMIN: Line = Line {
    name: "",
    about: "",
    effect: Effect::Reads,
    source: SOURCE,
    audience: Audience::Admins,
    purpose: Purpose::Call,
    time_max: SHORT,
    // The beginnings of keys tell keys apart, and must not be taken for whole ones.
    hygiene: Hygiene::Standard,
    input: || closed_object(&json!({}), &[]),
    example: "{}",
};

const TABLE: &[Line] = &[
    Line {
        name: "keys_create",
        about: "Makes an API key for a declared principal. The answer holds the key itself, this once.",
        effect: Effect::Changes,
        hygiene: Hygiene::Off,
        input: create_schema,
        example: r#"{"label": "billing-ci", "principal": "billing-bot", "expires_days": 90}"#,
        ..ADMIN
    },
    Line {
        name: "keys_list",
        about: "Lists all API keys, revoked ones too: whom they stand for, what they may, when they were last used.",
        ..ADMIN
    },
    Line {
        name: "keys_update",
        about: "Switches an API key on or off, or changes its tier, rate limit or expiry.",
        effect: Effect::Changes,
        input: update_schema,
        example: r#"{"key": "billing-ci", "enabled": false}"#,
        ..ADMIN
    },
    Line {
        name: "keys_rotate",
        about: "Gives an API key a new secret, shown this once; the one before stays good for the overlap.",
        effect: Effect::Changes,
        hygiene: Hygiene::Off,
        input: rotate_schema,
        example: r#"{"key": "billing-ci", "overlap_hours": 24}"#,
        ..ADMIN
    },
    Line {
        name: "keys_revoke",
        about: "Revokes an API key for good, at once.",
        effect: Effect::Destroys,
        input: || closed_object(&json!({ "key": key_schema() }), &["key"]),
        example: r#"{"key": "billing-ci"}"#,
        ..ADMIN
    },
    Line {
        name: "usage_read",
        about: "Tells how many calls a key made today and this month (UTC), or every key. The last second may be missing.",
        input: || closed_object(&json!({ "key": key_schema() }), &[]),
        example: r#"{"key": "billing-ci"}"#,
        ..ADMIN
    },
    Line {
        name: "config_reload",
        about: "Reads the configuration again. Where it has faults, they are listed and the old one stays in force.",
        effect: Effect::Changes,
        time_max: LONG,
        ..ADMIN
    },
    Line {
        name: "audit_tail",
        about: "Shows the newest audit records that match, the newest last.",
        input: tail_schema,
        example: r#"{"count": 20, "event": "call.outcome"}"#,
        ..ADMIN
    },
    Line {
        name: "audit_verify",
        about: "Verifies the whole audit log and names the first bad record.",
        time_max: LONG,
        ..ADMIN
    },
    Line {
        name: "artefact_read",
        about: "Reads a piece of a result that was too large to send, by its handle and a byte offset. Only the caller's own.",
        source: ARTEFACTS,
        audience: Audience::Callers,
        input: artefact_schema,
        example: r#"{"artefact": "art_00112233445566778899aabbccddeeff", "offset": 0}"#,
        ..ADMIN
    },
    Line {
        name: ARTEFACT_RESOURCE,
        about: "Reads a whole result that was too large to send, as the resource artefact:///<handle>. Only the caller's own.",
        source: ARTEFACTS,
        audience: Audience::Callers,
        purpose: Purpose::Resource,
        input: uri_schema,
        example: r#"{"uri": "artefact:///art_00112233445566778899aabbccddeeff"}"#,
        ..ADMIN
    },
];

impl Line {
    fn tool(&self) -> Tool {
        let name = ToolName::parse(self.name).expect("the names in the table are tool names");
        let mut tool = Tool::reading(name, self.source, self.about, (self.input)());
        tool.effect = self.effect;
        tool.audience = self.audience;
        tool.purpose = self.purpose;
        tool.time_max = self.time_max;
        tool.hygiene = self.hygiene;
        tool.examples = vec![serde_json::from_str(self.example).expect("the examples in the table are JSON")];
        // A byte takes up to six in JSON (`\u0000`); an answer of artefact_read must never be cut again.
        tool.bytes_max = usize::try_from(artefacts::LIMIT_MAX * 8).expect("2 MiB fit");
        tool
    }
}

fn key_schema() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 64, "description": "The key's id or label, never the key itself." })
}

fn create_schema() -> Value {
    let members = json!({
        "label": {
            "type": "string", "pattern": format!("^[a-z0-9-]{{1,{LABEL_CHARS_MAX}}}$"),
            "description": "A unique name for it, part of the key itself: `sk_<label>_..`.",
        },
        "principal": { "type": "string", "minLength": 1, "maxLength": 128, "description": "The declared principal it stands for." },
        "tier": { "type": "string", "minLength": 1, "maxLength": 64, "default": "basic", "description": "`basic`, `premium` or a declared one." },
        "roles": {
            "type": "array", "items": { "type": "string", "maxLength": 128 }, "maxItems": 64, "uniqueItems": true,
            "description": "Some of the principal's roles; all of them where left out.",
        },
        "rate_per_minute": rate_schema("Calls in any 60 seconds; the tier's limit where left out.", false),
        "expires_days": { "type": "integer", "minimum": 1, "maximum": 3_650, "description": "Ends after so many days; never where left out." },
        "user_id": {
            "type": "string", "pattern": "^[!-~]{1,128}$",
            "description": "Your own name for the user, in logs and answers; the principal's where left out.",
        },
    });
    closed_object(&members, &["label", "principal"])
}

fn rate_schema(about: &str, nullable: bool) -> Value {
    let kind = if nullable { json!(["integer", "null"]) } else { json!("integer") };
    json!({ "type": kind, "minimum": 1, "maximum": 1_000_000, "description": about })
}

fn update_schema() -> Value {
    let members = json!({
        "key": key_schema(),
        "enabled": { "type": "boolean", "description": "False switches it off: calls with it get 403." },
        "tier": { "type": "string", "minLength": 1, "maxLength": 64, "description": "`basic`, `premium` or a declared one." },
        "rate_per_minute": rate_schema("Calls in any 60 seconds; null for the tier's limit.", true),
        "expires_at": { "type": ["string", "null"], "format": "date-time", "maxLength": 64, "description": "When it ends, as RFC 3339; null for never." },
    });
    closed_object(&members, &["key"])
}

fn rotate_schema() -> Value {
    let members = json!({
        "key": key_schema(),
        "overlap_hours": {
            "type": "integer", "minimum": 0, "maximum": OVERLAP_HOURS_MAX, "default": 24,
            "description": "How long the secret of before stays good. The one before that ends at once.",
        },
    });
    closed_object(&members, &["key"])
}

fn tail_schema() -> Value {
    let text =
        |about: &str| json!({ "type": "string", "minLength": 1, "maxLength": 128, "description": about });
    let members = json!({
        "count": { "type": "integer", "minimum": 1, "maximum": TAIL_MAX, "default": 50, "description": "How many at most." },
        "event": text("Only this event, such as `call.outcome` or `auth.refused`."),
        "principal": text("Only calls of this principal."),
        "tool": text("Only calls of this tool."),
        "request_id": text("Only this call."),
        "since_seq": { "type": "integer", "minimum": 0, "description": "Only records after this sequence number." },
    });
    closed_object(&members, &[])
}

fn artefact_schema() -> Value {
    let members = json!({
        "artefact": { "type": "string", "minLength": 1, "maxLength": 64, "description": "The handle, from the answer that was cut." },
        "offset": { "type": "integer", "minimum": 0, "maximum": OFFSET_MAX, "default": 0, "description": "The byte to begin at." },
        "limit": {
            "type": "integer", "minimum": artefacts::LIMIT_MIN, "maximum": artefacts::LIMIT_MAX,
            "default": artefacts::LIMIT, "description": "How many bytes at most.",
        },
    });
    closed_object(&members, &["artefact"])
}

fn uri_schema() -> Value {
    let uri = json!({ "type": "string", "minLength": 1, "maxLength": 128, "description": "The URI: artefact:/// and the handle." });
    closed_object(&json!({ "uri": uri }), &["uri"])
}

/// The arguments of `artefact_resource`.
#[derive(Deserialize)]
struct OneUri {
    uri: String,
}

/// The arguments of `keys_revoke`.
#[derive(Deserialize)]
struct OneKey {
    key: String,
}

/// The arguments of `usage_read`.
#[derive(Deserialize)]
struct WhoseUsage {
    key: Option<String>,
}

struct Room {
    desk: KeyDesk,
    usage: Arc<dyn Usage>,
    artefacts: Arc<dyn Artefacts>,
    clock: Arc<dyn Clock>,
    house: Arc<dyn House>,
    tools: Arc<[Arc<Tool>]>,
    templates: Arc<[Arc<Resource>]>,
}

pub(crate) fn open(parts: AdminParts) -> Arc<dyn Provider> {
    let AdminParts { keys, usage, artefacts, maker, clock, house } = parts;
    let desk = KeyDesk { keys, maker, clock: Arc::clone(&clock), house: Arc::clone(&house) };
    let tools = TABLE.iter().map(|line| Arc::new(line.tool())).collect();
    let templates = Arc::from([Arc::new(artefacts::listing(artefact_resource()))]);
    Arc::new(Room { desk, usage, artefacts, clock, house, tools, templates })
}

fn artefact_resource() -> ToolName {
    ToolName::parse(ARTEFACT_RESOURCE).expect("the names in the table are tool names")
}

#[async_trait]
impl Provider for Room {
    fn name(&self) -> &str {
        SOURCE
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.tools)
    }

    fn templates(&self) -> Arc<[Arc<Resource>]> {
        Arc::clone(&self.templates)
    }

    fn reads(&self, uri: &str) -> Option<ToolName> {
        let is_ours = uri == artefacts::TEMPLATE || artefacts::handle_of(uri).is_some();
        is_ours.then(artefact_resource)
    }

    async fn run(&self, permit: Permit, _talk: Talk) -> Result<Reply, Fault> {
        let caller = permit.caller();
        let value = match permit.tool().name.as_str() {
            "keys_create" => return Ok(Reply::Done(self.desk.create(permit.parse()?, caller).await?)),
            "keys_rotate" => {
                return Ok(Reply::Done(self.desk.rotate(permit.parse::<Rotate>()?, caller).await?));
            }
            "keys_list" => self.desk.list().await?,
            "keys_update" => self.desk.update(permit.parse()?, caller).await?,
            "keys_revoke" => self.desk.revoke(&permit.parse::<OneKey>()?.key).await?,
            "usage_read" => self.usage(permit.parse()?).await?,
            "config_reload" => self.reload().await?,
            "audit_tail" => {
                let records = self.house.audit_tail(permit.arguments().clone()).await?;
                json!({ "count": records.len(), "records": records })
            }
            "audit_verify" => self.house.audit_verify().await?,
            "artefact_read" => {
                let (artefacts, now) = (self.artefacts.as_ref(), self.clock.now());
                artefacts::read(artefacts, &caller.principal, permit.parse()?, now).await?
            }
            ARTEFACT_RESOURCE => return Ok(Reply::Done(self.artefact(&permit).await?)),
            other => return Err(Fault::internal(format!("{other} is not in the table of {SOURCE}"))),
        };
        Ok(Reply::value(value))
    }
}

impl Room {
    /// A kept result as a resource, or a completion of its template.
    async fn artefact(&self, permit: &Permit) -> Result<Outcome, Fault> {
        if matches!(permit.call().kind, Kind::Complete { .. }) {
            return Ok(artefacts::no_completion());
        }
        let (uri, principal) = (permit.parse::<OneUri>()?.uri, &permit.caller().principal);
        let bytes_max = permit.tool().bytes_max;
        artefacts::whole(self.artefacts.as_ref(), principal, &uri, bytes_max, self.clock.now()).await
    }

    async fn usage(&self, whose: WhoseUsage) -> Result<Value, Fault> {
        let now = self.clock.now();
        let mut keys = match whose.key {
            Some(key) => vec![self.desk.find(&key).await?],
            None => self.desk.keys.list().await?,
        };
        let left_out = keys.len().saturating_sub(USAGE_KEYS_MAX);
        keys.truncate(USAGE_KEYS_MAX);
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            let (today, month) = self.usage.read(&key.id, now).await?;
            rows.push(json!({
                "key": key.id, "label": key.label, "user_id": key.user_id, "tier": key.tier,
                "requests_today": today, "requests_this_month": month,
            }));
        }
        Ok(json!({ "day": now.day(), "month": now.month(), "keys": rows, "left_out": left_out }))
    }

    async fn reload(&self) -> Result<Value, Fault> {
        match self.house.reload().await {
            Ok(hash) => Ok(json!({ "reloaded": true, "config_hash": hash })),
            Err(faults) => {
                let first = faults.first().map_or("no reason was given", String::as_str);
                let more = match faults.len() {
                    0 | 1 => String::new(),
                    count => format!(" (and {} more)", count - 1),
                };
                let text =
                    format!("the configuration has faults, and the old one stays in force: {first}{more}");
                Err(Fault::new(Code::Conflict, text).with_details(json!({ "faults": faults })))
            }
        }
    }
}

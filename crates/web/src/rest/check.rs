//! What is wrong with the section that its schema cannot say.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue};
use place::address;
use tool::{ConfigFault, ToolName, json::push_pointer, nearest};
use url::{Host, Url};

use super::{
    config::{
        ApiConfig, AuthConfig, Config, DeprecatedConfig, ErrorOn, MethodConfig, ParameterConfig,
        ParameterType, Place, ToolConfig,
    },
    path::Template,
};
use crate::fetch::check_private;

/// Headers that belong to the connection or to us, and are no operator's or caller's to set.
const RESERVED: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "proxy-authorization",
    "proxy-connection",
];

/// Headers that a caller may not set either.
const OURS: &[&str] =
    &["authorization", "cookie", "content-type", "traceparent", "tracestate", "x-request-id"];

impl Config {
    /// What the schema cannot say: URLs, paths and pointers that cannot be read, names that point nowhere, addresses
    /// that would be refused anyway.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        let mut faults = Faults::default();
        for (name, api) in &self.apis {
            check_api(&mut faults, name, api);
        }
        for (name, tool) in &self.tools {
            check_tool(&mut faults, self, name, tool);
        }
        faults.0
    }
}

/// The base URL of an API in normal form, without the last `/`.
pub(crate) fn base_url(text: &str) -> Result<Url, String> {
    let mut url = place::parse_url(text)?;
    if url.query().is_some() || text.contains('#') {
        return Err("it must not hold a query or a fragment".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

#[derive(Default)]
struct Faults(Vec<ConfigFault>);

impl Faults {
    fn add(&mut self, at: &[&str], text: impl Into<String>) {
        self.0.push(ConfigFault::new(pointer(at), text));
    }

    fn add_with(&mut self, at: &[&str], text: impl Into<String>, hint: impl Into<String>) {
        self.0.push(ConfigFault::new(pointer(at), text).hint(hint));
    }

    fn unknown<'a>(&mut self, at: &[&str], what: &str, name: &str, known: impl Iterator<Item = &'a str>) {
        let fault = ConfigFault::new(pointer(at), format!("there is no {what} {name:?}"));
        self.0.push(match nearest(name, known) {
            Some(near) => fault.hint(format!("did you mean {near:?}?")),
            None => fault,
        });
    }
}

fn pointer(parts: &[&str]) -> String {
    let mut text = String::from("/rest");
    for part in parts {
        push_pointer(&mut text, part);
    }
    text
}

fn check_api(faults: &mut Faults, name: &str, api: &ApiConfig) {
    let at = |member| ["apis", name, member];
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
        faults.add(&["apis", name], format!("{name:?} is not a name: use letters, digits, '_', '-' or '.'"));
    }
    match base_url(&api.base_url) {
        Err(e) => faults.add_with(&at("base_url"), e, "such as https://api.example.com/v2"),
        Ok(url) => check_reach(faults, name, api, &url),
    }
    let private = check_private(&pointer(&at("allow_private")), &api.allow_private);
    faults.0.extend(private);
    for (header, value) in &api.headers {
        let at = ["apis", name, "headers", header];
        check_header(faults, &at, header, RESERVED);
        if HeaderValue::from_str(value).is_err() {
            faults.add(&at, "the value holds a character that no header may hold");
        }
    }
    match &api.auth {
        Some(AuthConfig::Header(header)) => {
            check_header(faults, &["apis", name, "auth", "header", "name"], &header.name, RESERVED);
        }
        Some(AuthConfig::Basic(basic)) if basic.user.contains(':') => {
            faults
                .add(&["apis", name, "auth", "basic", "user"], "the user of basic credentials holds no `:`");
        }
        _ => {}
    }
    if let Some(path) = &api.health_path {
        match Template::parse(path) {
            Err(e) => faults.add(&at("health_path"), e),
            Ok(template) if template.parameters().next().is_some() => {
                faults.add(&at("health_path"), "it takes no parameters");
            }
            Ok(_) => {}
        }
    }
    if api.retry_wait_ms > api.retry_wait_ms_max {
        faults.add(&at("retry_wait_ms"), "it is longer than retry_wait_ms_max");
    }
}

/// An API on our own network that nobody allowed would refuse every call: better said at the start.
fn check_reach(faults: &mut Faults, name: &str, api: &ApiConfig, url: &Url) {
    let what = match url.host() {
        Some(Host::Domain("localhost")) => Some("a loopback address"),
        _ => place::literal(url).and_then(address::forbidden),
    };
    let Some(what) = what else { return };
    let (host, port) = (url.host_str().unwrap_or_default(), place::port(url));
    let private = place::AllowPrivate::new(&api.allow_private);
    let local = [std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
    let addresses = place::literal(url).map_or(local.to_vec(), |address| vec![address]);
    if !addresses.into_iter().any(|address| private.admits(host, port, address)) {
        let text = format!("{host}:{port} is {what} and would be refused");
        faults.add_with(&["apis", name, "base_url"], text, format!("add \"{host}:{port}\" to allow_private"));
    }
}

fn check_header(faults: &mut Faults, at: &[&str], name: &str, reserved: &[&str]) {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        faults.add(at, format!("{name:?} is not the name of a header"));
    } else if reserved.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        faults.add(at, format!("the header {name:?} is set by the client itself"));
    }
}

fn check_tool(faults: &mut Faults, config: &Config, name: &str, tool: &ToolConfig) {
    let at = |member| ["tools", name, member];
    if let Err(e) = ToolName::parse(name) {
        faults.add(&["tools", name], e.to_string());
    }
    if !config.apis.contains_key(&tool.api) {
        faults.unknown(&at("api"), "api", &tool.api, config.apis.keys().map(String::as_str));
    }
    if tool.description.trim().is_empty() {
        faults.add(&at("description"), "it says nothing; models choose tools by their description");
    }
    check_path(faults, name, tool);
    let mut wire = BTreeSet::new();
    for (parameter, parameter_config) in tool.parameters.iter() {
        check_parameter(faults, name, tool, parameter, parameter_config);
        let sent_as = parameter_config.name.as_deref().unwrap_or(parameter).to_ascii_lowercase();
        if !wire.insert((parameter_config.place as u8, sent_as)) {
            faults.add(
                &["tools", name, "parameters", parameter],
                "another parameter is sent under the same name",
            );
        }
    }
    check_body(faults, name, tool);
    check_response(faults, name, tool);
    check_errors(faults, name, tool);
    if tool.output.as_ref().is_some_and(|schema| !schema.is_object()) {
        faults.add(&at("output"), "expected a JSON Schema, which is an object");
    }
    for (i, example) in tool.examples.iter().enumerate() {
        if !example.is_object() {
            faults
                .add(&["tools", name, "examples", &i.to_string()], "expected arguments, which are an object");
        }
    }
    if let Some(deprecated) = &tool.deprecated {
        check_dates(faults, name, deprecated);
    }
}

fn check_path(faults: &mut Faults, name: &str, tool: &ToolConfig) {
    let at = ["tools", name, "path"];
    let template = match Template::parse(&tool.path) {
        Ok(template) => template,
        Err(e) => return faults.add_with(&at, e, "such as /customers/{customer_id}"),
    };
    let in_path = tool.parameters.iter().filter(|(_, parameter)| parameter.place == Place::Path);
    let declared: BTreeSet<_> = in_path.map(|(name, _)| name.as_str()).collect();
    let named: BTreeSet<_> = template.parameters().collect();
    for missing in named.difference(&declared) {
        faults.unknown(&at, "parameter `in: path`", missing, tool.parameters.keys());
    }
    for unused in declared.difference(&named) {
        let text = format!("the path has no place {{{unused}}} for it");
        faults.add(&["tools", name, "parameters", unused, "in"], text);
    }
}

fn check_parameter(
    faults: &mut Faults,
    name: &str,
    tool: &ToolConfig,
    parameter: &str,
    config: &ParameterConfig,
) {
    let at = |member| ["tools", name, "parameters", parameter, member];
    let structured = matches!(config.kind, ParameterType::Array | ParameterType::Object);
    let misfit = match config.place {
        Place::Path | Place::Header => structured,
        Place::Query => config.kind == ParameterType::Object,
        Place::Body => false,
    };
    if misfit {
        faults.add(&at("type"), "a list goes into a query or a body, an object into a body alone");
    }
    if config.place == Place::Path {
        if config.name.is_some() {
            faults.add(&at("name"), "a parameter of the path is named by its place in braces");
        }
        if !config.is_required() && config.default.is_none() {
            faults.add(&at("required"), "a parameter of the path is required or has a default");
        }
    }
    if config.place == Place::Header {
        let reserved: Vec<_> = RESERVED.iter().chain(OURS).copied().collect();
        check_header(faults, &at("name"), config.name.as_deref().unwrap_or(parameter), &reserved);
    }
    if config.place == Place::Body && matches!(tool.method, MethodConfig::Get | MethodConfig::Head) {
        faults.add(&at("in"), "a request of this method has no body");
    }
    let pointer = config.name.as_deref().filter(|name| config.place == Place::Body && name.starts_with('/'));
    if let Some(pointer) = pointer.filter(|pointer| pointer.split('/').skip(1).any(str::is_empty)) {
        faults.add(&at("name"), format!("{pointer:?} is not a pointer to a member"));
    }
}

fn check_body(faults: &mut Faults, name: &str, tool: &ToolConfig) {
    let Some(body) = &tool.body else { return };
    match tool.parameters.get(body) {
        None => {
            let known = tool.parameters.keys();
            faults.unknown(&["tools", name, "body"], "parameter", body, known);
        }
        Some(config) if config.place != Place::Body => {
            faults.add(&["tools", name, "body"], format!("the parameter {body:?} does not go into the body"));
        }
        Some(_) => {}
    }
    for (other, config) in tool.parameters.iter() {
        if config.place == Place::Body && other != body {
            let text = format!("{body:?} is the whole body; there is no room for it");
            faults.add(&["tools", name, "parameters", other, "in"], text);
        }
    }
}

fn check_response(faults: &mut Faults, name: &str, tool: &ToolConfig) {
    let is_pointer = |text: &str| text.is_empty() || text.starts_with('/');
    let response = &tool.response;
    if let Some(pointer) = response.pointer.as_deref().filter(|pointer| !is_pointer(pointer)) {
        faults.add_with(
            &["tools", name, "response", "pointer"],
            format!("{pointer:?} is not a pointer"),
            "such as /data",
        );
    }
    for (field, pointer) in response.fields.iter() {
        if !is_pointer(pointer) {
            let at = ["tools", name, "response", "fields", field];
            faults.add_with(&at, format!("{pointer:?} is not a pointer"), format!("such as /{field}"));
        }
    }
    let taken_apart = response.pointer.is_some() || !response.fields.is_empty();
    if taken_apart && response.body != super::BodyKind::Json {
        faults.add(&["tools", name, "response", "body"], "only JSON can be taken apart");
    }
}

fn check_errors(faults: &mut Faults, name: &str, tool: &ToolConfig) {
    for (i, error) in tool.errors.iter().enumerate() {
        let i = i.to_string();
        let known = match &error.status {
            ErrorOn::Status(status) => (400..=599).contains(status),
            ErrorOn::Word(word) => matches!(word.as_str(), "4xx" | "5xx" | "timeout" | "connect"),
        };
        if !known {
            let text = "expected a status from 400 to 599, or one of 4xx, 5xx, timeout, connect";
            faults.add(&["tools", name, "errors", &i, "status"], text);
        }
        if error.error.trim().is_empty() {
            faults.add(&["tools", name, "errors", &i, "error"], "the sentence is empty");
        }
    }
}

fn check_dates(faults: &mut Faults, name: &str, deprecated: &DeprecatedConfig) {
    let dates = [("removal", Some(&deprecated.removal)), ("since", deprecated.since.as_ref())];
    for (member, date) in dates {
        if date.is_some_and(|date| chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").is_err()) {
            faults.add(&["tools", name, "deprecated", member], "expected a day as YYYY-MM-DD");
        }
    }
}

//! From arguments to a request.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value};
use tool::{Call, Fault, json::push_pointer};
use url::Url;

use super::{
    config::{MethodConfig, Place, ToolConfig},
    path::{PathError, Template, plain},
};
use crate::client::Outgoing;

/// How a tool's arguments become a request.
pub(crate) struct Shape {
    pub(crate) method: Method,
    template: Template,
    parameters: Vec<Parameter>,
    /// The parameter that is the whole body.
    body: Option<String>,
}

struct Parameter {
    name: String,
    sent_as: String,
    place: Place,
}

impl Shape {
    /// The shape of a tool. The section has been checked.
    pub(crate) fn new(config: &ToolConfig) -> Self {
        let parameters = config.parameters.iter().map(|(name, parameter)| Parameter {
            name: name.clone(),
            sent_as: parameter.name.clone().unwrap_or_else(|| name.clone()),
            place: parameter.place,
        });
        Self {
            method: config.method.to_http(),
            template: Template::parse(&config.path).expect("check has looked at it"),
            parameters: parameters.collect(),
            body: config.body.clone(),
        }
    }

    /// The path with these arguments in it.
    ///
    /// Fault: `BadArguments` where a value cannot be one segment.
    pub(crate) fn path(&self, arguments: &Value) -> Result<String, Fault> {
        self.template.fill(arguments).map_err(|PathError { parameter, text }| bad(&parameter, text))
    }

    /// The request. `own_headers` are the API's: its credentials and whatever else goes with each request.
    pub(crate) fn request(
        &self,
        base: &Url,
        own_headers: &HeaderMap,
        arguments: &Value,
    ) -> Result<Outgoing, Fault> {
        let path = format!("{}{}", base.path().trim_end_matches('/'), self.path(arguments)?);
        let mut url = base.clone();
        url.set_path(&path);
        // The path was encoded for exactly this; a URL that reads otherwise would lead elsewhere.
        if url.path() != path {
            return Err(Fault::internal(format!("the path {path:?} reads as {:?}", url.path())));
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, */*;q=0.1"));
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))),
        );
        let mut own_headers = own_headers.clone();
        for parameter in &self.parameters {
            let value = &arguments[parameter.name.as_str()];
            match parameter.place {
                _ if value.is_null() => {}
                Place::Query => append_query(&mut url, parameter, value)?,
                Place::Header => append_header(&mut own_headers, parameter, value)?,
                Place::Path | Place::Body => {}
            }
        }
        let body = self.body(arguments)?;
        if body.is_some() {
            own_headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(Outgoing { method: self.method.clone(), url, headers, own_headers, body })
    }

    fn body(&self, arguments: &Value) -> Result<Option<Bytes>, Fault> {
        if let Some(whole) = &self.body {
            let value = &arguments[whole.as_str()];
            return Ok((!value.is_null()).then(|| value.to_string().into()));
        }
        let mut members =
            self.parameters.iter().filter(|parameter| parameter.place == Place::Body).peekable();
        if members.peek().is_none() {
            return Ok(None);
        }
        let mut body = Value::Object(Map::new());
        for parameter in members {
            let value = &arguments[parameter.name.as_str()];
            if !value.is_null() {
                place_member(&mut body, parameter, value)?;
            }
        }
        Ok(Some(body.to_string().into()))
    }
}

/// Adds what belongs to the call: its trace and its id.
pub(crate) fn trace(headers: &mut HeaderMap, call: &Call) {
    let mut put = |name: &'static str, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    put("x-request-id", call.request_id.as_str());
    if let Some(traceparent) = &call.traceparent {
        put("traceparent", traceparent);
    }
}

impl MethodConfig {
    fn to_http(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Head => Method::HEAD,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }
}

fn append_query(url: &mut Url, parameter: &Parameter, value: &Value) -> Result<(), Fault> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    for item in items {
        let text = plain(item).ok_or_else(|| bad(&parameter.name, "expected texts, numbers or booleans"))?;
        url.query_pairs_mut().append_pair(&parameter.sent_as, &text);
    }
    Ok(())
}

fn append_header(headers: &mut HeaderMap, parameter: &Parameter, value: &Value) -> Result<(), Fault> {
    let text = plain(value).ok_or_else(|| bad(&parameter.name, "expected a text, a number or a boolean"))?;
    let fits = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && text.trim() == text;
    let value = HeaderValue::from_str(&text).ok().filter(|_| fits);
    let value = value
        .ok_or_else(|| bad(&parameter.name, "a header holds printable ASCII without spaces at either end"))?;
    let name = HeaderName::from_bytes(parameter.sent_as.as_bytes()).map_err(Fault::internal)?;
    headers.insert(name, value);
    Ok(())
}

/// Puts a value where its name says: a member, or a pointer whose objects are made on the way.
fn place_member(body: &mut Value, parameter: &Parameter, value: &Value) -> Result<(), Fault> {
    let mut at = body;
    let unescape = |part: &str| part.replace("~1", "/").replace("~0", "~");
    let parts: Vec<_> = match parameter.sent_as.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(unescape).collect(),
        None => vec![parameter.sent_as.clone()],
    };
    for part in parts {
        let Value::Object(members) = at else {
            return Err(bad(&parameter.name, "its place in the body is taken by another argument"));
        };
        at = members.entry(part).or_insert_with(|| Value::Object(Map::new()));
    }
    *at = value.clone();
    Ok(())
}

fn bad(parameter: &str, text: impl Into<String>) -> Fault {
    let mut pointer = String::new();
    push_pointer(&mut pointer, parameter);
    Fault::bad_argument(pointer, text)
}

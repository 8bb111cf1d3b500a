use serde_json::{Value, json};

use crate::{
    Era, Version,
    code::{
        HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND,
        MISSING_CAPABILITY, PARSE_ERROR, RESOURCE_NOT_FOUND, UNSUPPORTED_VERSION,
    },
    splice::Splice,
};

/// How much of a peer's own text an error repeats, in characters.
const ECHO_CHARS_MAX: usize = 80;

/// One kind of error on the wire.
#[derive(Clone, Copy, Debug)]
pub struct WireRow {
    /// The JSON-RPC code.
    pub code: i64,
    /// Its name in the specification.
    pub name: &'static str,
    /// The HTTP status for peers of `2025-11-25` and older. What a call comes to is 200 there.
    pub http_legacy: u16,
    /// The HTTP status for modern peers.
    pub http_modern: u16,
}

/// Every error that we send, once.
///
/// Statuses: 404 and 400 for modern peers by 2026-07-28 basic, "Error Codes" and "`_meta`", and
/// basic/transports/streamable-http, "Protocol Version Header" and "Server Validation". For internal errors it
/// says nothing; many clients give a session up at a 5xx, so it stays 200. Before `2026-07-28` an answer to a
/// request is 200 whatever it says; 400 is for what is no request at all.
pub const WIRE_ROWS: &[WireRow] = &[
    row(PARSE_ERROR, "ParseError", 400, 400),
    row(INVALID_REQUEST, "InvalidRequest", 400, 400),
    row(METHOD_NOT_FOUND, "MethodNotFound", 200, 404),
    row(INVALID_PARAMS, "InvalidParams", 200, 400),
    row(INTERNAL_ERROR, "InternalError", 200, 200),
    row(RESOURCE_NOT_FOUND, "ResourceNotFound", 200, 400),
    row(HEADER_MISMATCH, "HeaderMismatch", 400, 400),
    row(MISSING_CAPABILITY, "MissingRequiredClientCapability", 200, 400),
    row(UNSUPPORTED_VERSION, "UnsupportedProtocolVersion", 400, 400),
];

const fn row(code: i64, name: &'static str, http_legacy: u16, http_modern: u16) -> WireRow {
    WireRow { code, name, http_legacy, http_modern }
}

/// An error as it goes over the wire.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct WireError {
    /// The JSON-RPC code.
    pub code: i64,
    /// What is wrong and what to do, for a person. Never a secret.
    pub message: String,
    /// What a program can go by.
    pub data: Option<Box<Value>>,
    /// An HTTP status that says more than the code does.
    status: Option<u16>,
}

impl WireError {
    /// An error with this code.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None, status: None }
    }

    /// Not JSON: -32700.
    #[must_use]
    pub fn parse(message: impl Into<String>) -> Self {
        Self::new(PARSE_ERROR, message)
    }

    /// No message as we take it: -32600.
    #[must_use]
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(INVALID_REQUEST, message)
    }

    /// No such method: -32601.
    #[must_use]
    pub fn method_not_found(method: &str) -> Self {
        Self::new(METHOD_NOT_FOUND, format!("there is no method {:?} here", echo(method)))
    }

    /// Params that the method does not take: -32602.
    #[must_use]
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// Ours to mend: -32603. The message tells nothing that belongs in the log.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(INTERNAL_ERROR, message)
    }

    /// A resource that is not there: -32602, and -32002 before `2026-07-28` (server/resources, "Error
    /// Handling", of both).
    #[must_use]
    pub fn resource_not_found(uri: &str, era: Era) -> Self {
        let code = if era == Era::Modern { INVALID_PARAMS } else { RESOURCE_NOT_FOUND };
        let text = format!("there is no resource {:?}; resources/list shows what there is", echo(uri));
        Self::new(code, text).with_data(json!({ "uri": uri }))
    }

    /// Headers and body do not say the same: -32020.
    #[must_use]
    pub fn header_mismatch(message: impl Into<String>) -> Self {
        Self::new(HEADER_MISMATCH, message)
    }

    /// The client did not declare `required`, an object of capabilities: -32021.
    #[must_use]
    pub fn missing_capability(required: Value) -> Self {
        let text = format!("this needs a client that declares {required} in its capabilities");
        Self::new(MISSING_CAPABILITY, text).with_data(json!({ "requiredCapabilities": required }))
    }

    /// A revision that we do not speak: -32022.
    #[must_use]
    pub fn unsupported_version(requested: &str) -> Self {
        let supported = Version::ALL.map(Version::as_str);
        let requested = echo(requested);
        let text = format!("protocol version {requested:?} is not spoken here; {} are", supported.join(", "));
        Self::new(UNSUPPORTED_VERSION, text)
            .with_data(json!({ "supported": supported, "requested": requested }))
    }

    /// Adds what a program can go by.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(Box::new(data));
        self
    }

    /// Answers with this HTTP status, whatever the code has in the table: 403, 406, 415.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The HTTP status for peers of an era; 200 for a code that is not in the table.
    #[must_use]
    pub fn http(&self, era: Era) -> u16 {
        let by_table = || {
            let row = WIRE_ROWS.iter().find(|row| row.code == self.code)?;
            Some(if era == Era::Modern { row.http_modern } else { row.http_legacy })
        };
        self.status.or_else(by_table).unwrap_or(200)
    }
}

/// The error object: `{code, message, data?}`.
impl Splice for WireError {
    fn splice(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"code\":");
        self.code.splice(out);
        out.extend_from_slice(b",\"message\":");
        self.message.splice(out);
        if let Some(data) = &self.data {
            out.extend_from_slice(b",\"data\":");
            data.splice(out);
        }
        out.push(b'}');
    }
}

/// The beginning of a text of the peer's own.
pub(crate) fn echo(text: &str) -> String {
    text.chars().take(ECHO_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::splice;

    #[test]
    fn every_error_and_its_statuses() {
        let errors = [
            WireError::parse("not valid JSON"),
            WireError::invalid_request("batches are gone"),
            WireError::method_not_found("tools/cook"),
            WireError::invalid_params("\"name\" is missing"),
            WireError::internal("something broke on our side"),
            WireError::resource_not_found("test://none", Era::Legacy),
            WireError::resource_not_found("test://none", Era::Modern),
            WireError::header_mismatch("mcp-name says one thing"),
            WireError::missing_capability(json!({ "elicitation": { "url": {} } })),
            WireError::unsupported_version("1900-01-01"),
            WireError::invalid_request("not acceptable").with_status(406),
            WireError::new(7, "an upstream's own"),
        ];
        let mut table = String::from("legacy modern\n");
        for error in errors {
            let text = String::from_utf8(splice::to_vec(&error)).unwrap();
            table += &format!("{} {} {text}\n", error.http(Era::Legacy), error.http(Era::Modern));
        }
        expect![[r#"
            legacy modern
            400 400 {"code":-32700,"message":"not valid JSON"}
            400 400 {"code":-32600,"message":"batches are gone"}
            200 404 {"code":-32601,"message":"there is no method \"tools/cook\" here"}
            200 400 {"code":-32602,"message":"\"name\" is missing"}
            200 200 {"code":-32603,"message":"something broke on our side"}
            200 400 {"code":-32002,"message":"there is no resource \"test://none\"; resources/list shows what there is","data":{"uri":"test://none"}}
            200 400 {"code":-32602,"message":"there is no resource \"test://none\"; resources/list shows what there is","data":{"uri":"test://none"}}
            400 400 {"code":-32020,"message":"mcp-name says one thing"}
            200 400 {"code":-32021,"message":"this needs a client that declares {\"elicitation\":{\"url\":{}}} in its capabilities","data":{"requiredCapabilities":{"elicitation":{"url":{}}}}}
            400 400 {"code":-32022,"message":"protocol version \"1900-01-01\" is not spoken here; 2026-07-28, 2025-11-25, 2025-06-18, 2025-03-26 are","data":{"supported":["2026-07-28","2025-11-25","2025-06-18","2025-03-26"],"requested":"1900-01-01"}}
            406 406 {"code":-32600,"message":"not acceptable"}
            200 200 {"code":7,"message":"an upstream's own"}
        "#]]
        .assert_eq(&table);
    }

    #[test]
    fn codes_stand_once_and_only_the_modern_ones_tell_the_era() {
        for row in WIRE_ROWS {
            assert_eq!(WIRE_ROWS.iter().filter(|other| other.code == row.code).count(), 1, "{}", row.name);
            assert_eq!(
                crate::code::is_modern(row.code),
                (-32099..=-32020).contains(&row.code),
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn what_the_peer_sent_is_repeated_in_part() {
        let error = WireError::method_not_found(&"é".repeat(10_000));
        assert!(error.message.chars().count() < 120);
    }
}

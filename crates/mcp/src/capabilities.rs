use serde_json::{Map, Value, json, value::RawValue};

use crate::{Object, WireError};

/// The extension of durable tasks (SEP-2663).
pub const TASKS: &str = "io.modelcontextprotocol/tasks";

/// What a client can do: with `initialize` for a session, with `_meta` for one request.
///
/// Read leniently: a capability is declared where its member is an object, and what we do not know is kept in
/// the raw text.
///
/// Source: the schema's `ClientCapabilities` of `2026-07-28` and `2025-11-25`.
#[derive(Clone, Debug)]
pub struct Capabilities {
    raw: Box<RawValue>,
    /// Can show a form (`elicitation` that names no mode, or names `form`).
    pub elicitation_form: bool,
    /// Can send its user to a URL (`elicitation.url`).
    pub elicitation_url: bool,
    /// Can ask a model (`sampling`).
    pub sampling: bool,
    /// Can let that model use tools (`sampling.tools`).
    pub sampling_tools: bool,
    /// Can list its roots (`roots`).
    pub roots: bool,
    /// Tells when they change (`roots.listChanged`), in the legacy era.
    pub roots_list_changed: bool,
}

/// Something that a request needs its client to be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// `elicitation/create` with a form.
    ElicitationForm,
    /// `elicitation/create` with a URL.
    ElicitationUrl,
    /// `sampling/createMessage`.
    Sampling,
    /// The same with tools.
    SamplingTools,
    /// `roots/list`.
    Roots,
    /// An extension.
    Extension(&'a str),
}

impl Capabilities {
    /// Reads them; `None` where they are no object.
    #[must_use]
    pub fn read(raw: &RawValue) -> Option<Self> {
        let object = Object::read(raw).ok()?;
        let inner = |name: &str| object.object(name).ok().flatten();
        let declares =
            |object: &Object<'_>, name: &str| object.object(name).is_ok_and(|inner| inner.is_some());
        let (elicitation, sampling, roots) = (inner("elicitation"), inner("sampling"), inner("roots"));
        let url = elicitation.as_ref().is_some_and(|modes| declares(modes, "url"));
        let form = elicitation.as_ref().is_some_and(|modes| declares(modes, "form") || !url);
        Some(Self {
            raw: raw.to_owned(),
            elicitation_form: form,
            elicitation_url: url,
            sampling: sampling.is_some(),
            sampling_tools: sampling.as_ref().is_some_and(|sampling| declares(sampling, "tools")),
            roots: roots.is_some(),
            roots_list_changed: roots.as_ref().is_some_and(|roots| roots.get("listChanged") == Some("true")),
        })
    }

    /// As they came.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// The settings of an extension, a JSON object, where it is declared.
    #[must_use]
    pub fn extension(&self, id: &str) -> Option<&RawValue> {
        let object = Object::read(&self.raw).ok()?;
        let settings = object.object("extensions").ok()??.object(id).ok()??;
        Some(settings.raw())
    }

    /// True where a need is met.
    #[must_use]
    pub fn meets(&self, need: Need<'_>) -> bool {
        match need {
            Need::ElicitationForm => self.elicitation_form,
            Need::ElicitationUrl => self.elicitation_url,
            Need::Sampling => self.sampling,
            Need::SamplingTools => self.sampling_tools,
            Need::Roots => self.roots,
            Need::Extension(id) => self.extension(id).is_some(),
        }
    }

    /// Checks that all needs are met.
    ///
    /// Error: missing capability, which names all that are not.
    pub fn check(&self, needs: &[Need<'_>]) -> Result<(), WireError> {
        let missing: Vec<Need<'_>> = needs.iter().copied().filter(|need| !self.meets(*need)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut required = json!({});
        missing.iter().for_each(|need| merge(&mut required, need.to_json()));
        Err(WireError::missing_capability(required))
    }
}

/// No capability at all.
impl Default for Capabilities {
    fn default() -> Self {
        Self::read(tool::json::empty_object()).expect("an empty object is an object")
    }
}

impl Need<'_> {
    /// What a client must be able to do to be sent this request, on the wire or as an input request; `None` where
    /// the method asks nothing of a client that we know.
    #[must_use]
    pub fn of(method: &str, params: &Object<'_>) -> Option<Need<'static>> {
        match method {
            "elicitation/create" => Some(match params.get("mode") {
                Some("\"url\"") => Need::ElicitationUrl,
                _ => Need::ElicitationForm,
            }),
            "sampling/createMessage" => Some(match params.is_on("tools") || params.is_on("toolChoice") {
                true => Need::SamplingTools,
                false => Need::Sampling,
            }),
            "roots/list" => Some(Need::Roots),
            _ => None,
        }
    }

    /// The capabilities that a client has to declare.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Need::ElicitationForm => json!({ "elicitation": { "form": {} } }),
            Need::ElicitationUrl => json!({ "elicitation": { "url": {} } }),
            Need::Sampling => json!({ "sampling": {} }),
            Need::SamplingTools => json!({ "sampling": { "tools": {} } }),
            Need::Roots => json!({ "roots": {} }),
            Need::Extension(id) => json!({ "extensions": { (*id): {} } }),
        }
    }
}

/// Puts one object of objects into another.
fn merge(into: &mut Value, from: Value) {
    let (Value::Object(into), Value::Object(from)) = (into, from) else { return };
    for (name, value) in from {
        merge(into.entry(name).or_insert_with(|| Value::Object(Map::new())), value);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn read(text: &str) -> Option<Capabilities> {
        Capabilities::read(serde_json::from_str(text).unwrap())
    }

    const NEEDS: [Need<'static>; 6] = [
        Need::ElicitationForm,
        Need::ElicitationUrl,
        Need::Sampling,
        Need::SamplingTools,
        Need::Roots,
        Need::Extension(TASKS),
    ];

    #[test]
    fn what_is_declared() {
        let check = |text: &str, expected: Expect| {
            let capabilities = read(text).unwrap();
            let met: Vec<Need<'_>> = NEEDS.into_iter().filter(|need| capabilities.meets(*need)).collect();
            expected.assert_eq(&format!("{met:?}"));
            assert_eq!(capabilities.raw().get(), text);
        };
        check("{}", expect!["[]"]);
        check(r#"{"elicitation":{}}"#, expect!["[ElicitationForm]"]);
        check(r#"{"elicitation":{"form":{}}}"#, expect!["[ElicitationForm]"]);
        check(r#"{"elicitation":{"url":{}}}"#, expect!["[ElicitationUrl]"]);
        check(r#"{"elicitation":{"form":{},"url":{}}}"#, expect!["[ElicitationForm, ElicitationUrl]"]);
        check(r#"{"elicitation":{"later":{}}}"#, expect!["[ElicitationForm]"]);
        check(r#"{"elicitation":true,"sampling":null,"roots":[]}"#, expect!["[]"]);
        check(r#"{"sampling":{},"roots":{"listChanged":true}}"#, expect!["[Sampling, Roots]"]);
        check(r#"{"sampling":{"tools":{},"context":{}}}"#, expect!["[Sampling, SamplingTools]"]);
        check(
            r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#,
            expect![[r#"[Extension("io.modelcontextprotocol/tasks")]"#]],
        );
        check(r#"{"extensions":{"io.modelcontextprotocol/tasks":true},"tasks":{}}"#, expect!["[]"]);
        assert!(read("[]").is_none());
        assert!(read(r#"{"roots":{"listChanged":true}}"#).unwrap().roots_list_changed);
        assert!(!Capabilities::default().roots);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = read(r#"{"sampling":{}}"#).unwrap().check(&NEEDS).unwrap_err();
        expect![[r#"{"requiredCapabilities":{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#]]
            .assert_eq(&error.data.unwrap().to_string());
        assert_eq!(read(r#"{"sampling":{}}"#).unwrap().check(&[Need::Sampling]), Ok(()));
    }

    #[test]
    fn what_requests_to_a_client_need() {
        for (method, params, need) in [
            ("elicitation/create", "{}", Some(Need::ElicitationForm)),
            ("elicitation/create", r#"{"mode":"form"}"#, Some(Need::ElicitationForm)),
            ("elicitation/create", r#"{"mode":"url"}"#, Some(Need::ElicitationUrl)),
            ("sampling/createMessage", "{}", Some(Need::Sampling)),
            ("sampling/createMessage", r#"{"tools":[]}"#, Some(Need::SamplingTools)),
            ("roots/list", "{}", Some(Need::Roots)),
            ("ping", "{}", None),
        ] {
            let params = Object::read(serde_json::from_str(params).unwrap()).unwrap();
            assert_eq!(Need::of(method, &params), need, "{method}");
        }
    }
}

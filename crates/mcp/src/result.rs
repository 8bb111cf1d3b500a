//! Results: what kind they are, and what we add to them or take out without writing the rest anew.
//!
//! Source: basic, "ResultType" and "Per-response protocol fields"; server/utilities/caching.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    Edit, Id, Object, Splice,
    meta::{META, SERVER_INFO, SUBSCRIPTION_ID},
    splice::push_plain,
};

/// The member that says what kind a result is, in the modern era.
pub const RESULT_TYPE: &str = "resultType";

/// What kind a result is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Final; also where nothing is said, as peers of the legacy era do.
    Complete,
    /// The client is asked for more and then asks again (basic/patterns/mrtr).
    InputRequired,
    /// A handle of work that goes on (SEP-2663).
    Task,
    /// None that we know: invalid for who has to understand it.
    Other(Cow<'a, str>),
}

/// What kind a result is. A `resultType` that is no string is none that we know.
#[must_use]
pub fn kind<'a>(result: &Object<'a>) -> Kind<'a> {
    match result.text(RESULT_TYPE) {
        Ok(None) => Kind::Complete,
        Ok(Some(word)) => match &*word {
            "complete" => Kind::Complete,
            "input_required" => Kind::InputRequired,
            "task" => Kind::Task,
            _ => Kind::Other(word),
        },
        Err(_) => Kind::Other(Cow::Borrowed(result.get(RESULT_TYPE).unwrap_or_default())),
    }
}

/// Who may be served a result from a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Anybody.
    Public,
    /// Who had it before, with the same authorization. For every list that depends on rights.
    Private,
}

/// For how long and for whom a result may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheHint {
    /// How long it counts as fresh, in milliseconds.
    pub ttl_ms: u64,
    /// For whom.
    pub scope: Scope,
}

/// What a result goes out with to a modern peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dress<'a> {
    /// What we call ourselves: a JSON object.
    pub server: Option<&'a RawValue>,
    /// Where the method asks for it and the result is complete.
    pub cache: Option<CacheHint>,
    /// The `subscriptions/listen` that the result ends.
    pub subscription: Option<&'a Id>,
}

/// A result for a modern peer: it says what kind it is, who made it, and for how long it may be kept.
///
/// What an upstream said itself stays: a `resultType`, a `serverInfo`, hints of its own. A result that is not
/// complete gets no hints (server/utilities/caching, "Cacheable Results").
#[must_use]
pub fn for_modern<'a>(result: &'a Object<'a>, dress: Dress<'_>) -> Edit<'a> {
    let mut edit = Edit::of(result).set_missing(RESULT_TYPE, &"complete");
    if let Some(hint) = dress.cache.filter(|_| kind(result) == Kind::Complete) {
        edit = edit.set_missing("ttlMs", &hint.ttl_ms).set_missing("cacheScope", &hint.scope.as_str());
    }
    if dress.server.is_none() && dress.subscription.is_none() {
        return edit;
    }
    if !edit.has(META) {
        return edit.set(META, &Signature(dress));
    }
    edit.within(META, |meta| {
        let meta = match dress.server {
            Some(server) => meta.set_missing(SERVER_INFO, &server),
            None => meta,
        };
        match dress.subscription {
            Some(id) => meta.set(SUBSCRIPTION_ID, id),
            None => meta,
        }
    })
}

/// A `_meta` with nothing of anybody else's.
struct Signature<'a>(Dress<'a>);

impl Splice for Signature<'_> {
    fn splice(&self, out: &mut Vec<u8>) {
        let mut separator = b'{';
        if let Some(server) = self.0.server {
            push_plain(out, &mut separator, SERVER_INFO, &server);
        }
        if let Some(id) = self.0.subscription {
            push_plain(out, &mut separator, SUBSCRIPTION_ID, id);
        }
        out.extend_from_slice(if separator == b'{' { b"{}" } else { b"}" });
    }
}

/// A result for a peer of the legacy era: without its kind. Hints and `_meta` stay, which that era lets be.
#[must_use]
pub fn for_legacy<'a>(result: &'a Object<'a>) -> Edit<'a> {
    let edit = Edit::of(result);
    if edit.has(RESULT_TYPE) { edit.remove(RESULT_TYPE) } else { edit }
}

/// The same with these hints, whatever an upstream said: a list that was public and then filtered by rights is
/// private.
#[must_use]
pub fn with_cache<'a>(edit: Edit<'a>, hint: CacheHint) -> Edit<'a> {
    edit.set("ttlMs", &hint.ttl_ms).set("cacheScope", &hint.scope.as_str())
}

/// The params of a notification on a `subscriptions/listen` stream: marked with the stream's id.
#[must_use]
pub fn on_subscription<'a>(params: &'a Object<'a>, id: &Id) -> Edit<'a> {
    Edit::of(params).within(META, |meta| meta.set(SUBSCRIPTION_ID, id))
}

impl Scope {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn object(text: &str) -> Object<'_> {
        Object::read(serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn kinds() {
        for (text, expected) in [
            ("{}", Kind::Complete),
            (r#"{"resultType":"complete"}"#, Kind::Complete),
            (r#"{"resultType":"input_required"}"#, Kind::InputRequired),
            (r#"{"resultType":"task"}"#, Kind::Task),
            (r#"{"resultType":"Complete"}"#, Kind::Other("Complete".into())),
            (r#"{"resultType":null}"#, Kind::Other("null".into())),
            (r#"{"result\u0054ype":"t\u0061sk"}"#, Kind::Task),
        ] {
            assert_eq!(kind(&object(text)), expected, "{text}");
        }
    }

    #[test]
    fn results_for_modern_peers() {
        let server: &RawValue = serde_json::from_str(r#"{"name":"p","version":"1"}"#).unwrap();
        let cache = Some(CacheHint { ttl_ms: 300_000, scope: Scope::Private });
        let id = Id::integer(7);
        let check = |text: &str, dress: Dress<'_>, expected: Expect| {
            expected.assert_eq(for_modern(&object(text), dress).to_raw().get());
        };
        let all = Dress { server: Some(server), cache, subscription: Some(&id) };
        check("{}", Dress::default(), expect![[r#"{"resultType":"complete"}"#]]);
        check(
            r#"{"tools":[ ],"big":12345678901234567890123}"#,
            all,
            expect![[
                r#"{"tools":[ ],"big":12345678901234567890123,"resultType":"complete","ttlMs":300000,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"p","version":"1"},"io.modelcontextprotocol/subscriptionId":7}}"#
            ]],
        );
        check(
            r#"{"resultType":"input_required","requestState":"s","_meta":{"x":{"y": 1 }}}"#,
            Dress { server: Some(server), cache, subscription: None },
            expect![[
                r#"{"resultType":"input_required","requestState":"s","_meta":{"x":{"y": 1 },"io.modelcontextprotocol/serverInfo":{"name":"p","version":"1"}}}"#
            ]],
        );
        check(
            r#"{"ttlMs":5,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"theirs"}}}"#,
            Dress { server: Some(server), cache, subscription: None },
            expect![[
                r#"{"ttlMs":5,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"theirs"}},"resultType":"complete","cacheScope":"private"}"#
            ]],
        );
    }

    #[test]
    fn results_for_legacy_peers() {
        let check =
            |text: &str, expected: Expect| expected.assert_eq(for_legacy(&object(text)).to_raw().get());
        check(r#"{ "content" : [] }"#, expect![[r#"{ "content" : [] }"#]]);
        check(r#"{"resultType":"complete","content" : [1.0]}"#, expect![[r#"{"content" : [1.0]}"#]]);
        check(r#"{"resultType":"complete"}"#, expect!["{}"]);
    }

    #[test]
    fn notifications_of_a_subscription() {
        let id = Id::text("listen-1").unwrap();
        let params = object(r#"{"uri":"test://x"}"#);
        expect![[r#"{"uri":"test://x","_meta":{"io.modelcontextprotocol/subscriptionId":"listen-1"}}"#]]
            .assert_eq(on_subscription(&params, &id).to_raw().get());
    }

    proptest! {
        #[test]
        fn dressing_and_undressing_leaves_the_rest(names in prop::collection::btree_map("[a-z]{1,4}", "\\PC{0,6}", 0..6)) {
            let text = json!(names).to_string();
            let dressed = for_modern(&object(&text), Dress::default()).to_raw();
            let back = for_legacy(&object(dressed.get())).to_raw();
            let (back, before): (Value, Value) = (serde_json::from_str(back.get()).unwrap(), json!(names));
            prop_assert_eq!(back, before);
        }
    }
}

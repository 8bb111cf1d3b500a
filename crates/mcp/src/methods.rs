//! Every method of the protocol, once: who sends it, in which era, and what the wire has to know of it.

use crate::Era;

/// Who sends a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The client.
    Client,
    /// The server.
    Server,
    /// Either.
    Both,
}

/// One method.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Who sends it.
    pub from: From,
    /// True where `2025-11-25` and older have it.
    pub legacy: bool,
    /// True where `2026-07-28` has it. What its server asks of its client travels in results, not as requests:
    /// such methods are marked as well.
    pub modern: bool,
    /// The member of the params that `Mcp-Name` repeats.
    pub named_by: Option<&'static str>,
    /// True where a complete result carries `ttlMs` and `cacheScope` (server/utilities/caching, "Cacheable
    /// Results").
    pub is_cacheable: bool,
    /// True where the result may be `input_required` (basic/patterns/mrtr, "Supported Requests").
    pub may_ask: bool,
    /// True where the params may have a `cursor` (server/utilities/pagination, "Operations Supporting
    /// Pagination").
    pub is_paged: bool,
}

impl Method {
    /// True where an era has it.
    #[must_use]
    pub const fn is_in(&self, era: Era) -> bool {
        match era {
            Era::Legacy => self.legacy,
            Era::Modern => self.modern,
        }
    }
}

/// The method of this name, whoever sends it.
#[must_use]
pub fn find(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

const BASE: Method = Method {
    name: "",
    from: From::Client,
    legacy: true,
    modern: true,
    named_by: None,
    is_cacheable: false,
    may_ask: false,
    is_paged: false,
};

const LIST: Method = Method { is_cacheable: true, is_paged: true, ..BASE };
const LEGACY: Method = Method { modern: false, ..BASE };
const MODERN: Method = Method { legacy: false, ..BASE };
const SERVER: Method = Method { from: From::Server, ..BASE };
const TASK: Method = Method { named_by: Some("taskId"), ..MODERN };

/// All of them. The tasks of `2025-11-25` were an experiment of another shape and are not among them; those
/// here are of the extension `io.modelcontextprotocol/tasks` (SEP-2663).
pub const METHODS: &[Method] = &[
    Method { name: "initialize", ..LEGACY },
    Method { name: "ping", from: From::Both, ..LEGACY },
    Method { name: "server/discover", is_cacheable: true, ..MODERN },
    Method { name: "subscriptions/listen", ..MODERN },
    Method { name: "tools/list", ..LIST },
    Method { name: "tools/call", named_by: Some("name"), may_ask: true, ..BASE },
    Method { name: "prompts/list", ..LIST },
    Method { name: "prompts/get", named_by: Some("name"), may_ask: true, ..BASE },
    Method { name: "resources/list", ..LIST },
    Method { name: "resources/templates/list", ..LIST },
    Method { name: "resources/read", named_by: Some("uri"), is_cacheable: true, may_ask: true, ..BASE },
    Method { name: "resources/subscribe", ..LEGACY },
    Method { name: "resources/unsubscribe", ..LEGACY },
    Method { name: "completion/complete", ..BASE },
    Method { name: "logging/setLevel", ..LEGACY },
    Method { name: "tasks/get", ..TASK },
    Method { name: "tasks/update", ..TASK },
    Method { name: "tasks/cancel", ..TASK },
    Method { name: "roots/list", ..SERVER },
    Method { name: "sampling/createMessage", ..SERVER },
    Method { name: "elicitation/create", ..SERVER },
    Method { name: "notifications/initialized", ..LEGACY },
    Method { name: "notifications/cancelled", from: From::Both, ..BASE },
    Method { name: "notifications/progress", from: From::Both, ..BASE },
    Method { name: "notifications/roots/list_changed", ..LEGACY },
    Method { name: "notifications/message", ..SERVER },
    Method { name: "notifications/tools/list_changed", ..SERVER },
    Method { name: "notifications/prompts/list_changed", ..SERVER },
    Method { name: "notifications/resources/list_changed", ..SERVER },
    Method { name: "notifications/resources/updated", ..SERVER },
    Method { name: "notifications/elicitation/complete", modern: false, ..SERVER },
    Method { name: "notifications/subscriptions/acknowledged", legacy: false, ..SERVER },
    Method { name: "notifications/tasks", legacy: false, ..SERVER },
];

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_table() {
        let mut table = String::from("from   legacy modern cache ask page method (name)\n");
        for method in METHODS {
            let mark = |is: bool| if is { 'x' } else { '-' };
            assert_eq!(
                METHODS.iter().filter(|other| other.name == method.name).count(),
                1,
                "{}",
                method.name
            );
            table += &format!(
                "{:<6} {:<6} {:<6} {:<5} {:<3} {:<4} {} {}\n",
                format!("{:?}", method.from),
                mark(method.legacy),
                mark(method.modern),
                mark(method.is_cacheable),
                mark(method.may_ask),
                mark(method.is_paged),
                method.name,
                method.named_by.unwrap_or("-"),
            );
        }
        expect![[r#"
            from   legacy modern cache ask page method (name)
            Client x      -      -     -   -    initialize -
            Both   x      -      -     -   -    ping -
            Client -      x      x     -   -    server/discover -
            Client -      x      -     -   -    subscriptions/listen -
            Client x      x      x     -   x    tools/list -
            Client x      x      -     x   -    tools/call name
            Client x      x      x     -   x    prompts/list -
            Client x      x      -     x   -    prompts/get name
            Client x      x      x     -   x    resources/list -
            Client x      x      x     -   x    resources/templates/list -
            Client x      x      x     x   -    resources/read uri
            Client x      -      -     -   -    resources/subscribe -
            Client x      -      -     -   -    resources/unsubscribe -
            Client x      x      -     -   -    completion/complete -
            Client x      -      -     -   -    logging/setLevel -
            Client -      x      -     -   -    tasks/get taskId
            Client -      x      -     -   -    tasks/update taskId
            Client -      x      -     -   -    tasks/cancel taskId
            Server x      x      -     -   -    roots/list -
            Server x      x      -     -   -    sampling/createMessage -
            Server x      x      -     -   -    elicitation/create -
            Client x      -      -     -   -    notifications/initialized -
            Both   x      x      -     -   -    notifications/cancelled -
            Both   x      x      -     -   -    notifications/progress -
            Client x      -      -     -   -    notifications/roots/list_changed -
            Server x      x      -     -   -    notifications/message -
            Server x      x      -     -   -    notifications/tools/list_changed -
            Server x      x      -     -   -    notifications/prompts/list_changed -
            Server x      x      -     -   -    notifications/resources/list_changed -
            Server x      x      -     -   -    notifications/resources/updated -
            Server x      -      -     -   -    notifications/elicitation/complete -
            Server -      x      -     -   -    notifications/subscriptions/acknowledged -
            Server -      x      -     -   -    notifications/tasks -
        "#]]
        .assert_eq(&table);
        assert!(find("tools/list").unwrap().is_in(Era::Modern) && !find("ping").unwrap().is_in(Era::Modern));
        assert!(find("Tools/List").is_none());
    }
}

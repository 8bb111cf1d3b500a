//! Which tools of a server are offered, and which of them only look.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use tool::Effect;

use crate::config::UpstreamConfig;

/// What the operator says of a server's tools, by their names there.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    allow: GlobSet,
    deny: GlobSet,
    reads: GlobSet,
}

impl Filter {
    /// Compiles the globs; one that does not compile was said before and is left out.
    pub(crate) fn new(config: &UpstreamConfig) -> Self {
        Self { allow: set(&config.allow), deny: set(&config.deny), reads: set(&config.reads) }
    }

    /// Whether a tool is offered.
    pub(crate) fn admits(&self, name: &str) -> bool {
        self.allow.is_match(name) && !self.deny.is_match(name)
    }

    /// What a tool does to the world. Only the operator can say that it does nothing; that it destroys is believed of
    /// the server.
    pub(crate) fn effect(&self, name: &str, says_it_destroys: bool) -> Effect {
        if self.reads.is_match(name) {
            Effect::Reads
        } else if says_it_destroys {
            Effect::Destroys
        } else {
            Effect::Changes
        }
    }
}

/// One glob over a name: `*` stands for anything, a dot or a slash too.
pub(crate) fn glob(text: &str) -> Result<Glob, String> {
    let built = GlobBuilder::new(text).literal_separator(false).build();
    built.map_err(|e| e.kind().to_string())
}

fn set(globs: &[String]) -> GlobSet {
    let mut builder = GlobSetBuilder::new();
    for glob in globs.iter().filter_map(|text| glob(text).ok()) {
        builder.add(glob);
    }
    builder.build().unwrap_or_else(|_| GlobSet::empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_operator_decides() {
        let config =
            json!({ "command": ["x"], "allow": ["get*", "fs/*"], "deny": ["*secret*"], "reads": ["get_*"] });
        let filter = Filter::new(&serde_json::from_value(config).unwrap());
        for (name, admitted) in
            [("get_a", true), ("fs/a/b", true), ("get_secret", false), ("set_a", false), ("", false)]
        {
            assert_eq!(filter.admits(name), admitted, "{name}");
        }
        assert_eq!(filter.effect("get_a", true), Effect::Reads);
        assert_eq!(filter.effect("set_a", false), Effect::Changes);
        assert_eq!(filter.effect("set_a", true), Effect::Destroys);
    }
}

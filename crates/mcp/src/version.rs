use std::fmt;

/// A revision of the protocol that we speak, oldest first.
///
/// `2024-11-05` had another transport (HTTP+SSE, deprecated) and is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `2025-03-26`, the first with streamable HTTP.
    V2025_03_26,
    /// `2025-06-18`.
    V2025_06_18,
    /// `2025-11-25`, the last with sessions.
    V2025_11_25,
    /// `2026-07-28`, the first in which every request speaks for itself.
    V2026_07_28,
}

/// How a peer opens: with a handshake and a session, or with each request by itself.
///
/// Source: 2026-07-28 basic/versioning, "Terminology".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// `2025-11-25` and older: `initialize`, then a session.
    Legacy,
    /// `2026-07-28`: version and capabilities come with every request.
    Modern,
}

/// What a revision may or may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// `structuredContent` and `outputSchema`.
    StructuredContent,
    /// `elicitation/create` with a form.
    Elicitation,
    /// `resource_link` in what a tool returns.
    ResourceLinks,
    /// `title` beside `name`.
    Titles,
    /// `context` in `completion/complete`.
    CompletionContext,
    /// `elicitation/create` with a URL.
    UrlElicitation,
    /// `icons` of tools, prompts, resources and implementations.
    Icons,
    /// `tools` and `toolChoice` in `sampling/createMessage`.
    SamplingTools,
    /// `resultType` in every result.
    ResultType,
    /// `input_required` results instead of requests from the server.
    InputRequired,
    /// `subscriptions/listen`.
    Listen,
    /// `ttlMs` and `cacheScope`.
    CacheHints,
    /// `Mcp-Method`, `Mcp-Name` and `Mcp-Param-*`.
    MirroredHeaders,
    /// `structuredContent` that is not an object.
    AnyStructuredContent,
    /// Sessions, and requests from the server to the client.
    Sessions,
    /// Streams that can be taken up again after an event id.
    ResumableStreams,
    /// Several messages in one array. Nobody's: we speak the one revision that had it without it.
    Batches,
}

impl Version {
    /// All of them, newest first, as they are offered.
    pub const ALL: [Self; 4] = [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26];

    /// The newest.
    pub const LATEST: Self = Self::V2026_07_28;

    /// The newest that opens with `initialize`.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;

    /// What is assumed over HTTP where nothing says otherwise (2025-11-25 basic/transports, "Protocol Version
    /// Header").
    pub const UNSAID: Self = Self::V2025_03_26;

    /// Reads `2026-07-28` and its like.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// How peers of this revision open.
    #[must_use]
    pub const fn era(self) -> Era {
        if self.is_modern() { Era::Modern } else { Era::Legacy }
    }

    /// True where every request speaks for itself.
    #[must_use]
    pub const fn is_modern(self) -> bool {
        matches!(self, Self::V2026_07_28)
    }

    /// What `initialize` is answered with: the revision asked for where we speak it and it opens so, and our
    /// newest such for everything else (2025-11-25 basic/lifecycle, "Version Negotiation").
    #[must_use]
    pub fn negotiate(asked: &str) -> Self {
        Self::parse(asked).filter(|version| !version.is_modern()).unwrap_or(Self::LATEST_LEGACY)
    }

    /// True where this revision has it.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        use Feature as F;
        match feature {
            F::StructuredContent | F::Elicitation | F::ResourceLinks | F::Titles | F::CompletionContext => {
                self >= Self::V2025_06_18
            }
            F::UrlElicitation | F::Icons | F::SamplingTools => self >= Self::V2025_11_25,
            F::ResultType
            | F::InputRequired
            | F::Listen
            | F::CacheHints
            | F::MirroredHeaders
            | F::AnyStructuredContent => self.is_modern(),
            F::Sessions | F::ResumableStreams => !self.is_modern(),
            F::Batches => false,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn names_and_eras() {
        for version in Version::ALL {
            assert_eq!(Version::parse(version.as_str()), Some(version));
            assert_eq!(version.is_modern(), version.era() == Era::Modern);
        }
        for unknown in ["2024-11-05", "2026-07-29", "", "DRAFT-2026-v1", " 2026-07-28"] {
            assert_eq!(Version::parse(unknown), None, "{unknown}");
        }
        assert!(Version::ALL.is_sorted_by(|newer, older| newer > older));
    }

    #[test]
    fn negotiation() {
        for (asked, answered) in [
            ("2025-03-26", "2025-03-26"),
            ("2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25"),
            ("2026-07-28", "2025-11-25"),
            ("2024-11-05", "2025-11-25"),
            ("2099-01-01", "2025-11-25"),
            ("", "2025-11-25"),
        ] {
            assert_eq!(Version::negotiate(asked).as_str(), answered, "{asked}");
        }
    }

    #[test]
    fn what_each_has() {
        use Feature as F;
        let mut table = String::new();
        for feature in [
            F::StructuredContent,
            F::Elicitation,
            F::ResourceLinks,
            F::Titles,
            F::CompletionContext,
            F::UrlElicitation,
            F::Icons,
            F::SamplingTools,
            F::ResultType,
            F::InputRequired,
            F::Listen,
            F::CacheHints,
            F::MirroredHeaders,
            F::AnyStructuredContent,
            F::Sessions,
            F::ResumableStreams,
            F::Batches,
        ] {
            let marks = Version::ALL.iter().rev().map(|version| if version.has(feature) { 'x' } else { '-' });
            table += &format!("{} {feature:?}\n", marks.collect::<String>());
        }
        expect![[r#"
            -xxx StructuredContent
            -xxx Elicitation
            -xxx ResourceLinks
            -xxx Titles
            -xxx CompletionContext
            --xx UrlElicitation
            --xx Icons
            --xx SamplingTools
            ---x ResultType
            ---x InputRequired
            ---x Listen
            ---x CacheHints
            ---x MirroredHeaders
            ---x AnyStructuredContent
            xxx- Sessions
            xxx- ResumableStreams
            ---- Batches
        "#]]
        .assert_eq(&table);
    }
}

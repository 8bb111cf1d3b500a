//! The lists of a server, page by page, each item as it came.

use std::borrow::Cow;

use mcp::{Object, code};
use serde_json::value::RawValue;

use crate::{
    error::UpstreamError,
    news::Changes,
    peer::Peer,
    request::{Params, Request},
};

/// How much of a list is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) items_max: usize,
    pub(crate) pages_max: usize,
}

/// The items of all lists, as they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    pub(crate) tools: Vec<Box<RawValue>>,
    pub(crate) prompts: Vec<Box<RawValue>>,
    pub(crate) resources: Vec<Box<RawValue>>,
    pub(crate) templates: Vec<Box<RawValue>>,
}

impl Listed {
    /// Fetches these lists anew; one that cannot be fetched stays as it was.
    ///
    /// Returns the error of the first that could not, beside the lists.
    pub(crate) async fn fetch(
        &mut self,
        changes: Changes,
        peer: &Peer,
        bounds: Bounds,
    ) -> Option<UpstreamError> {
        let mut failed = None;
        let offers = &peer.offers;
        let lists = [
            (Changes::TOOLS, offers.tools, "tools/list", "tools", &mut self.tools),
            (Changes::PROMPTS, offers.prompts, "prompts/list", "prompts", &mut self.prompts),
            (Changes::RESOURCES, offers.resources, "resources/list", "resources", &mut self.resources),
            (
                Changes::RESOURCES,
                offers.resources,
                "resources/templates/list",
                "resourceTemplates",
                &mut self.templates,
            ),
        ];
        for (change, is_offered, method, member, list) in lists {
            if !changes.has(change) {
                continue;
            }
            match if is_offered { all(peer, method, member, bounds).await } else { Ok(Vec::new()) } {
                Ok(items) => *list = items,
                Err(error) => {
                    tracing::warn!(server = peer.hub.name(), method, %error, "a list cannot be fetched");
                    failed.get_or_insert(error);
                }
            }
        }
        failed
    }
}

async fn all(
    peer: &Peer,
    method: &'static str,
    member: &str,
    bounds: Bounds,
) -> Result<Vec<Box<RawValue>>, UpstreamError> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..bounds.pages_max {
        let params = cursor.iter().fold(Params::default(), |params, at| params.with_text("cursor", at));
        let page = match peer.result(&Request::ours(method, params)).await {
            // It says that it has such things, and has no list of them.
            Err(UpstreamError::Answered(error)) if is_no_method(&error) => return Ok(items),
            page => page?,
        };
        let page = Object::read(&page).map_err(|e| UpstreamError::protocol(e.to_string()))?;
        let listed: Vec<&RawValue> =
            page.get(member).and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| {
                UpstreamError::protocol(format!("the answer to {method} has no list {member:?}"))
            })?;
        let room = bounds.items_max - items.len();
        if listed.len() > room {
            tracing::warn!(
                server = peer.hub.name(),
                method,
                taken = bounds.items_max,
                "a list is too long; the rest of it is left out"
            );
        }
        items.extend(listed.into_iter().take(room).map(RawValue::to_owned));
        let next = page.text("nextCursor").ok().flatten().map(Cow::into_owned);
        match next.filter(|next| items.len() < bounds.items_max && cursor.as_ref() != Some(next)) {
            None => return Ok(items),
            next => cursor = next,
        }
    }
    tracing::warn!(
        server = peer.hub.name(),
        method,
        pages = bounds.pages_max,
        "a list has too many pages; the rest of it is left out"
    );
    Ok(items)
}

fn is_no_method(error: &RawValue) -> bool {
    let failure = mcp::Failure { id: None, error };
    failure.read().is_ok_and(|read| read.code == code::METHOD_NOT_FOUND)
}

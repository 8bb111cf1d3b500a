//! Tools that tell whoever listens of a change; the lists stay as they are.

use tool::{Fault, Notice, Reply};

use super::{Asked, Row, WATCHED, at_once, nothing, said};

/// Their table.
pub(super) const TOOLS: &[Row] = &[
    Row {
        name: "test_trigger_tool_change",
        about: "Says that the list of tools has changed",
        input: nothing,
        run: |asked| at_once(tells(&asked, Notice::Tools)),
    },
    Row {
        name: "test_trigger_prompt_change",
        about: "Says that the list of prompts has changed",
        input: nothing,
        run: |asked| at_once(tells(&asked, Notice::Prompts)),
    },
    Row {
        name: "test_trigger_resource_update",
        about: "Says that the watched resource has changed",
        input: nothing,
        run: |asked| at_once(tells(&asked, Notice::Resource(WATCHED.into()))),
    },
];

fn tells(asked: &Asked, notice: Notice) -> Result<Reply, Fault> {
    (asked.tell)(notice);
    said("Told everyone who listens")
}

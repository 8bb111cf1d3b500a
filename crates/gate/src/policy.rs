//! Who may call what. Roles hold rules; a rule that denies always wins, nothing is allowed by default, and a
//! condition that cannot be evaluated denies.
//!
//! Rules are compiled once into an index from tool to rules, so that a decision looks only at the rules that
//! can matter: deciding costs microseconds with a thousand rules.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use foldhash::HashMap;
use globset::{GlobBuilder, GlobMatcher};
use tool::{Audience, Caller, ConfigFault, Effect, Identity, Purpose, Tool};

use crate::{
    condition::{Condition, Scene},
    config::{RoleConfig, RuleConfig, RuleParts, pointer, unknown},
    snapshot::Catalogue,
};

/// The role of whoever sits at the machine and owns the data folder: everything, administration too. A role of
/// this name in the configuration takes its place.
pub(crate) const LOCAL_ROLE: &str = "local";

/// The compiled rules of a snapshot.
pub(crate) struct Policy {
    rules: Vec<Rule>,
    /// For each tool, in the catalogue's order: the rules that select it, by role.
    by_tool: HashMap<Arc<str>, Vec<(Arc<str>, RuleIndex)>>,
    /// The lists that were made for a set of roles.
    lists: Mutex<HashMap<RoleSet, Arc<[Arc<Tool>]>>>,
}

type RuleIndex = usize;

/// Roles, sorted.
type RoleSet = Vec<Arc<str>>;

/// One compiled rule.
struct Rule {
    sense: Sense,
    targets: Option<Vec<GlobMatcher>>,
    when: Option<Condition>,
    /// What it says, for the hash and for the log.
    text: String,
    /// The hash where it decides alone, as it mostly does.
    hash: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    Allows,
    Denies,
}

/// Which tools a rule is about.
pub(crate) enum Selector {
    Name(String),
    Glob(GlobMatcher),
    Effect(Effect),
    Label(String),
    Source(GlobMatcher),
    Admin,
}

/// What the rules say about a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go ahead. The hash of the rules that decided; approvals bind to it.
    Allowed {
        /// The hash.
        rules_hash: String,
    },
    /// Stop. Why, for the log; the caller learns only that it is so.
    Denied {
        /// Which rule, or that none allows it.
        because: String,
    },
}

/// Finds what is wrong with the rules.
pub(crate) fn check(roles: &BTreeMap<String, RoleConfig>) -> Vec<ConfigFault> {
    let mut faults = Vec::new();
    for_each_rule(roles, |role, sense, i, rule| {
        let at = pointer(&["roles", role, sense.list(), &i.to_string()]);
        if let Err(fault) = compile(sense, rule, &at, role) {
            faults.push(*fault);
        }
    });
    faults
}

/// Finds rules that name a tool that is not there, or by an alias: such a rule would select nothing, and one that
/// denies would deny nothing. A tool that may yet come is let be: rules are compiled anew where it does.
pub(crate) fn check_names(roles: &BTreeMap<String, RoleConfig>, catalogue: &Catalogue) -> Vec<ConfigFault> {
    let mut faults = Vec::new();
    for_each_rule(roles, |role, sense, i, rule| {
        let selectors = match rule {
            RuleConfig::Selector(one) => std::slice::from_ref(one),
            RuleConfig::Full(parts) => parts.tools.as_slice(),
        };
        for text in selectors {
            let at = || pointer(&["roles", role, sense.list(), &i.to_string()]);
            faults.extend(known_name(text, catalogue, at).err());
        }
    });
    faults
}

/// Refuses a selector that names a tool that is not there, or by an alias.
pub(crate) fn known_name(
    text: &str,
    catalogue: &Catalogue,
    at: impl FnOnce() -> String,
) -> Result<(), ConfigFault> {
    let Ok(Selector::Name(name)) = Selector::parse(text) else { return Ok(()) };
    let tools = catalogue.tools();
    if tools.iter().any(|tool| tool.name.as_str() == name) || catalogue.may_come(&name) {
        return Ok(());
    }
    let aliased = tools.iter().find(|tool| tool.aliases.iter().any(|alias| **alias == *name));
    Err(match aliased {
        Some(tool) => ConfigFault::new(at(), format!("there is no tool {name:?}"))
            .hint(format!("it is another name of {:?}; rules go by that", tool.name.as_str())),
        None => unknown(at(), "tool", &name, tools.iter().map(|tool| tool.name.as_str())),
    })
}

impl Sense {
    /// The name of the list that rules of this sense stand in.
    fn list(self) -> &'static str {
        match self {
            Self::Allows => "allow",
            Self::Denies => "deny",
        }
    }
}

impl Policy {
    /// Compiles the rules against these tools. Rules that do not compile are refused.
    pub(crate) fn new(
        roles: &BTreeMap<String, RoleConfig>,
        tools: &[Arc<Tool>],
    ) -> Result<Self, Vec<ConfigFault>> {
        let faults = check(roles);
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut policy = Self { rules: Vec::new(), by_tool: HashMap::default(), lists: Mutex::default() };
        for_each_rule(roles, |role, sense, i, rule| {
            let at = format!("{role}/{i}");
            if let Ok((compiled, selectors)) = compile(sense, rule, &at, role) {
                policy.add(compiled, &selectors, role, tools);
            }
        });
        if !roles.contains_key(LOCAL_ROLE) {
            let all = Rule::new(Sense::Allows, None, None, "local: everything".to_owned());
            let selectors = [
                Selector::Effect(Effect::Reads),
                Selector::Effect(Effect::Changes),
                Selector::Effect(Effect::Destroys),
                Selector::Admin,
            ];
            policy.add(all, &selectors, LOCAL_ROLE, tools);
        }
        Ok(policy)
    }

    /// True where some arguments might be allowed: what a caller may not call at all does not exist for it.
    pub(crate) fn may_see(&self, caller: &Identity, tool: &Tool) -> bool {
        let rules = self.rules_for(caller, tool);
        let barred = rules.of(Sense::Denies).any(Rule::is_unconditional);
        !barred && rules.of(Sense::Allows).next().is_some()
    }

    /// True where a call that touches this target might be allowed, whatever its arguments are.
    pub(crate) fn may_reach(&self, scene: &Scene<'_>) -> bool {
        let rules = self.rules_for(scene.caller(), scene.tool());
        // A rule that cannot be evaluated denies, as it does for a call.
        let barred =
            rules.of(Sense::Denies).any(|rule| !rule.goes_by_arguments() && rule.holds(scene) != Ok(false));
        let may =
            |rule: &Rule| rule.touches(scene) && (rule.goes_by_arguments() || rule.holds(scene) == Ok(true));
        !barred && rules.of(Sense::Allows).any(may)
    }

    /// The tools this caller sees and may call by name, in the order of `tools`. Remembered for each set of roles.
    pub(crate) fn visible(&self, caller: &Caller, tools: &[Arc<Tool>]) -> Arc<[Arc<Tool>]> {
        let mut roles = caller.roles.to_vec();
        roles.sort_unstable();
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = |tool: &&Arc<Tool>| tool.purpose == Purpose::Call && self.may_see(caller, tool);
        let make = || tools.iter().filter(seen).cloned().collect();
        Arc::clone(lists.entry(roles).or_insert_with(make))
    }

    /// Decides about a call with canonical arguments.
    pub(crate) fn decide(&self, scene: &Scene<'_>) -> Verdict {
        let rules = self.rules_for(scene.caller(), scene.tool());
        // Of the rules that might have denied it; without any, the hash is that of the one that allows it.
        let mut hasher = None;
        for rule in rules.of(Sense::Denies) {
            match rule.holds(scene) {
                Ok(false) => hasher.get_or_insert_with(blake3::Hasher::new).update(rule.text.as_bytes()),
                Ok(true) => return Verdict::Denied { because: format!("denied by {}", rule.text) },
                Err(e) => {
                    return Verdict::Denied { because: format!("{} cannot be evaluated: {e}", rule.text) };
                }
            };
        }
        for rule in rules.of(Sense::Allows) {
            match rule.holds(scene) {
                Ok(false) => {}
                Ok(true) => {
                    let rules_hash = match hasher {
                        Some(mut hasher) => shown(&hasher.update(rule.text.as_bytes()).finalize()),
                        None => rule.hash.clone(),
                    };
                    return Verdict::Allowed { rules_hash };
                }
                Err(e) => {
                    return Verdict::Denied { because: format!("{} cannot be evaluated: {e}", rule.text) };
                }
            }
        }
        Verdict::Denied { because: format!("no rule allows {} on {:?}", scene.tool().name, scene.target()) }
    }

    fn add(&mut self, rule: Rule, selectors: &[Selector], role: &str, tools: &[Arc<Tool>]) {
        let role: Arc<str> = role.into();
        let index = self.rules.len();
        let sense = rule.sense;
        self.rules.push(rule);
        for tool in tools {
            if selectors.iter().any(|selector| selector.selects(tool, sense)) {
                let entry = self.by_tool.entry(tool.name.shared()).or_default();
                entry.push((Arc::clone(&role), index));
            }
        }
    }

    fn rules_for<'a>(&'a self, caller: &'a Identity, tool: &Tool) -> Rules<'a> {
        let candidates = self.by_tool.get(tool.name.as_str()).map(Vec::as_slice).unwrap_or_default();
        Rules { all: &self.rules, candidates, roles: &caller.roles }
    }
}

/// The rules about one tool for one caller.
struct Rules<'a> {
    all: &'a [Rule],
    candidates: &'a [(Arc<str>, RuleIndex)],
    roles: &'a [Arc<str>],
}

impl<'a> Rules<'a> {
    /// Those of one sense, in their order.
    fn of(&self, sense: Sense) -> impl Iterator<Item = &'a Rule> {
        let Self { all, candidates, roles } = *self;
        let of_sense = candidates.iter().map(move |(role, index)| (role, &all[*index]));
        let of_sense = of_sense.filter(move |(_, rule)| rule.sense == sense);
        of_sense.filter(move |(role, _)| roles.contains(role)).map(|(_, rule)| rule)
    }
}

/// A hash of rules as it is written down.
fn shown(hash: &blake3::Hash) -> String {
    hash.to_hex()[..32].to_owned()
}

impl Rule {
    fn new(sense: Sense, targets: Option<Vec<GlobMatcher>>, when: Option<Condition>, text: String) -> Self {
        let hash = shown(&blake3::hash(text.as_bytes()));
        Self { sense, targets, when, text, hash }
    }

    fn is_unconditional(&self) -> bool {
        self.targets.is_none() && self.when.is_none()
    }

    /// Whether it needs the arguments to be decided.
    fn goes_by_arguments(&self) -> bool {
        self.when.as_ref().is_some_and(Condition::goes_by_arguments)
    }

    /// Whether it is about what the call touches.
    fn touches(&self, scene: &Scene<'_>) -> bool {
        let is_met = |targets: &Vec<GlobMatcher>| targets.iter().any(|glob| glob.is_match(scene.target()));
        self.targets.as_ref().is_none_or(is_met)
    }

    fn holds(&self, scene: &Scene<'_>) -> Result<bool, String> {
        if !self.touches(scene) {
            return Ok(false);
        }
        self.when.as_ref().map_or(Ok(true), |when| when.holds(scene))
    }
}

impl Selector {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "group:admin" {
            return Ok(Self::Admin);
        }
        match text.split_once(':') {
            Some(("effect", effect)) => match effect {
                "reads" => Ok(Self::Effect(Effect::Reads)),
                "changes" => Ok(Self::Effect(Effect::Changes)),
                "destroys" => Ok(Self::Effect(Effect::Destroys)),
                other => Err(format!("{other:?} is no effect; expected reads, changes or destroys")),
            },
            Some(("label", label)) if !label.is_empty() => Ok(Self::Label(label.to_owned())),
            Some(("source", source)) if !source.is_empty() => Ok(Self::Source(glob(source)?)),
            Some((group, _)) => Err(format!(
                "{group:?} selects nothing; expected a tool name, a glob, effect:, label:, source: or group:admin"
            )),
            None if text.is_empty() => Err("an empty selector selects nothing".to_owned()),
            None if text.contains(['*', '?', '[', '{']) => Ok(Self::Glob(glob(text)?)),
            None => Ok(Self::Name(text.to_owned())),
        }
    }

    /// Whether it chooses a tool to be shown.
    pub(crate) fn chooses(&self, tool: &Tool) -> bool {
        self.selects(tool, Sense::Allows)
    }

    fn selects(&self, tool: &Tool, sense: Sense) -> bool {
        let hidden = tool.audience == Audience::Admins && sense == Sense::Allows;
        match self {
            Self::Name(name) => tool.name.as_str() == name,
            Self::Admin => tool.audience == Audience::Admins,
            _ if hidden => false,
            Self::Glob(glob) => glob.is_match(tool.name.as_str()),
            Self::Effect(effect) => tool.effect == *effect,
            Self::Label(label) => tool.labels.iter().any(|l| l.as_ref() == label),
            Self::Source(glob) => glob.is_match(tool.source.as_ref()),
        }
    }
}

fn for_each_rule(roles: &BTreeMap<String, RoleConfig>, mut f: impl FnMut(&str, Sense, usize, &RuleConfig)) {
    for (name, role) in roles {
        role.deny.iter().enumerate().for_each(|(i, rule)| f(name, Sense::Denies, i, rule));
        role.allow.iter().enumerate().for_each(|(i, rule)| f(name, Sense::Allows, i, rule));
    }
}

fn compile(
    sense: Sense,
    rule: &RuleConfig,
    at: &str,
    role: &str,
) -> Result<(Rule, Vec<Selector>), Box<ConfigFault>> {
    let parts = match rule {
        RuleConfig::Selector(selector) => {
            &RuleParts { tools: vec![selector.clone()], targets: None, when: None }
        }
        RuleConfig::Full(parts) => parts,
    };
    let fault = |place: &str, text: String| Box::new(ConfigFault::new(format!("{at}{place}"), text));
    if sense == Sense::Denies && (parts.tools.is_empty() || parts.targets.as_ref().is_some_and(Vec::is_empty))
    {
        return Err(fault("", "an empty list selects nothing, so this rule would deny nothing".to_owned()));
    }
    let selectors = parts.tools.iter().map(|text| Selector::parse(text).map_err(|e| fault("", e)));
    let selectors = selectors.collect::<Result<_, _>>()?;
    let globs = |list: &Vec<String>| {
        list.iter().map(|text| glob(text).map_err(|e| fault("/targets", e))).collect::<Result<Vec<_>, _>>()
    };
    let targets = parts.targets.as_ref().map(globs).transpose()?;
    let condition = |text: &String| Condition::parse(text).map_err(|e| fault("/when", e));
    let when = parts.when.as_ref().map(condition).transpose()?;
    let text = format!(
        "{role}: {} {:?}{}{}",
        sense.list(),
        parts.tools,
        parts.targets.as_ref().map(|t| format!(" on {t:?}")).unwrap_or_default(),
        parts.when.as_ref().map(|w| format!(" when {w}")).unwrap_or_default(),
    );
    Ok((Rule::new(sense, targets, when, text), selectors))
}

fn glob(text: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|e| format!("{text:?} is not a glob: {}", e.kind()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

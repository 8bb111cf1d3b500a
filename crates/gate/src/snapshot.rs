//! What holds for a call from its first step to its last: the tools, the rules and the limits, as one value that
//! is swapped as a whole.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use foldhash::HashMap;
use serde_json::{json, value::RawValue};
use state::ChangeRecord;
use tool::{
    Audience, Caching, Caller, Completing, ConfigFault, Identity, Kind, Prompt, Provider, Purpose, Rate,
    Resource, Tool, ToolName, json::digest,
};
use uuid::Uuid;

use crate::{
    config::{Config, TierConfig, ToolConfig, pointer, unknown},
    policy::{self, Policy},
    signed::Signer,
    toolset::{self, Toolsets},
    validate::Schema,
};

/// The tools, the rules and the limits of one moment. A call keeps the one it began with.
pub struct Snapshot {
    /// Names this snapshot in audit records: the same configuration has the same.
    pub hash: Arc<str>,
    /// The tools.
    pub catalogue: Catalogue,
    /// This one build of it, as answers are kept by.
    pub(crate) serial: Arc<str>,
    pub(crate) policy: Policy,
    pub(crate) toolsets: Toolsets,
    pub(crate) config: Config,
}

/// The tools and who runs them.
pub struct Catalogue {
    tools: Arc<[Arc<Tool>]>,
    entries: HashMap<Arc<str>, Arc<Entry>>,
    aliases: HashMap<Arc<str>, Arc<str>>,
    providers: Vec<Arc<dyn Provider>>,
    prompts: BTreeMap<Arc<str>, Arc<Prompt>>,
    resources: Vec<Arc<Resource>>,
    templates: Vec<Arc<Resource>>,
}

/// A tool, its provider and its compiled schemas.
pub(crate) struct Entry {
    pub(crate) tool: Arc<Tool>,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) input: Schema,
    pub(crate) output: Option<Schema>,
}

impl Snapshot {
    /// Builds a snapshot from the configuration and the rooms as they are now.
    ///
    /// Error: every fault that was found; the snapshot in use stays.
    pub fn build(config: Config, providers: Vec<Arc<dyn Provider>>) -> Result<Arc<Self>, Vec<ConfigFault>> {
        let mut faults = config.check();
        let catalogue = Catalogue::build(&config.tools, providers, &mut faults);
        faults.extend(policy::check_names(&config.roles, &catalogue));
        faults.extend(toolset::check_names(&config.toolsets, &catalogue));
        if !faults.is_empty() {
            return Err(faults);
        }
        let policy = Policy::new(&config.roles, &catalogue.tools)?;
        let toolsets = Toolsets::new(&config.toolsets, &catalogue.tools);
        let hash = format!("{:.16}", &hash(&config, &catalogue)[3..]).into();
        let serial = Uuid::new_v4().to_string().into();
        Ok(Arc::new(Self { hash, catalogue, serial, policy, toolsets, config }))
    }

    /// What a call goes to: the tool, or what stands for the resource or the prompt.
    pub(crate) fn entry(&self, kind: &Kind, change: Option<&ChangeRecord>) -> Option<&Arc<Entry>> {
        let catalogue = &self.catalogue;
        let called = |name: &str| catalogue.find(name).filter(|entry| entry.tool.purpose == Purpose::Call);
        match kind {
            Kind::Tool { name, .. } => called(name),
            Kind::Apply { .. } => called(&change?.tool),
            Kind::ReadResource { uri } => catalogue.reader(uri),
            Kind::GetPrompt { name, .. } => catalogue.prompt_entry(name),
            Kind::Complete { of: Completing::Prompt(name), .. } => catalogue.prompt_entry(name),
            Kind::Complete { of: Completing::Template(uri), .. } => catalogue.reader(uri),
        }
    }

    /// Whether a caller sees a tool.
    pub(crate) fn may_see(&self, caller: &Identity, tool: &Tool) -> bool {
        self.toolsets.shows(caller, tool) && self.policy.may_see(caller, tool)
    }

    /// Whether a caller sees what the tool of this name stands for.
    pub(crate) fn may_see_of(&self, caller: &Identity, name: &ToolName) -> bool {
        let entry = self.catalogue.entries.get(name.as_str());
        entry.is_some_and(|entry| self.may_see(caller, &entry.tool))
    }

    /// The tools that a caller sees and may call by name.
    pub(crate) fn visible(&self, caller: &Caller) -> Arc<[Arc<Tool>]> {
        let all = self.policy.visible(caller, &self.catalogue.tools);
        match caller.toolset {
            None => all,
            Some(_) => all.iter().filter(|tool| self.toolsets.shows(caller, tool)).cloned().collect(),
        }
    }

    /// What clients are told of a toolset; `None` where there is none of this name.
    pub(crate) fn toolset(&self, name: &str) -> Option<Option<&str>> {
        let config = self.config.toolsets.get(name).filter(|_| self.toolsets.has(name))?;
        Some(config.instructions.as_deref())
    }

    /// The principals that sign what they send.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.config.signers
    }

    pub(crate) fn tier(&self, name: &str) -> Option<&TierConfig> {
        self.config.tiers.get(name)
    }
}

impl Catalogue {
    /// The tools that fit together; what does not is added to the faults.
    fn build(
        overrides: &BTreeMap<String, ToolConfig>,
        providers: Vec<Arc<dyn Provider>>,
        faults: &mut Vec<ConfigFault>,
    ) -> Self {
        let mut entries: HashMap<Arc<str>, Arc<Entry>> = HashMap::default();
        let mut aliases: HashMap<Arc<str>, Arc<str>> = HashMap::default();
        // Names by what they look like, and the source of who has them.
        let mut looks: HashMap<String, (Arc<str>, Arc<str>)> = HashMap::default();
        for provider in &providers {
            for tool in provider.tools().iter() {
                let tool = match overrides.get(tool.name.as_str()) {
                    Some(config) => Arc::new(overridden(tool, config)),
                    None => Arc::clone(tool),
                };
                let look = tool::look(tool.name.as_str());
                let why =
                    taken(&tool, &entries, &aliases, provider).or_else(|| shadows(&tool, looks.get(&look)));
                match why.map_or_else(|| entry(&tool, provider), Err) {
                    Ok(entry) => {
                        let name = tool.name.shared();
                        looks.entry(look).or_insert_with(|| (Arc::clone(&name), Arc::clone(&tool.source)));
                        for alias in &tool.aliases {
                            aliases.entry(Arc::clone(alias)).or_insert_with(|| Arc::clone(&name));
                        }
                        entries.insert(name, Arc::new(entry));
                    }
                    Err(why) => refuse(provider, tool.as_sent.is_some(), why, faults),
                }
            }
        }
        let is_unknown =
            |name: &&String| !entries.contains_key(name.as_str()) && !may_be_offered(&providers, name);
        for name in overrides.keys().filter(is_unknown) {
            let known = entries.keys().map(AsRef::as_ref);
            faults.push(unknown(pointer(&["tools", name]), "tool", name, known));
        }
        let mut tools: Vec<_> = entries.values().map(|entry| Arc::clone(&entry.tool)).collect();
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        let prompts = prompts(&providers, faults);
        let by_uri = |a: &Arc<Resource>, b: &Arc<Resource>| a.uri.cmp(&b.uri);
        let mut resources: Vec<_> = providers.iter().flat_map(|p| p.resources().to_vec()).collect();
        resources.sort_by(by_uri);
        let mut templates: Vec<_> = providers.iter().flat_map(|p| p.templates().to_vec()).collect();
        templates.sort_by(by_uri);
        Self { tools: tools.into(), entries, aliases, providers, prompts, resources, templates }
    }

    /// The prompts, by name.
    pub(crate) fn prompts(&self) -> impl Iterator<Item = &Arc<Prompt>> {
        self.prompts.values()
    }

    /// What stands for the prompt of this name.
    fn prompt_entry(&self, name: &str) -> Option<&Arc<Entry>> {
        self.standing_for(Purpose::Prompt, &self.prompts.get(name)?.tool)
    }

    /// The resources, by URI.
    pub(crate) fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// The templates of resources, by URI.
    pub(crate) fn templates(&self) -> &[Arc<Resource>] {
        &self.templates
    }

    /// What stands for the resource with this URI, or for this template.
    pub(crate) fn reader(&self, uri: &str) -> Option<&Arc<Entry>> {
        let name = self.providers.iter().find_map(|provider| provider.reads(uri))?;
        self.standing_for(Purpose::Resource, &name)
    }

    /// The tool of this name, where it stands for such things: one that was left out may have left its name to another.
    fn standing_for(&self, purpose: Purpose, name: &ToolName) -> Option<&Arc<Entry>> {
        self.entries.get(name.as_str()).filter(|entry| entry.tool.purpose == purpose)
    }

    /// All tools, by name; those that stand for resources and prompts too.
    #[must_use]
    pub fn tools(&self) -> &Arc<[Arc<Tool>]> {
        &self.tools
    }

    /// Whether a tool of this name may come to be offered though it is not now.
    #[must_use]
    pub fn may_come(&self, name: &str) -> bool {
        may_be_offered(&self.providers, name)
    }

    /// The rooms.
    #[must_use]
    pub fn providers(&self) -> &[Arc<dyn Provider>] {
        &self.providers
    }

    /// True where there is a tool of this name or alias.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The tool of this name or alias.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Entry>> {
        self.entries.get(name).or_else(|| self.entries.get(self.aliases.get(name)?))
    }
}

/// The prompts by name; two of one name are a fault.
fn prompts(
    providers: &[Arc<dyn Provider>],
    faults: &mut Vec<ConfigFault>,
) -> BTreeMap<Arc<str>, Arc<Prompt>> {
    let mut prompts = BTreeMap::new();
    for provider in providers {
        for prompt in provider.prompts().iter() {
            if prompts.contains_key(&prompt.name) {
                let text = format!("there are two prompts {:?}; rename one", prompt.name);
                refuse(provider, prompt.as_sent.is_some(), text, faults);
            } else {
                prompts.insert(Arc::clone(&prompt.name), Arc::clone(prompt));
            }
        }
    }
    prompts
}

fn may_be_offered(providers: &[Arc<dyn Provider>], name: &str) -> bool {
    providers.iter().any(|provider| provider.may_offer(name))
}

/// Leaves out what does not fit. What came from elsewhere is nobody's mistake here, and must not keep the house from
/// opening: it is logged. Everything else is a fault of the configuration.
fn refuse(provider: &Arc<dyn Provider>, from_elsewhere: bool, why: String, faults: &mut Vec<ConfigFault>) {
    if from_elsewhere {
        tracing::warn!(room = provider.name(), why, "something that a source offers is left out");
    } else {
        faults.push(ConfigFault::new(pointer(&[provider.name()]), why));
    }
}

/// Why a tool's name is not free, where it is not. What comes from elsewhere may not take an alias of ours either.
fn taken(
    tool: &Tool,
    entries: &HashMap<Arc<str>, Arc<Entry>>,
    aliases: &HashMap<Arc<str>, Arc<str>>,
    provider: &Arc<dyn Provider>,
) -> Option<String> {
    let name = tool.name.as_str();
    let owner = match tool.as_sent {
        Some(_) => aliases.get(name).map_or(name, |owner| owner),
        None => name,
    };
    let other = entries.get(owner)?.provider.name();
    Some(format!("{name:?} is offered by {other:?} and by {:?}; rename one", provider.name()))
}

/// Why a tool that comes from elsewhere is left out, where its name only looks like that of another source's: who asks
/// for the one should not get the other.
fn shadows(tool: &Tool, like: Option<&(Arc<str>, Arc<str>)>) -> Option<String> {
    let (name, source) = like?;
    let is_foreign = tool.as_sent.is_some() && tool.purpose == Purpose::Call && *source != tool.source;
    is_foreign.then(|| {
        format!(
            "{:?} of {} looks like {name:?} of {source}; `upstreams.<name>.tools` gives it another name",
            tool.name.as_str(),
            tool.source
        )
    })
}

fn entry(tool: &Arc<Tool>, provider: &Arc<dyn Provider>) -> Result<Entry, String> {
    let name = &tool.name;
    let input = Schema::compile(&tool.input).map_err(|e| format!("the input schema of {name:?} is {e}"))?;
    let output = match &tool.output {
        Some(schema) => {
            Some(Schema::compile(schema).map_err(|e| format!("the output schema of {name:?} is {e}"))?)
        }
        None => None,
    };
    Ok(Entry { tool: Arc::clone(tool), provider: Arc::clone(provider), input, output })
}

fn overridden(tool: &Tool, config: &ToolConfig) -> Tool {
    let mut tool = tool.clone();
    let rate = config.rate_per_minute.map(Rate::per_minute).or(tool.rate);
    tool.rate = rate.map(|rate| Rate { smooth: config.smooth.unwrap_or(rate.smooth), ..rate });
    tool.concurrent_max = config.concurrent_max.or(tool.concurrent_max);
    tool.time_max = config.timeout_ms.map_or(tool.time_max, Duration::from_millis);
    tool.bytes_max = config.bytes_max.unwrap_or(tool.bytes_max);
    tool.hygiene = config.hygiene.unwrap_or(tool.hygiene);
    tool.caching = match config.cache_seconds {
        None => tool.caching,
        Some(0) => Caching::Off,
        Some(seconds) => Caching::For(Duration::from_secs(seconds)),
    };
    tool
}

/// A hash over all that decides about a call: rules, principals, limits and the definitions of what there is.
fn hash(config: &Config, catalogue: &Catalogue) -> String {
    let sent = |raw: &Option<Arc<RawValue>>| raw.as_ref().map(|raw| raw.get().to_owned());
    let tools: Vec<_> = catalogue
        .tools
        .iter()
        .map(|tool| {
            json!({
                "name": tool.name, "about": tool.about, "input": tool.input, "output": tool.output,
                "effect": tool.effect.as_str(), "source": tool.source, "admin": tool.audience == Audience::Admins,
                "sent": sent(&tool.as_sent),
            })
        })
        .collect();
    let prompts = catalogue.prompts.values();
    let prompts: Vec<_> = prompts
        .map(|prompt| json!({ "name": prompt.name, "about": prompt.about, "tool": prompt.tool, "sent": sent(&prompt.as_sent) }))
        .collect();
    let resources = catalogue.resources.iter().chain(&catalogue.templates);
    let resources: Vec<_> = resources
        .map(|resource| {
            json!({
                "uri": resource.uri, "name": resource.name, "about": resource.about, "tool": resource.tool,
                "sent": sent(&resource.as_sent),
            })
        })
        .collect();
    // The configuration's debug form names every field; it never leaves this function.
    digest(
        &json!({ "config": format!("{config:?}"), "tools": tools, "prompts": prompts, "resources": resources }),
    )
}

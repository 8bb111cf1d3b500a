//! Asking many devices at once, each by a call of its own down the road: rules, records and breakers see every device.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures_util::{StreamExt as _, stream};
use globset::Glob;
use serde_json::{Value, json};
use tool::Talk;

use crate::{
    Room,
    ask::ms,
    error::DeviceError,
    inventory::Device,
    shapes::{DeviceResult, RunArguments, RunResult},
    tools::{QUERY, QUERY_AS},
};

/// What is asked of one device.
struct Wish {
    tool: &'static str,
    device: String,
    host: String,
    arguments: Value,
}

impl Room {
    /// Runs the commands on every chosen device.
    pub(crate) async fn run_many(&self, asked: &RunArguments, talk: &Talk) -> Result<RunResult, DeviceError> {
        let began = Instant::now();
        let wishes = self.wishes(asked, talk)?;
        let total = wishes.len();
        let one = |wish: Wish| async move { self.one_of_many(wish, talk).await };
        let mut answers = stream::iter(wishes).map(one).buffer_unordered(self.devices_at_once_max);
        let mut results = Vec::with_capacity(total);
        while let Some(result) = answers.next().await {
            let said = format!("{}: {}", result.device, if result.success { "done" } else { "failed" });
            results.push(result);
            #[expect(clippy::cast_precision_loss, reason = "a number of devices is exact in a float")]
            talk.progress(results.len() as f64, Some(total as f64), said);
        }
        results.sort_by(|a: &DeviceResult, b| a.device.cmp(&b.device));
        let successful = results.iter().filter(|result| result.success).count();
        Ok(RunResult {
            total_devices: total,
            successful,
            failed: total - successful,
            results,
            total_execution_time_ms: ms(began.elapsed()),
        })
    }

    async fn one_of_many(&self, wish: Wish, talk: &Talk) -> DeviceResult {
        let began = Instant::now();
        let answer = talk.calls().call(wish.tool, wish.arguments).await;
        let mut result = DeviceResult {
            device: wish.device,
            host: wish.host,
            success: false,
            results: Vec::new(),
            error: None,
            error_class: None,
            execution_time_ms: ms(began.elapsed()),
        };
        match answer.map(|outcome| outcome.to_value()) {
            Ok(value) => {
                result.success = value["status"] == "success";
                if let Value::Array(results) = &value["results"] {
                    let failed = results.iter().find(|one| one["status"] == "error");
                    let told = |member: &str| failed.and_then(|one| Some(one[member].as_str()?.to_owned()));
                    (result.error_class, result.error) = (told("error_class"), told("error"));
                    result.results.clone_from(results);
                }
            }
            Err(_) if wish.tool == QUERY_AS && talk.calls().may_reach(QUERY_AS, "").is_none() => {
                let text =
                    "logins are not taken from your requests; it takes a role that allows `query_device_as`";
                result.error_class = Some("denied".to_owned());
                result.error = Some(text.to_owned());
            }
            Err(fault) => {
                let class = fault.details.as_ref().and_then(|details| details["error_class"].as_str());
                result.error_class = Some(class.unwrap_or(fault.code.row().name).to_owned());
                result.error = Some(fault.text.clone());
            }
        }
        result
    }

    /// What to ask of whom: the devices that are chosen, and those that come with a login.
    fn wishes(&self, asked: &RunArguments, talk: &Talk) -> Result<Vec<Wish>, DeviceError> {
        let has_logins = !asked.logins.is_empty();
        let chooses = !(asked.devices.is_empty() && asked.groups.is_empty() && asked.labels.is_empty());
        let arguments = |device: &str| {
            json!({
                "device_ip": device, "commands": asked.commands, "timeout": asked.timeout, "parse": asked.parse,
            })
        };
        let devices = if has_logins && !chooses { Vec::new() } else { self.chosen(asked, talk)? };
        let mut wishes: Vec<Wish> = devices
            .iter()
            .map(|device| Wish {
                tool: QUERY,
                device: device.name.to_string(),
                host: device.endpoint.host.clone(),
                arguments: arguments(&device.name),
            })
            .collect();
        for login in &asked.logins {
            let mut arguments = arguments(&login.host);
            arguments["user"] = Value::from(login.user.as_str());
            if let Some(platform) = &login.device_type {
                arguments["device_type"] = Value::from(platform.as_str());
            }
            let (device, host) = (login.host.clone(), login.host.clone());
            wishes.push(Wish { tool: QUERY_AS, device, host, arguments });
        }
        Ok(wishes)
    }

    /// The devices that a call names, by name. What is chosen by more than its name is what the caller may ask.
    ///
    /// Error: a name, a group or labels that stand for no device, or nothing that names any.
    fn chosen(&self, asked: &RunArguments, talk: &Talk) -> Result<Vec<Arc<Device>>, DeviceError> {
        let bad = |pointer: String, what: String| DeviceError::BadArgument { pointer, what };
        let shown = || self.inventory.all().filter(|device| Self::is_shown(talk, device));
        let mut chosen = BTreeMap::new();
        let mut choose =
            |device: &Arc<Device>| drop(chosen.insert(Arc::clone(&device.name), Arc::clone(device)));
        for (index, name) in asked.devices.iter().enumerate() {
            if !name.contains(['*', '?']) {
                choose(&self.find(name)?);
                continue;
            }
            let pointer = || format!("/devices/{index}");
            let glob = Glob::new(name).map_err(|error| bad(pointer(), error.to_string()))?.compile_matcher();
            let mut fits = shown().filter(|device| glob.is_match(&*device.name)).peekable();
            if fits.peek().is_none() {
                return Err(bad(
                    pointer(),
                    format!("{name:?} fits no device; list_devices shows what there is"),
                ));
            }
            fits.for_each(&mut choose);
        }
        for (index, group) in asked.groups.iter().enumerate() {
            if !self.inventory.has_group(group) {
                return Err(bad(format!("/groups/{index}"), format!("there is no group {group:?}")));
            }
            shown().filter(|device| device.groups.contains(group)).for_each(&mut choose);
        }
        if !asked.labels.is_empty() {
            let has = |device: &&Arc<Device>| {
                asked.labels.iter().all(|(name, value)| device.labels.get(name) == Some(value))
            };
            shown().filter(has).for_each(&mut choose);
        }
        if chosen.is_empty() {
            let what = match asked.devices.is_empty() && asked.groups.is_empty() && asked.labels.is_empty() {
                true => "name devices, groups or labels; {\"devices\": [\"*\"]} stands for all of them",
                false => "no device fits; list_devices shows what there is",
            };
            return Err(bad(String::new(), what.to_owned()));
        }
        Ok(chosen.into_values().collect())
    }
}

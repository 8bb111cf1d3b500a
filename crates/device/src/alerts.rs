//! Alerts about devices that others send, kept for whoever looks into them.

use std::{
    cell::LazyCell,
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Map, Value};
use tool::{Permit, Talk};

use crate::{
    Room,
    error::DeviceError,
    inventory::{Device, Inventory},
    shapes::{AlertArguments, AlertResult, AlertsArguments, AlertsResult, KeptAlert},
};

/// The most alerts that are kept; the oldest go first.
const ALERTS_MAX: usize = 1000;
/// The most bytes of all of them.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// The members that name a device, in the order in which they count.
const NAMES: [&str; 7] = ["device_ip", "device", "device_name", "hostname", "host", "instance", "ip"];

/// The alerts that came last.
#[derive(Default)]
pub(crate) struct Alerts(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    alerts: VecDeque<(KeptAlert, usize)>,
    bytes: usize,
}

impl Alerts {
    fn keep(&self, alert: KeptAlert) {
        let bytes = alert.alert.to_string().len();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += bytes;
        kept.alerts.push_back((alert, bytes));
        while kept.alerts.len() > ALERTS_MAX || (kept.bytes > BYTES_MAX && kept.alerts.len() > 1) {
            let gone = kept.alerts.pop_front().map_or(0, |(_, bytes)| bytes);
            kept.bytes -= gone;
        }
    }

    /// The newest first, of those that are shown.
    fn list(
        &self,
        asked: &AlertsArguments,
        is_shown: impl Fn(&KeptAlert) -> bool,
    ) -> (Vec<KeptAlert>, usize) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |alert: &KeptAlert| asked.since.is_none_or(|since| alert.received_at >= since) && is_shown(alert);
        let (mut listed, mut total) = (Vec::new(), 0);
        for (alert, _) in kept.alerts.iter().rev().filter(|(alert, _)| fits(alert)) {
            total += 1;
            if listed.len() < asked.limit {
                listed.push(alert.clone());
            }
        }
        (listed, total)
    }
}

/// The device that an alert is about, where it names one that is known.
pub(crate) fn device_of<'a>(alert: &Map<String, Value>, inventory: &'a Inventory) -> Option<&'a Arc<Device>> {
    // Alertmanager and its kin keep what an alert is about among its labels.
    let places = [
        Some(alert),
        alert.get("labels").and_then(Value::as_object),
        alert.get("commonLabels").and_then(Value::as_object),
    ];
    let names = places
        .into_iter()
        .flatten()
        .flat_map(|members| NAMES.iter().filter_map(|name| members.get(*name)?.as_str()));
    names.filter_map(|name| inventory.find(name).or_else(|| inventory.find(name.rsplit_once(':')?.0))).next()
}

impl Room {
    /// Keeps an alert.
    pub(crate) fn alert(&self, permit: &Permit, asked: AlertArguments) -> AlertResult {
        let device = device_of(&asked.alert, &self.inventory).map(|device| Arc::clone(&device.name));
        let sender = Arc::clone(&permit.caller().principal);
        tracing::warn!(sender = &*sender, device = device.as_deref(), "an alert about a device was received");
        let received_at = self.clock.now();
        self.alerts.keep(KeptAlert {
            received_at,
            sender,
            device: device.clone(),
            alert: Value::Object(asked.alert),
        });
        AlertResult { status: "received".to_owned(), device, received_at }
    }

    /// The alerts that came last.
    pub(crate) fn list_alerts(
        &self,
        asked: &AlertsArguments,
        talk: &Talk,
    ) -> Result<AlertsResult, DeviceError> {
        let of = asked.device_ip.as_deref().map(|device| self.find(device)).transpose()?;
        if let (Some(asked), Some(of)) = (&asked.device_ip, &of)
            && !Self::is_shown(talk, of)
        {
            return Err(self.not_found(asked));
        }
        // What is about no device that is known is for those who may ask all of them.
        let sees_all = LazyCell::new(|| self.inventory.all().all(|device| Self::is_shown(talk, device)));
        let is_shown = |alert: &KeptAlert| {
            let device = alert.device.as_deref();
            let known = device.and_then(|device| self.inventory.find(device));
            of.as_ref().is_none_or(|of| device == Some(&*of.name))
                && known.map_or_else(|| *sees_all, |known| Self::is_shown(talk, known))
        };
        let (alerts, total) = self.alerts.list(asked, is_shown);
        Ok(AlertsResult { alerts, total })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tool::Timestamp;

    use super::*;

    fn alert(n: i64, size: usize) -> KeptAlert {
        KeptAlert {
            received_at: Timestamp::from_unix_ms(n),
            sender: "s".into(),
            device: (n % 2 == 0).then(|| "r1".into()),
            alert: json!({ "n": n, "text": "x".repeat(size) }),
        }
    }

    #[test]
    fn the_newest_are_kept() {
        let alerts = Alerts::default();
        (0..1500).for_each(|n| alerts.keep(alert(n, 10)));
        let asked = |limit: usize, since: i64| AlertsArguments {
            device_ip: None,
            since: Some(Timestamp::from_unix_ms(since)),
            limit,
        };
        let (listed, total) = alerts.list(&asked(2, 0), |_| true);
        let numbers: Vec<&Value> = listed.iter().map(|alert| &alert.alert["n"]).collect();
        assert_eq!((numbers, total), (vec![&json!(1499), &json!(1498)], ALERTS_MAX));
        assert_eq!(alerts.list(&asked(100, 1490), |alert| alert.device.is_some()).1, 5);
        (0..200).for_each(|n| alerts.keep(alert(n, 60_000)));
        let (_, total) = alerts.list(&asked(1, 0), |_| true);
        assert!(total < 80, "{total}");
    }
}

//! The files of platforms, as they are built in.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use serde_json::{Map, Value};

use super::{Known, definition::Definition};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// Every file: its name and its text.
        pub(super) const FILES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../platforms/", $name, ".yaml")))),*];
    };
}

files![
    "aethra_atosnt",
    "alcatel_aos",
    "allied_telesis_awplus",
    "arista_eos",
    "aruba_aoscx",
    "aruba_os",
    "autodetect",
    "avaya_ers",
    "avaya_vsp",
    "bird",
    "checkpoint_gaia",
    "ciena_saos",
    "cisco_asa",
    "cisco_ftd",
    "cisco_ios",
    "cisco_nvfis",
    "cisco_nxos",
    "cisco_s300",
    "cisco_viptela",
    "cisco_wlc",
    "cisco_xr",
    "cumulus_linux",
    "cumulus_vtysh",
    "datacom_dmos",
    "dell_os10",
    "dell_powerconnect",
    "dell_sonic",
    "dlink_ds",
    "eaton_network",
    "edgecore",
    "eltex_esr",
    "ericsson_ipos",
    "extreme_exos",
    "extreme_slx",
    "fortinet",
    "fortinet_wlc",
    "frr",
    "frr_tcli",
    "fsas_sir",
    "fsos",
    "garderos",
    "hp_comware",
    "hp_procurve",
    "huawei",
    "huawei_ont",
    "huawei_smartax",
    "ipinfusion_ocnos",
    "juniper_junos",
    "juniper_screenos",
    "linux",
    "mikrotik_routeros",
    "netgear",
    "nokia_srl",
    "nokia_sros",
    "nokia_sros_classic",
    "oneaccess_oneos",
    "paloalto_panos",
    "pfsense",
    "raisecom_roap",
    "ruckus_fastiron",
    "ruckus_unleashed",
    "ruggedcom_roxii",
    "ruijie_os",
    "tnsr",
    "tplink_jetstream",
    "ubiquiti_edgeswitch",
    "versa_flexvnf",
    "vyos",
    "yamaha",
    "zte_zxros",
    "zyxel_os",
];

/// Reads files of platforms.
///
/// Error: a sentence that names the file.
pub(super) fn read(files: &[(&str, &str)]) -> Result<BTreeMap<String, Arc<Known>>, String> {
    let mut values: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (name, text) in files {
        let value = serde_saphyr::from_str(text).map_err(|error| format!("{name}: {error}"))?;
        values.insert(name, value);
    }
    let mut platforms = BTreeMap::new();
    for (file, _) in files {
        let cannot = |error: String| format!("{file}: {error}");
        let merged = merged(file, &values, 0).map_err(cannot)?;
        let definition: Definition =
            serde_json::from_value(Value::Object(merged)).map_err(|error| cannot(error.to_string()))?;
        if definition.name != *file {
            return Err(cannot(format!("it is named {:?}", definition.name)));
        }
        let names: Vec<String> = definition.aliases.iter().chain([&definition.name]).cloned().collect();
        let known = Arc::new(Known { definition, platform: OnceLock::new() });
        for name in names {
            if platforms.insert(name.clone(), Arc::clone(&known)).is_some() {
                return Err(cannot(format!("{name:?} is the name of another too")));
            }
        }
    }
    Ok(platforms)
}

/// How often a definition may take over from another that takes over.
const LIKE_DEPTH_MAX: usize = 4;

/// A definition with what it takes over.
fn merged(
    name: &str,
    values: &BTreeMap<&str, Map<String, Value>>,
    depth: usize,
) -> Result<Map<String, Value>, String> {
    let own = values.get(name).ok_or_else(|| format!("there is no {name:?} to be like"))?;
    if depth > LIKE_DEPTH_MAX {
        return Err("it takes over from too many".to_owned());
    }
    let Some(like) = own.get("like").and_then(Value::as_str) else { return Ok(own.clone()) };
    let mut whole = merged(like, values, depth + 1)?;
    // What names a platform, and not what it is like, is its own.
    for own_only in ["aliases", "templates", "detect"] {
        whole.remove(own_only);
    }
    lay_over(&mut whole, own);
    Ok(whole)
}

/// Lays members over others: objects are merged, `reads` is added to, everything else is replaced.
fn lay_over(whole: &mut Map<String, Value>, own: &Map<String, Value>) {
    for (name, value) in own {
        match (whole.get_mut(name), value) {
            (Some(Value::Object(below)), Value::Object(above)) => lay_over(below, above),
            (Some(Value::Array(below)), Value::Array(above)) if name == "reads" => {
                below.extend(above.clone());
            }
            _ => drop(whole.insert(name.clone(), value.clone())),
        }
    }
}

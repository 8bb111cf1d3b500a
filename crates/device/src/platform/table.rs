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
    "a10",
    "accedian",
    "adtran_os",
    "adva_fsp150f2",
    "adva_fsp150f3",
    "aethra_atosnt",
    "alaxala_ax36s",
    "alcatel_aos",
    "allied_telesis_awplus",
    "apc_aos",
    "apresia_aeos",
    "arista_eos",
    "arris_cer",
    "aruba_aoscx",
    "aruba_os",
    "asterfusion_asternos",
    "audiocode_72",
    "audiocode_shell",
    "autodetect",
    "avara_aos",
    "avaya_ers",
    "avaya_vsp",
    "aviat_wtm",
    "bintec_boss",
    "bird",
    "brocade_fos",
    "calix_b6",
    "calix_exa",
    "casa_cmts",
    "cdot_cros",
    "centec_os",
    "checkpoint_gaia",
    "ciena_saos",
    "ciena_saos10",
    "ciena_waveserver",
    "cisco_ap",
    "cisco_apic",
    "cisco_asa",
    "cisco_ftd",
    "cisco_ios",
    "cisco_nvfis",
    "cisco_nxos",
    "cisco_s300",
    "cisco_viptela",
    "cisco_wlc",
    "cisco_xr",
    "cloudgenix_ion",
    "coriant",
    "cumulus_linux",
    "cumulus_vtysh",
    "datacom_dmos",
    "dell_isilon",
    "dell_os10",
    "dell_powerconnect",
    "dell_sonic",
    "digi_transport",
    "dlink_ds",
    "eaton_network",
    "edgecore",
    "edgecore_sonic",
    "eltex_esr",
    "endace",
    "enterasys",
    "ericsson_ipos",
    "ericsson_mltn66",
    "extreme_exos",
    "extreme_netiron",
    "extreme_nos",
    "extreme_slx",
    "extreme_tierra",
    "extreme_wing",
    "f5_linux",
    "f5_tmsh",
    "fiberstore_fsosv2",
    "fiberstore_networkos",
    "fortinet",
    "fortinet_wlc",
    "frr",
    "frr_tcli",
    "fsas_sir",
    "fsos",
    "furukawa_fitelnet",
    "garderos",
    "hillstone_stoneos",
    "hirschmann_hios",
    "hp_comware",
    "hp_procurve",
    "huawei",
    "huawei_ont",
    "huawei_smartax",
    "iij_seilos",
    "infinera_packet",
    "ipinfusion_ocnos",
    "juniper_junos",
    "juniper_screenos",
    "keymile",
    "keymile_nos",
    "lancom_lcossx4",
    "lancom_lcossx5",
    "linux",
    "maipu",
    "mellanox_mlnxos",
    "mikrotik_routeros",
    "moxa_nos",
    "mrv_lx",
    "mrv_optiswitch",
    "nec_ix",
    "netapp_cdot",
    "netgear",
    "netscaler",
    "nokia_isam",
    "nokia_srl",
    "nokia_sros",
    "nokia_sros_classic",
    "oneaccess_oneos",
    "opengear_linux",
    "ovs_linux",
    "paloalto_panos",
    "perle_iolan",
    "pfsense",
    "pluribus",
    "quanta_mesh",
    "rad_etx",
    "raisecom_roap",
    "ruckus_fastiron",
    "ruckus_unleashed",
    "ruggedcom_roxii",
    "ruijie_os",
    "silverpeak_vxoa",
    "sixwind_os",
    "smartoptics_dwdm",
    "sophos_sfos",
    "supermicro_smis",
    "telcosystems_binos",
    "teldat_cit",
    "tnsr",
    "tplink_jetstream",
    "ubiquiti_edgeswitch",
    "versa_flexvnf",
    "vertiv_mph",
    "vyos",
    "watchguard_fireware",
    "yamaha",
    "zpe_nodegrid",
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

use std::sync::{Arc, Mutex};

use super::{
    router::{Router, Vendor},
    shell::Shell,
};

/// What a shell prints in return for lines, after paging was turned off.
fn played(vendor: Vendor, lines: &[&str]) -> String {
    let mut shell = Shell::new(Arc::new(Mutex::new(Router::new(vendor, 2, 3))), "secret".to_owned());
    let mut text = shell.greeting();
    for line in lines {
        text.push_str(&String::from_utf8(shell.typed(format!("{line}\n").as_bytes()).bytes).unwrap());
    }
    text.replace('\r', "")
}

#[test]
fn a_router_answers_by_what_it_was_told() {
    let lines = [
        "en",
        "secret",
        "term len 0",
        "conf t",
        "interface gi0/1",
        "desc new",
        "shutdown",
        "hostname other",
        "end",
        "sh ip int br",
        "sh run | i description",
    ];
    let text = played(Vendor::CiscoIos, &lines);
    for wanted in [
        "lab-r2>en\nPassword: \nlab-r2#",
        "lab-r2(config-if)#",
        "other#sh ip int br\n",
        "GigabitEthernet0/1         10.0.0.9        YES NVRAM  administratively down down\n",
        "other#sh run | i description\n description to lab-r1\n",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in {text}");
    }
    assert!(text.contains("% Invalid input"), "`desc` is not written out: {text}");
}

#[test]
fn secrets_and_pages_are_kept_to_themselves() {
    let text = played(Vendor::CiscoIos, &["enable", "wrong", "enable", "secret", "show run"]);
    assert!(!text.contains("wrong") && !text.contains("secret\n"), "{text}");
    assert!(text.contains("% Access denied") && text.ends_with(" --More-- "), "{text}");
}

#[test]
fn every_vendor_has_routes_that_fit_together() {
    let cases = [
        (
            Vendor::CiscoIos,
            "show ip route",
            "O        10.255.0.3/32 [110/2] via 10.0.0.10, 1d02h, GigabitEthernet0/1\n",
        ),
        (Vendor::AristaEos, "show ip route", " O        10.255.0.3/32 [110/2] via 10.0.0.10, Ethernet2\n"),
        (Vendor::JuniperJunos, "show route table inet.0", ">  to 10.0.0.10 via ge-0/0/1.0\n"),
        (Vendor::HuaweiVrp, "display ip routing-table", "10.0.0.10       GigabitEthernet0/0/1\n"),
    ];
    for (vendor, command, wanted) in cases {
        let off = ["terminal length 0", "set cli screen-length 0", "screen-length 0 temporary", command];
        let text = played(vendor, &off);
        assert!(text.contains(wanted), "{vendor:?}: {text}");
    }
}

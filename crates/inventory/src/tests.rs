//! Every form, against what its owner's own tools make of it.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};

use super::*;

fn platform_of(name: &str) -> Option<String> {
    let known = [
        ("ios", "cisco_ios"),
        ("cisco_ios", "cisco_ios"),
        ("eos", "arista_eos"),
        ("junos", "juniper_junos"),
        ("linux", "linux"),
    ];
    known.iter().find(|(alias, _)| *alias == name).map(|(_, name)| (*name).to_owned())
}

fn plain(logins: &BTreeMap<String, String>) -> How<'_> {
    static NONE: BTreeSet<String> = BTreeSet::new();
    How {
        platform_of: &platform_of,
        logins,
        group_platforms: &NONE,
        platform: None,
        login: None,
        groups: &[],
        labels: &[],
    }
}

fn read(format: Format, text: &str, beside: Beside<'_>) -> Imported {
    let logins = BTreeMap::from([("admin".to_owned(), "netops".to_owned())]);
    let how = plain(&logins);
    import(format, text, beside, &how).unwrap()
}

fn check(format: Format, text: &str, beside: Beside<'_>, expected: Expect) {
    let imported = read(format, text, beside);
    // What is written is read back as it was.
    assert_eq!(Inventory::parse(&imported.inventory.text()).unwrap(), imported.inventory);
    let (_, difference) = Inventory::default().with(&imported.inventory, false);
    let mut lines = difference.lines();
    lines.extend(imported.notes.iter().map(|note| format!("note: {note}")));
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

fn nothing(_: &str) -> Option<String> {
    None
}

#[test]
fn the_configuration_of_the_ssh_client() {
    let text = "
User admin
Host r1
  HostName 192.0.2.1
  Port 2222
Host r2 r3
  HostName %h.example.net
  User other
  ProxyJump jumper@bastion.example.net:2200,r1
Host old
  HostName 192.0.2.9
  KexAlgorithms +diffie-hellman-group1-sha1
  ProxyCommand nc %h %p
Host *.lab !x.lab
  User lab
Match host r1
  User root
";
    check(
        Format::SshConfig,
        text,
        &nothing,
        expect![[r#"
            + bastion.example.net  host: bastion.example.net  port: 2200  platform: linux
            + old  host: 192.0.2.9  platform: autodetect  login: netops  algorithms: legacy
            + r1  host: 192.0.2.1  port: 2222  platform: autodetect  login: netops
            + r2  host: r2.example.net  platform: autodetect  login: netops  via: bastion.example.net,r1
            + r3  host: r3.example.net  platform: autodetect  login: netops  via: bastion.example.net,r1
            note: 1 `Match` blocks are not taken: what they say holds only when connecting
            note: `ProxyCommand` is not taken; `via` names the hops: old
            note: no login in `devices.logins` has the user "jumper" (--login names one): bastion.example.net
            note: no platform is known (`portcullis devices detect` finds it): old, r1, r2 and 1 more
        "#]],
    );
}

const INI: &str = "
lonely ansible_host=192.0.2.7   # not in a group

[core]
r[01:03] ansible_host=192.0.2.1 site=fra
sw:2200 snmp_community=public

[edge]
e1 ansible_network_os=junipernetworks.junos.junos ansible_port=830 ansible_connection=netconf

[network:children]
core
edge

[network:vars]
ansible_network_os = cisco.ios.ios
ansible_user = admin
role = router

[core:vars]
role = core
ansible_ssh_common_args = '-o ProxyJump=me@hop:22'

[here]
localhost ansible_connection=local
";

#[test]
fn ansible_in_ini() {
    let beside = |path: &str| match path {
        "group_vars/all.yml" => Some("site: everywhere\nntp: [a, b]\n".to_owned()),
        "host_vars/e1.yaml" => Some("ansible_host: 192.0.2.20\nrack: \"{{ site }}-1\"\n".to_owned()),
        "group_vars/edge.yml" => Some("$ANSIBLE_VAULT;1.1;AES256\n00\n".to_owned()),
        _ => None,
    };
    check(
        Format::AnsibleIni,
        INI,
        &beside,
        expect![[r#"
        + e1  host: 192.0.2.20  platform: juniper_junos  login: netops  groups: edge,network  labels: role=router,site=everywhere
        + hop  host: hop  platform: linux
        + lonely  host: 192.0.2.7  platform: autodetect  labels: site=everywhere
        + r01  host: 192.0.2.1  platform: cisco_ios  login: netops  via: hop  groups: core,network  labels: role=core,site=fra
        + r02  host: 192.0.2.1  platform: cisco_ios  login: netops  via: hop  groups: core,network  labels: role=core,site=fra
        + r03  host: 192.0.2.1  platform: cisco_ios  login: netops  via: hop  groups: core,network  labels: role=core,site=fra
        + sw  host: sw  port: 2200  platform: cisco_ios  login: netops  via: hop  groups: core,network  labels: role=core,site=everywhere
        note: group_vars/edge.yml is encrypted and was not read
        note: left out, Ansible reaches it by "local": localhost
        note: no login in `devices.logins` has the user "me" (--login names one): hop
        note: no platform is known (`portcullis devices detect` finds it): lonely
        note: the source does not say who logs in (--login names a login): lonely
        note: variables that look like secrets are not taken; `devices.logins` names who logs in: sw
    "#]],
    );
}

#[test]
fn ansible_in_yaml_and_as_a_list_are_the_same() {
    let yaml = "
all:
  vars: { ansible_user: admin }
  children:
    core:
      hosts:
        r1: { ansible_host: 192.0.2.1, rack: 12 }
        r2:
      vars: { ansible_network_os: ios, role: core }
      children: { spine: { hosts: { s1: { ansible_host: 192.0.2.3 } }, vars: { role: spine } } }
";
    let list = r#"{
      "_meta": { "hostvars": {
        "r1": { "ansible_host": "192.0.2.1", "rack": 12, "ansible_user": "admin", "ansible_network_os": "ios", "role": "core" },
        "r2": { "ansible_user": "admin", "ansible_network_os": "ios", "role": "core" },
        "s1": { "ansible_host": "192.0.2.3", "ansible_user": "admin", "ansible_network_os": "ios", "role": "spine" } } },
      "all": { "children": ["ungrouped", "core"] },
      "core": { "children": ["spine"], "hosts": ["r1", "r2"] },
      "spine": { "hosts": ["s1"] } }"#;
    check(
        Format::Yaml,
        yaml,
        &nothing,
        expect![[r#"
        + r1  host: 192.0.2.1  platform: cisco_ios  login: netops  groups: core  labels: rack=12,role=core
        + r2  host: r2  platform: cisco_ios  login: netops  groups: core  labels: role=core
        + s1  host: 192.0.2.3  platform: cisco_ios  login: netops  groups: spine,core  labels: role=spine
    "#]],
    );
    let (from_yaml, from_list) =
        (read(Format::Yaml, yaml, &nothing), read(Format::AnsibleList, list, &nothing));
    assert_eq!(from_yaml.inventory, from_list.inventory);
}

#[test]
fn nornir_with_its_groups_and_defaults() {
    let hosts = "
r1: { hostname: 192.0.2.1, groups: [core], data: { site: fra } }
r2: { hostname: 192.0.2.2, platform: eos, username: admin }
";
    let beside = |path: &str| match path {
        "groups.yaml" => Some(
            "core: { platform: ios, groups: [all], data: { role: core } }\nall: { port: 2022 }\n".to_owned(),
        ),
        "defaults.yaml" => Some("username: nobody\npassword: hidden\n".to_owned()),
        _ => None,
    };
    check(
        Format::Yaml,
        hosts,
        &beside,
        expect![[r#"
        + r1  host: 192.0.2.1  port: 2022  platform: cisco_ios  groups: core,all  labels: role=core,site=fra
        + r2  host: 192.0.2.2  platform: arista_eos  login: netops
        note: no login in `devices.logins` has the user "nobody" (--login names one): r1
        note: passwords are not taken; `devices.logins` names who logs in: r1, r2
    "#]],
    );
}

#[test]
fn the_file_of_netmikos_tools() {
    let text = "
r1: { device_type: cisco_ios, host: 192.0.2.1, username: admin, password: hidden }
r2: { device_type: cisco_ios_telnet, ip: 192.0.2.2 }
core: [r1, r2, r9]
";
    check(
        Format::Yaml,
        text,
        &nothing,
        expect![[r#"
        + r1  host: 192.0.2.1  platform: cisco_ios  login: netops  groups: core
        + r2  host: 192.0.2.2  platform: cisco_ios  transport: telnet  groups: core
        note: passwords are not taken; `devices.logins` names who logs in: r1
        note: the group "core" names what is no device: r9
        note: the source does not say who logs in (--login names a login): r2
    "#]],
    );
}

#[test]
fn tables() {
    let text = "Name;IP Address;Platform;Username;Password;Site;Group\r\nr1;192.0.2.1/24;ios;admin;hidden;FRA;core edge\r\n;;;;;;\r\n\"r 2\";192.0.2.2;unheard;;;MUC;\r\n";
    check(
        Format::Csv,
        text,
        &nothing,
        expect![[r#"
        + r-2  host: 192.0.2.2  platform: autodetect  labels: site=MUC
        + r1  host: 192.0.2.1  platform: cisco_ios  login: netops  groups: core,edge  labels: site=FRA
        note: columns that look like secrets are not taken; `devices.logins` names who logs in
        note: named differently here, where names are of A-Z a-z 0-9 . _ -: r 2
        note: no platform is known (`portcullis devices detect` finds it): r-2
        note: the platform "unheard" is not known here: r-2
        note: the source does not say who logs in (--login names a login): r-2
    "#]],
    );
}

#[test]
fn ours() {
    let text = "
devices:
  logins: { x: { user: y } }
  groups: { core: { platform: cisco_ios } }
  inventory: { r1: { host: 192.0.2.1, groups: [core] } }
";
    check(
        Format::Yaml,
        text,
        &nothing,
        expect![[r#"
        + r1  host: 192.0.2.1  groups: core
        + group core  platform: cisco_ios
    "#]],
    );
}

#[test]
fn what_cannot_be_read_says_where() {
    for (format, text, said) in [
        (Format::Yaml, "a: [", "not valid YAML: line"),
        (Format::Yaml, "", "it is empty"),
        (Format::Yaml, "a: { b: c }", "none of the forms"),
        (Format::Yaml, "inventory: [1]", "its `inventory` is no mapping"),
        (Format::Yaml, "all: { hosts: [r1] }", "`hosts` of the group \"all\" is no mapping"),
        (Format::AnsibleIni, "[core]\nr1 x", "line 2: \"x\" after the host"),
        (Format::AnsibleIni, "[core:wrong]", "line 1: \"wrong\" is neither"),
        (Format::AnsibleIni, "r[9:1]", "is no range"),
        (Format::AnsibleIni, "r[1:9999][1:9999]", "more than 65536"),
        (Format::AnsibleIni, "r[1:9", "without `]`"),
        (Format::AnsibleIni, "# nothing", "names no host"),
        (Format::AnsibleList, "[]", "no list of ansible-inventory"),
        (Format::AnsibleList, r#"{"core": 1}"#, "neither an object nor a list"),
        (Format::Csv, "site,role\nfra,core", "names no column"),
        (Format::Csv, "name,port\nr1,ssh", "line 2: \"ssh\" is no port"),
        (Format::Csv, "name,ip\nr1,192.0.2.1\nr1,192.0.2.2", "line 3: there is a second row"),
        (Format::Csv, "name,ip\nr1", "cannot be read"),
        (Format::SshConfig, "Host r1\n  Port x", "cannot be read"),
    ] {
        let logins = BTreeMap::new();
        let how = plain(&logins);
        let error = import(format, text, &nothing, &how).map(|imported| imported.inventory).unwrap_err();
        assert!(error.to_string().contains(said), "{text:?}: {error}");
    }
}

#[test]
fn forms_are_told_apart() {
    for (name, text, format) in [
        ("hosts.csv", "", Format::Csv),
        ("hosts.yml", "", Format::Yaml),
        ("~/.ssh/config", "", Format::SshConfig),
        ("config", "# mine\nHost r1\n", Format::SshConfig),
        ("hosts", "[core]\nr1\n", Format::AnsibleIni),
        ("list.json", " { \"all\": {} }", Format::AnsibleList),
    ] {
        assert_eq!(guess(name, text), format, "{name}");
    }
}

#[test]
fn an_import_shows_what_it_would_change() {
    let before = Inventory::parse(
        "inventory: { r1: { host: a, labels: { site: fra } }, r2: { host: b }, r3: { host: c } }",
    )
    .unwrap();
    let source = Inventory::parse("groups: { core: { platform: linux } }\ninventory: { r1: { host: z, labels: { site: fra }, port: 23 }, r3: { host: c }, r4: { host: d } }").unwrap();
    let (after, difference) = before.with(&source, false);
    expect![[r#"
        ~ r1  host: a -> z  port: (none) -> 23
        = r2  not in the source, stays
        + r4  host: d
        + group core  platform: linux
    "#]]
    .assert_eq(&(difference.lines().join("\n") + "\n"));
    assert_eq!((difference.unchanged, difference.counts(), after.devices.len()), (1, [2, 1, 0, 1], 4));
    let (pruned, difference) = before.with(&source, true);
    assert_eq!((pruned, difference.counts()), (source.clone(), [2, 1, 1, 0]));
    expect![[r#"{"groups":{"core":{"change":"added","members":{"platform":"linux"}}},"devices":{"r1":{"change":"changed","members":{"host":{"from":"a","to":"z"},"port":{"from":null,"to":23}}},"r2":{"change":"removed"},"r4":{"change":"added","members":{"host":"d"}}},"unchanged":1}"#]].assert_eq(&difference.to_json().to_string());
    let (_, again) = after.with(&source, false);
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn what_no_source_tells_stays() {
    let before = Inventory::parse(
        "inventory: { r1: { host: a, platform: cisco_ios, login: me, host_key: 'SHA256:x', port: 23 } }",
    )
    .unwrap();
    let source = Inventory::parse("inventory: { r1: { host: a, platform: autodetect } }").unwrap();
    let (after, difference) = before.with(&source, false);
    let kept = r#"{"host":"a","platform":"cisco_ios","login":"me","host_key":"SHA256:x"}"#;
    assert_eq!(serde_json::to_string(&after.devices["r1"]).unwrap(), kept);
    assert_eq!(difference.lines(), ["~ r1  port: 23 -> (none)"]);
}

#[test]
fn defaults_of_the_import_are_put_in() {
    let logins = BTreeMap::new();
    let (groups, labels) = (["lab".to_owned()], [("site".to_owned(), "fra".to_owned())]);
    let how = How {
        platform: Some("arista_eos"),
        login: Some("keys"),
        groups: &groups,
        labels: &labels,
        ..plain(&logins)
    };
    let imported = import(Format::Csv, "name,site\nr1,muc\nr2,\n", &nothing, &how).unwrap();
    expect![[r##"
        # Network devices, for `devices.inventory_files` of the configuration. `portcullis inventory import` writes this file;
        # what is changed by hand is shown as a difference before the next import takes it back.
        inventory:
          "r1": {"host":"r1","platform":"arista_eos","login":"keys","labels":{"site":"muc"},"groups":["lab"]}
          "r2": {"host":"r2","platform":"arista_eos","login":"keys","groups":["lab"],"labels":{"site":"fra"}}
    "##]].assert_eq(&imported.inventory.text());
}

#[test]
fn a_platform_of_a_group_is_not_said_again() {
    let (logins, telling) = (BTreeMap::new(), BTreeSet::from(["core".to_owned()]));
    let groups = ["core".to_owned()];
    let how = How { group_platforms: &telling, groups: &groups, ..plain(&logins) };
    let imported = import(Format::Csv, "name,platform\nr1,\nr2,eos\n", &nothing, &how).unwrap();
    assert_eq!(imported.inventory.devices["r1"].get("platform"), None);
    assert_eq!(imported.inventory.devices["r2"]["platform"], "arista_eos");
}

#[test]
fn what_may_be_secret_becomes_no_label() {
    for (name, value) in [
        ("snmp_ro", "public"),
        ("enable", "x"),
        ("bgp_md5", "x"),
        ("login_pw", "x"),
        ("vendor_url", "https://me:pw@host/"),
        ("motd", "$1$abcd$efgh"),
        ("blob", "-----BEGIN PRIVATE KEY-----"),
        ("template", "{{ other }}"),
    ] {
        assert_eq!(fit::label(name, &Value::from(value)), None, "{name}");
    }
    for (name, value) in [
        ("site", "fra"),
        ("role", "core"),
        ("product", "router"),
        ("rack", "A 12"),
        ("url", "https://host/a@b"),
    ] {
        assert_eq!(fit::label(name, &Value::from(value)).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn what_an_ssh_configuration_includes_stands_where_it_is_included() {
    let files = |name: &str| match name {
        "conf.d/*" => Ok(vec!["Host a\n  Port 2201\n".to_owned(), "Host b\n  User bob\n".to_owned()]),
        "nested" => Ok(vec!["Include ports\n  User nested\nHost never\n".to_owned()]),
        "my dir/x" => Ok(vec!["Host d\n".to_owned()]),
        "ports" => Ok(vec!["  Port 2222\n".to_owned()]),
        "itself" => Ok(vec!["Include itself\n".to_owned()]),
        name => Err(ImportError(format!("{name} cannot be read"))),
    };
    let text = "Include conf.d/*\nUser all\nHost c\n  Include=\"ports\"\n  HostName 192.0.2.3\n\
                Host e\n  Include nested\nMatch exec true\n  Include none\nHost *\n  Include \"my dir/x\"\n";
    let whole = with_includes(text, &files).unwrap();
    let found = ssh_config::read(&whole).unwrap();
    let told = |name: &str| {
        let host = &found.hosts[name];
        (host.address.as_deref(), host.port, host.user.as_deref())
    };
    assert_eq!(told("a"), (Some("a"), Some(2201), Some("all")));
    assert_eq!(told("b"), (Some("b"), None, Some("bob")));
    assert_eq!(told("c"), (Some("192.0.2.3"), Some(2222), Some("all")));
    // What is included for one is for nobody else, however deep, and names no others.
    assert_eq!(told("e"), (Some("e"), Some(2222), Some("all")));
    assert_eq!(found.hosts.keys().collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    let notes = found.notes.lines();
    assert!(notes.len() == 1 && notes[0].starts_with("1 `Match` blocks are not taken"), "{notes:?}");
    for (text, wanted) in [("Include itself", "16 deep"), ("Include none", "none cannot be read")] {
        let error = with_includes(text, &files).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

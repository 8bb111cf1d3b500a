//! Tables and logs of vendors that print them in forms of their own.

use super::*;

/// The routes of an output, a line each: network, hop, interface, protocol, distance, metric.
fn routes_of(platform: &str, text: &str) -> Vec<String> {
    let platform = named(platform).unwrap();
    let by = &platform.intents[&Intent::Routes];
    let one = |route: Route| {
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let hop = route.next_hop.unwrap_or_else(|| if route.discards { "nowhere" } else { "-" }.to_owned());
        let interface = route.interface.unwrap_or_else(|| "-".to_owned());
        let (distance, metric) = (number(route.distance), number(route.metric));
        format!("{} {hop} {interface} {} {distance}/{metric}", route.network, route.protocol)
    };
    routes(platform, by.template().unwrap(), text).unwrap().into_iter().map(one).collect()
}

/// The interfaces of an output, a line each: name, status, protocol, address, mask.
fn interfaces_of(platform: &str, text: &str) -> Vec<String> {
    let by = &named(platform).unwrap().intents[&Intent::Interfaces];
    let one = |one: Interface| {
        let none = || "-".to_owned();
        let (ip, mask) = (one.ip.unwrap_or_else(none), one.subnet_mask.unwrap_or_else(none));
        format!("{} {} {} {ip} {mask}", one.name, one.status, one.protocol)
    };
    interfaces(by.template().unwrap(), text).unwrap().into_iter().map(one).collect()
}

/// The messages of an output, a line each: time, severity, text.
fn log_of(text: &str) -> Vec<String> {
    let one = |one: Message| {
        let severity = one.severity.map_or_else(String::new, |severity| format!("{severity:?}"));
        format!("{} {severity} {}", one.timestamp.unwrap_or_default(), one.message)
    };
    messages(text).unwrap().into_iter().map(one).collect()
}

#[test]
fn of_fortios() {
    let table = "\
Codes: K - kernel, C - connected, S - static, R - RIP, B - BGP
       * - candidate default

Routing table for VRF=0
S*      0.0.0.0/0 [10/0] via 203.0.113.1, wan1, [1/0]
                  [10/0] via 203.0.113.5, wan2, [1/0]
S       10.0.0.0/8 [254/0] is a summary, Null, [1/0]
O E2    10.1.0.0/16 [110/20] via 192.0.2.2, port3, 22:00:53
O*IA    10.2.0.0/16 [110/3] via 192.0.2.2, port3, 3d13h31m, [1/0]
S       10.3.0.0/16 [10/0] via to-hub tunnel 198.51.100.1, [1/0]
B       10.4.0.0/16 [200/0] via 192.0.2.9 (recursive via 192.0.2.2, port3), 2d18h02m
C       192.0.2.0/30 is directly connected, port3
";
    let wanted = [
        "0.0.0.0/0 203.0.113.1 wan1 static 10/0",
        "0.0.0.0/0 203.0.113.5 wan2 static 10/0",
        "10.0.0.0/8 - Null static 254/0",
        "10.1.0.0/16 192.0.2.2 port3 ospf 110/20",
        "10.2.0.0/16 192.0.2.2 port3 ospf 110/3",
        "10.3.0.0/16 - to-hub static 10/0",
        "10.4.0.0/16 192.0.2.9 port3 bgp 200/0",
        "192.0.2.0/30 - port3 connected 0/0",
    ];
    assert_eq!(routes_of("fortinet", table), wanted.map(|line| line.replace(" - Null", " nowhere Null")));
    let interfaces = "\
== [ wan1 ]
name: wan1   mode: dhcp    ip: 203.0.113.2 255.255.255.252   status: up    netbios-forward: disable    type: physical
== [ dmz ]
name: dmz   mode: static    management-ip: 0.0.0.0 0.0.0.0   ip: 0.0.0.0 0.0.0.0   status: down    type: physical
== [ internal1 ]
name: internal1   status: up    type: physical
";
    let wanted = ["wan1 up up 203.0.113.2 255.255.255.252", "dmz down down - -", "internal1 up up - -"];
    assert_eq!(interfaces_of("fortinet", interfaces), wanted);
    let log = "\
2 logs found.
2 logs returned.

1: date=2026-11-28 time=06:00:01 eventtime=1795845601 tz=\"+0000\" logid=\"0100032001\" type=\"event\" subtype=\"system\" level=\"information\" vd=\"root\" msg=\"Administrator in\"
2: date=2026-11-28 time=05:00:01 logid=\"0100020099\" type=\"event\" level=\"warning\" msg=\"Link monitor: port3 is down\"
";
    let lines = log_of(log);
    assert!(
        lines[0].starts_with("2026-11-28 06:00:01 Informational eventtime=") && lines.len() == 2,
        "{lines:?}"
    );
    assert!(lines[1].starts_with("2026-11-28 05:00:01 Warning ") && lines[1].ends_with("port3 is down\""));
}

#[test]
fn of_pan_os() {
    let table = "\
flags: A:active, ?:loose, C:connect, H:host, S:static, ~:internal, R:rip, O:ospf, B:bgp

VIRTUAL ROUTER: edge (id 1)
  ==========
destination                                 nexthop                                 metric flags      age   interface          next-AS
0.0.0.0/0                                   203.0.113.1                             10     A S              ethernet1/1
10.0.0.0/8                                  discard                                 10     A S
10.1.0.0/16                                 192.0.2.2                                      A?B        121661                   65213
10.2.0.0/16                                 192.0.2.2                               10     A Oi       3474418 ae1.255
10.3.0.0/16                                 192.0.2.2                               10       S              ethernet1/1
192.0.2.0/30                                192.0.2.1                               0      A C              ethernet1/2
192.0.2.1/32                                0.0.0.0                                 0      A H

VIRTUAL ROUTER: guests (id 2)
  ==========
0.0.0.0/0                                   198.51.100.1                            10     A S              ethernet1/3
total routes shown: 8
";
    let wanted = [
        "0.0.0.0/0 203.0.113.1 ethernet1/1 static -/10",
        "10.0.0.0/8 nowhere - static -/10",
        "10.1.0.0/16 192.0.2.2 - bgp -/-",
        "10.2.0.0/16 192.0.2.2 ae1.255 ospf -/10",
        "192.0.2.0/30 - ethernet1/2 connected 0/0",
        "192.0.2.1/32 - - local 0/0",
        "0.0.0.0/0 198.51.100.1 ethernet1/3 static -/10",
    ];
    assert_eq!(routes_of("paloalto_panos", table), wanted);
    let platform = named("paloalto_panos").unwrap();
    let routes = routes(platform, "paloalto_panos_routes", table).unwrap();
    assert_eq!((routes[0].vrf.as_deref(), routes[6].vrf.as_deref()), (Some("edge"), Some("guests")));
    // Two tables with a default route each have no route of equal cost.
    let analysis = analysis(&routes);
    assert_eq!(analysis.equal_cost, BTreeMap::new());
    assert_eq!(analysis.default_routes, ["203.0.113.1 in edge", "198.51.100.1 in guests"]);
    assert_eq!(analysis.discarded, ["10.0.0.0/8 in edge"]);
    let missing = analysis.missing_next_hops.iter().map(|one| one.network.as_str());
    // Of the guests no network is connected, so nothing is said of theirs.
    assert_eq!(missing.collect::<Vec<_>>(), ["0.0.0.0/0 in edge"]);
    let interfaces = "\
total configured hardware interfaces: 4

name                    id    speed/duplex/state            mac address
--------------------------------------------------------------------------------
ethernet1/1             16    1000/full/up                  00:00:5e:00:53:01
ethernet1/2             17    ukn/ukn/down(autoneg)         00:00:5e:00:53:02
ethernet1/3             18    ukn/ukn/down(power-down)      00:00:5e:00:53:03
ae1                     48    [n/a]/[n/a]/up                00:00:5e:00:53:04

aggregation groups: 1
ae1 members:
  ethernet1/7 ethernet1/8
total configured logical interfaces: 4

name                id    vsys zone             forwarding               tag    address
------------------- ----- ---- ---------------- ------------------------ ------ ------------------
ethernet1/1         16    1    outside          vr:edge                  0      203.0.113.2/30
ethernet1/2         17    1                     vr:edge                  0      N/A
ae1.100             132   1    Guest LAN        vr:edge                  100    10.67.204.2/23
                                                                                10.67.206.2/23
";
    let wanted = [
        "ethernet1/1 up up 203.0.113.2 255.255.255.252",
        "ethernet1/2 down down - -",
        "ethernet1/3 administratively down down - -",
        "ae1 up up - -",
        "ae1.100 up up 10.67.204.2 255.255.254.0",
    ];
    assert_eq!(interfaces_of("paloalto_panos", interfaces), wanted);
    let log = "\
Time                Severity Subtype Object EventID ID Description
===============================================================================
2026/11/28 05:00:01 info     general        general 0  User ops logged in via CLI from 192.0.2.9
2026/11/28 05:00:02 high     ha             ha2-link-change 0  HA2-Backup link down
";
    assert_eq!(
        log_of(log),
        [
            "2026/11/28 05:00:01 Informational general        general 0  User ops logged in via CLI from 192.0.2.9",
            "2026/11/28 05:00:02 Error ha             ha2-link-change 0  HA2-Backup link down",
        ]
    );
}

#[test]
fn of_sr_os() {
    let table = "\
===============================================================================
Route Table (Router: Base)
===============================================================================
Dest Prefix[Flags]                            Type    Proto     Age        Pref
      Next Hop[Interface Name]                                    Metric
-------------------------------------------------------------------------------
10.0.0.0/8                                    Blackh* Static    00h01m02s  5
       Black Hole                                                   1
10.10.10.0/30                                 Local   Local     01d23h50m  0
       to R2                                                        0
198.51.100.0/24 [B]                           Remote  BGP       22h17m22s  170
       192.0.2.2                                                    0
198.51.100.0/24                               Remote  BGP       22h17m22s  170
       192.0.2.6 (tunneled:RSVP:1)                                  0
203.0.113.2/32                                Remote  BGP VPN   22h17m22s  170
       192.0.2.2 (tunneled)                                         0
10.255.0.2/32                                 Remote  OSPF      03h01m17s  10
       192.0.2.2                                                    100
-------------------------------------------------------------------------------
No. of Routes: 6
Flags: n = Number of times nexthop is repeated
       B = BGP backup route available
===============================================================================
";
    let wanted = [
        "10.0.0.0/8 nowhere - static 5/1",
        "10.10.10.0/30 - to R2 connected 0/0",
        "198.51.100.0/24 192.0.2.2 - bgp 170/0",
        "198.51.100.0/24 192.0.2.6 - bgp 170/0",
        "203.0.113.2/32 192.0.2.2 - bgp 170/0",
        "10.255.0.2/32 192.0.2.2 - ospf 10/100",
    ];
    assert_eq!(routes_of("nokia_sros", table), wanted);
    assert_eq!(routes_of("nokia_sros_classic", table), wanted);
    let interfaces = "\
===============================================================================
Interface Table (Router: Base)
===============================================================================
Interface-Name                   Adm       Opr(v4/v6)  Mode    Port/SapId
   IP-Address                                                  PfxState
-------------------------------------------------------------------------------
To R2                            Up        Up/Up       Network 1/1/c1/1
   192.0.2.1/30                                                n/a
   198.51.100.1/30                                             n/a
   2001:db8::4/124                                             PREFERRED
off                              Down      Down/Down   Network 1/1/c2/1
   203.0.113.1/32                                              n/a
system                           Up        Down/Down   Network system
   -                                                           -
-------------------------------------------------------------------------------
Interfaces : 3
===============================================================================
";
    let wanted = [
        "To R2 up up 192.0.2.1 255.255.255.252",
        "off administratively down down 203.0.113.1 255.255.255.255",
        "system down down - -",
    ];
    assert_eq!(interfaces_of("nokia_sros", interfaces), wanted);
    let log = "\
===============================================================================
Event Log 99 log-name 99
===============================================================================
Description : Default System Log
Memory Log contents  [size=500   next event=116  (not wrapped)]

115 2026/11/28 16:21:45.072 UTC WARNING: SNMP #2005 Base to-R2
\"Interface to-R2 is operational\"

114 2026/11/28 16:21:44.072 UTC MAJOR: SYSTEM #2013 Base
\"Port 1/1/2
is down\"
";
    assert_eq!(
        log_of(log),
        [
            "2026/11/28 16:21:45.072 UTC Warning SNMP #2005 Base to-R2 \"Interface to-R2 is operational\"",
            "2026/11/28 16:21:44.072 UTC Critical SYSTEM #2013 Base \"Port 1/1/2 is down\"",
        ]
    );
    assert!(named("nokia_sros").unwrap().intents[&Intent::Log].newest_first);
}

#[test]
fn of_sr_linux() {
    let table = "\
----------------------------------------------------------------------------------------------
IPv4 unicast route table of network instance default
----------------------------------------------------------------------------------------------
+-----------------+-------+------------+----------------------+----------+----------+---------+------------+---------------------+---------------------+--------+--------+
|     Prefix      |  ID   | Route Type |     Route Owner      |  Active  |  Origin  | Metric  |    Pref    |   Next-hop (Type)   | Next-hop Interface  | Backup | Backup |
|                 |       |            |                      |          | Network  |         |            |                     |                     |        |        |
+=================+=======+============+======================+==========+==========+=========+============+=====================+=====================+========+========+
| 0.0.0.0/0       | 0     | bgp        | bgp_mgr              | True     | default  | 0       | 170        | 192.0.2.2/30        | ethernet-1/31.0     |        |        |
|                 |       |            |                      |          |          |         |            | (indirect/local)    |                     |        |        |
|                 |       |            |                      |          |          |         |            | 192.0.2.6/30        | ethernet-1/32.0     |        |        |
|                 |       |            |                      |          |          |         |            | (indirect/local)    |                     |        |        |
| 10.0.0.0/8      | 0     | static     | static_route_mgr     | True     | default  | 1       | 5          | None (blackhole)    | None                |        |        |
| 10.1.0.0/16     | 0     | bgp        | bgp_mgr              | False    | default  | 0       | 170        | 192.0.2.2/30        | None                |        |        |
|                 |       |            |                      |          |          |         |            | 192.0.2.6/30        | None                |        |        |
| 10.255.0.2/32   | 0     | ospfv2     | ospf_mgr             | True     | default  | 16      | 10         | fe80::18b2:23ff:1   | ethernet-1/31.0     |        |        |
| 192.0.2.0/30    | 3     | local      | net_inst_mgr         | True     | default  | 0       | 0          | 192.0.2.1 (direct)  | ethernet-1/31.0     |        |        |
| 192.0.2.1/32    | 3     | host       | net_inst_mgr         | True     | default  | 0       | 0          | None (extract)      | None                |        |        |
| 192.0.2.3/32    | 3     | host       | net_inst_mgr         | True     | default  | 0       | 0          | None (broadcast)    |                     |        |        |
+-----------------+-------+------------+----------------------+----------+----------+---------+------------+---------------------+---------------------+--------+--------+
";
    let wanted = [
        "0.0.0.0/0 192.0.2.2 ethernet-1/31.0 bgp 170/0",
        "0.0.0.0/0 192.0.2.6 ethernet-1/32.0 bgp 170/0",
        "10.0.0.0/8 nowhere - static 5/1",
        "10.255.0.2/32 fe80::18b2:23ff:1 ethernet-1/31.0 ospf 10/16",
        "192.0.2.0/30 - ethernet-1/31.0 connected 0/0",
        "192.0.2.1/32 - - local 0/0",
        "192.0.2.3/32 - - local 0/0",
    ];
    assert_eq!(routes_of("nokia_srl", table), wanted);
    let older = "\
| 1.1.1.1/32      | 0     | true       | host            | 0       | 0     | None (extract)            | None              |
| 198.51.100.2/32 | 0     | true       | bgp             | 0       | 170   | 192.0.2.2 (indirect)      | None              |
";
    let wanted = ["1.1.1.1/32 - - local 0/0", "198.51.100.2/32 192.0.2.2 - bgp 170/0"];
    assert_eq!(routes_of("nokia_srl", older), wanted);
    let interfaces = "\
=====================================================================================
ethernet-1/1 is up, speed 25G, type None
  ethernet-1/1.10 is up
    Network-instances:
      * Name: default (default)
    Encapsulation   : vlan-id 10
    Type            : routed
    IPv4 addr    : 192.0.2.1/30 (static, preferred, primary)
    IPv4 addr    : 198.51.100.1/30 (static, preferred)
    IPv6 addr    : fe80::18c7:ff:feff:1/64 (link-layer, preferred)
  ethernet-1/1.20 is down, reason no-ip-config
-------------------------------------------------------------------------------------
ethernet-1/2 is down, reason port-admin-disabled
-------------------------------------------------------------------------------------
=====================================================================================
Summary
  0 loopback interfaces configured
";
    let wanted = [
        "ethernet-1/1 up up - -",
        "ethernet-1/1.10 up up 192.0.2.1 255.255.255.252",
        "ethernet-1/1.20 down down - -",
        "ethernet-1/2 administratively down down - -",
    ];
    assert_eq!(interfaces_of("nokia_srl", interfaces), wanted);
    let log = "2026-11-28T06:00:01.123456+00:00 leaf1 sr_bgp_mgr: bgp|1885|1935|00012|W: the session with peer 192.0.2.2 moved";
    assert_eq!(
        log_of(log),
        [
            "2026-11-28T06:00:01.123456+00:00 Warning sr_bgp_mgr: bgp|1885|1935|00012|W: the session with peer 192.0.2.2 moved"
        ]
    );
}

#[test]
fn of_routeros() {
    let seven = r#"
   DAd   dst-address=0.0.0.0/0 routing-table=main pref-src="" gateway=203.0.113.1 immediate-gw=203.0.113.1%ether1 distance=1 scope=30 target-scope=10 vrf-interface=ether1 suppress-hw-offload=no
   D d   dst-address=0.0.0.0/0 routing-table=main pref-src="" gateway=203.0.113.5 immediate-gw=203.0.113.5%ether2 distance=20 scope=30 target-scope=10
 0  As   comment=to the lab dst-address=10.1.0.0/16 routing-table=main pref-src="" gateway=192.0.2.2 immediate-gw=192.0.2.2%ether3 distance=1 scope=30 target-scope=10
 1  As   dst-address=10.2.0.0/16 routing-table=guests pref-src="" gateway=192.0.2.2 immediate-gw=192.0.2.2%ether3 distance=1 scope=30 target-scope=10
 2  As   dst-address=10.0.0.0/8 routing-table=main pref-src="" gateway="" blackhole distance=254 scope=30
   DAc   dst-address=192.0.2.0/30 routing-table=main gateway=ether3 immediate-gw=ether3 distance=0 scope=10 local-address=192.0.2.1%ether3
   DAc   dst-address=198.51.100.0/30 routing-table=main gateway=LAN guests immediate-gw=LAN guests distance=0 scope=10
   DAv + dst-address=10.4.0.0/16 routing-table=main gateway=pppoe1,pppoe2 immediate-gw=pppoe1,pppoe2 distance=1 scope=30
   DAo + dst-address=10.3.0.0/16 routing-table=main gateway=192.0.2.2%ether3 immediate-gw=192.0.2.2%ether3 distance=110 scope=20 target-scope=10
"#;
    let wanted = [
        "0.0.0.0/0 203.0.113.1 ether1 dhcp 1/-",
        "10.1.0.0/16 192.0.2.2 ether3 static 1/-",
        "10.0.0.0/8 nowhere - static 254/-",
        "192.0.2.0/30 - ether3 connected 0/0",
        "198.51.100.0/30 - LAN guests connected 0/0",
        "10.4.0.0/16 - pppoe2 vpn 1/-",
        "10.4.0.0/16 - pppoe1 vpn 1/-",
        "10.3.0.0/16 192.0.2.2 ether3 ospf 110/-",
    ];
    assert_eq!(routes_of("mikrotik_routeros", seven), wanted);
    let six = "
 0 A S  dst-address=0.0.0.0/0 gateway=203.0.113.1,203.0.113.5 gateway-status=203.0.113.1 reachable via  ether1,203.0.113.5 reachable via  ether2 distance=1 scope=30 target-scope=10
 1 ADC  dst-address=192.0.2.0/30 pref-src=192.0.2.1 gateway=ether3 gateway-status=ether3 reachable distance=0 scope=10
 2 A S  dst-address=10.1.0.0/16 gateway=192.0.2.2 gateway-status=192.0.2.2 reachable via  ether3 distance=1 scope=30 target-scope=10
 3 A SB dst-address=10.0.0.0/8 type=blackhole distance=254
 4 A S  dst-address=0.0.0.0/0 gateway=192.0.2.2 gateway-status=192.0.2.2 reachable via  ether3 distance=1 scope=30 target-scope=10 routing-mark=guests
 5   S  dst-address=10.9.0.0/16 gateway=192.0.2.9 gateway-status=192.0.2.9 unreachable distance=1 scope=30 target-scope=10
";
    let wanted = [
        "0.0.0.0/0 203.0.113.5 - static 1/-",
        "0.0.0.0/0 203.0.113.1 - static 1/-",
        "192.0.2.0/30 - ether3 connected 0/0",
        "10.1.0.0/16 192.0.2.2 ether3 static 1/-",
        "10.0.0.0/8 nowhere - static 254/-",
    ];
    assert_eq!(routes_of("mikrotik_routeros", six), wanted);
    let interfaces = "
 0  R  comment=to the lab name=ether1 default-name=ether1 type=ether mtu=1500 actual-mtu=1500
 1 DRS name=ether2 LAN default-name=ether2 type=ether mtu=1500 actual-mtu=1500
 2  X  name=bridge-old type=bridge mac-address=00:00:5E:00:53:01
 3     name=ether4 default-name=ether4 type=ether mtu=1500 actual-mtu=1500

 0   comment=uplink address=203.0.113.2/30 network=203.0.113.0 interface=ether1 actual-interface=ether1
 1 D address=192.0.2.1/30 network=192.0.2.0 interface=ether2 LAN actual-interface=ether2 LAN
 2 X address=198.51.100.1/30 network=198.51.100.0 interface=ether4 actual-interface=ether4
";
    let wanted = [
        "ether1 up up 203.0.113.2 255.255.255.252",
        "ether2 LAN up up 192.0.2.1 255.255.255.252",
        "bridge-old administratively down down - -",
        "ether4 down down - -",
    ];
    assert_eq!(interfaces_of("mikrotik_routeros", interfaces), wanted);
    let log = "
jan/02/2026 00:00:12 system,info router rebooted
2026-11-28 05:00:01 system,error,critical login failure for user ops from 192.0.2.9 via ssh
06:00:01 interface,info ether1 link up (speed 1G, full duplex)
";
    assert_eq!(
        log_of(log),
        [
            "jan/02/2026 00:00:12 Informational system,info router rebooted",
            "2026-11-28 05:00:01 Critical system,error,critical login failure for user ops from 192.0.2.9 via ssh",
            "06:00:01 Informational interface,info ether1 link up (speed 1G, full duplex)",
        ]
    );
}

/// An interface of Junos that is switched off is not one whose line is down.
#[test]
fn of_junos() {
    let terse = "\
Interface               Admin Link Proto    Local                 Remote
ge-0/0/0                up    up
ge-0/0/0.0              up    up   inet     192.0.2.1/30
                                   inet     198.51.100.1/30
                                   mpls
ge-0/0/1                up    down
ge-0/0/2                down  down
";
    let wanted = [
        "ge-0/0/0 up up - -",
        "ge-0/0/0.0 up up 192.0.2.1 255.255.255.252",
        "ge-0/0/1 down down - -",
        "ge-0/0/2 administratively down down - -",
    ];
    assert_eq!(interfaces_of("juniper_junos", terse), wanted);
}

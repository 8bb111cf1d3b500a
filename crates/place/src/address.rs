//! Which addresses are on the public internet, and which are our own network or nobody's.
//!
//! A server that fetches what a caller names must not be led to its own neighbours: cloud metadata, admin pages,
//! databases. So an address is refused unless it is global unicast, and IPv6 forms that carry an IPv4 address
//! (mapped, NAT64, 6to4, Teredo) are refused whatever they carry. Source: the IANA special-purpose address
//! registries (RFC 6890 and what updates it).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is, where it is not on the public internet; `None` where it is.
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => V4.iter().find(|range| range.holds(v4)).map(|range| range.what),
        IpAddr::V6(v6) if !GLOBAL_UNICAST.holds(v6) => Some(
            V6_OUTSIDE.iter().find(|range| range.holds(v6)).map_or("an address of no known use", |r| r.what),
        ),
        IpAddr::V6(v6) => V6_INSIDE.iter().find(|range| range.holds(v6)).map(|range| range.what),
    }
}

/// True for the addresses of a network that someone runs for themselves: loopback, private, unique local and
/// carrier-grade NAT. A host *name* that an operator trusts may lead to these, and to no other forbidden address.
pub fn own_network(address: IpAddr) -> bool {
    matches!(forbidden(address), Some(LOOPBACK | PRIVATE | UNIQUE_LOCAL | CARRIER))
}

const LOOPBACK: &str = "a loopback address";
const PRIVATE: &str = "an address of a private network";
const UNIQUE_LOCAL: &str = "a unique local address";
const CARRIER: &str = "an address behind carrier-grade NAT";
const METADATA: &str = "an address of cloud metadata";
const LINK_LOCAL: &str = "a link-local address";
const RESERVED: &str = "a reserved address";
const DOCUMENTATION: &str = "an address for documentation";
const EMBEDS: &str = "an IPv6 form of an IPv4 address";

struct V4Range {
    first: Ipv4Addr,
    bits: u32,
    what: &'static str,
}

struct V6Range {
    first: Ipv6Addr,
    bits: u32,
    what: &'static str,
}

const fn v4(a: u8, b: u8, c: u8, bits: u32, what: &'static str) -> V4Range {
    V4Range { first: Ipv4Addr::new(a, b, c, 0), bits, what }
}

const fn v6(a: u16, b: u16, c: u16, bits: u32, what: &'static str) -> V6Range {
    V6Range { first: Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), bits, what }
}

const V4: &[V4Range] = &[
    V4Range { first: Ipv4Addr::new(100, 100, 100, 200), bits: 32, what: METADATA }, // Alibaba Cloud
    v4(0, 0, 0, 8, "an address of this network"), // RFC 791; 0.0.0.0 reaches loopback on Linux
    v4(10, 0, 0, 8, PRIVATE),                     // RFC 1918
    v4(100, 64, 0, 10, CARRIER),                  // RFC 6598; some clouds keep metadata here
    v4(127, 0, 0, 8, LOOPBACK),                   // RFC 1122
    v4(169, 254, 0, 16, LINK_LOCAL),              // RFC 3927; cloud metadata
    v4(172, 16, 0, 12, PRIVATE),                  // RFC 1918
    v4(192, 0, 0, 24, RESERVED),                  // RFC 6890
    v4(192, 0, 2, 24, DOCUMENTATION),             // RFC 5737
    v4(192, 88, 99, 24, RESERVED),                // RFC 7526, once 6to4 relays
    v4(192, 168, 0, 16, PRIVATE),                 // RFC 1918
    v4(198, 18, 0, 15, RESERVED),                 // RFC 2544, benchmarks
    v4(198, 51, 100, 24, DOCUMENTATION),          // RFC 5737
    v4(203, 0, 113, 24, DOCUMENTATION),           // RFC 5737
    v4(224, 0, 0, 4, "a multicast address"),      // RFC 5771
    v4(240, 0, 0, 4, RESERVED),                   // RFC 1112; 255.255.255.255 is broadcast
];

const GLOBAL_UNICAST: V6Range = v6(0x2000, 0, 0, 3, "");

/// Refused although they lie in 2000::/3.
const V6_INSIDE: &[V6Range] = &[
    v6(0x2001, 0, 0, 32, EMBEDS),            // RFC 4380, Teredo
    v6(0x2001, 0, 0, 23, RESERVED),          // RFC 2928, protocol assignments: ORCHID, benchmarks, anycast
    v6(0x2001, 0xdb8, 0, 32, DOCUMENTATION), // RFC 3849
    v6(0x2002, 0, 0, 16, EMBEDS),            // RFC 3056, 6to4
    v6(0x3fff, 0, 0, 20, DOCUMENTATION),     // RFC 9637
];

/// Names for the best known of what lies outside 2000::/3; all of that is refused, named here or not.
const V6_OUTSIDE: &[V6Range] = &[
    v6(0xfd00, 0xec2, 0, 32, METADATA), // Amazon EC2
    V6Range { first: Ipv6Addr::LOCALHOST, bits: 128, what: LOOPBACK },
    V6Range { first: Ipv6Addr::UNSPECIFIED, bits: 128, what: "the unspecified address" },
    v6(0, 0, 0, 80, EMBEDS),                   // RFC 4291, v4-mapped and v4-compatible
    v6(0x64, 0xff9b, 0, 96, EMBEDS),           // RFC 6052, NAT64
    v6(0x64, 0xff9b, 1, 48, EMBEDS),           // RFC 8215, NAT64 for local use
    v6(0x100, 0, 0, 64, "the discard prefix"), // RFC 6666
    v6(0xfc00, 0, 0, 7, UNIQUE_LOCAL),         // RFC 4193
    v6(0xfe80, 0, 0, 10, LINK_LOCAL),          // RFC 4291
    v6(0xfec0, 0, 0, 10, "a site-local address"), // RFC 3879
    v6(0xff00, 0, 0, 8, "a multicast address"), // RFC 4291
];

impl V4Range {
    fn holds(&self, address: Ipv4Addr) -> bool {
        (address.to_bits() ^ self.first.to_bits()) >> (32 - self.bits) == 0
    }
}

impl V6Range {
    fn holds(&self, address: Ipv6Addr) -> bool {
        (address.to_bits() ^ self.first.to_bits()) >> (128 - self.bits) == 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn every_range_is_refused_from_its_first_to_its_last_address() {
        for range in V4 {
            let first = range.first.to_bits();
            let last = first | u32::MAX.checked_shr(range.bits).unwrap_or(0);
            for bits in [first, last] {
                assert!(forbidden(Ipv4Addr::from_bits(bits).into()).is_some(), "{}", range.first);
            }
        }
        for range in V6_INSIDE.iter().chain(V6_OUTSIDE) {
            let first = range.first.to_bits();
            let last = first | u128::MAX.checked_shr(range.bits).unwrap_or(0);
            for bits in [first, last] {
                assert!(forbidden(Ipv6Addr::from_bits(bits).into()).is_some(), "{}", range.first);
            }
        }
    }

    #[test]
    fn neighbours_of_the_ranges_are_public_and_what_is_between_is_named() {
        let shown: Vec<_> = "0.255.255.255 1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 \
             127.0.0.1 128.0.0.0 169.253.255.255 169.254.169.254 169.255.0.0 172.15.255.255 172.31.255.255 \
             172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 \
             255.255.255.255 8.8.8.8 :: ::1 ::2 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1 \
             64:ff9b:1::1 100::1 2000:: 2001::1 2001:200:: 2001:db8::1 2001:db9:: 2002:7f00:1:: 2003:: 3fff::1 \
             3fff:1000:: 4000:: 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 2606:4700::1111"
            .split_whitespace()
            .map(|text| format!("{text}: {}", forbidden(text.parse().unwrap()).unwrap_or("public")))
            .collect();
        expect![[r#"
            0.255.255.255: an address of this network
            1.0.0.0: public
            9.255.255.255: public
            11.0.0.0: public
            100.63.255.255: public
            100.128.0.0: public
            126.255.255.255: public
            127.0.0.1: a loopback address
            128.0.0.0: public
            169.253.255.255: public
            169.254.169.254: a link-local address
            169.255.0.0: public
            172.15.255.255: public
            172.31.255.255: an address of a private network
            172.32.0.0: public
            192.0.1.0: public
            192.167.255.255: public
            192.169.0.0: public
            198.17.255.255: public
            198.20.0.0: public
            223.255.255.255: public
            255.255.255.255: a reserved address
            8.8.8.8: public
            ::: the unspecified address
            ::1: a loopback address
            ::2: an IPv6 form of an IPv4 address
            ::127.0.0.1: an IPv6 form of an IPv4 address
            ::ffff:127.0.0.1: an IPv6 form of an IPv4 address
            ::ffff:8.8.8.8: an IPv6 form of an IPv4 address
            64:ff9b::7f00:1: an IPv6 form of an IPv4 address
            64:ff9b:1::1: an IPv6 form of an IPv4 address
            100::1: the discard prefix
            2000::: public
            2001::1: an IPv6 form of an IPv4 address
            2001:200::: public
            2001:db8::1: an address for documentation
            2001:db9::: public
            2002:7f00:1::: an IPv6 form of an IPv4 address
            2003::: public
            3fff::1: an address for documentation
            3fff:1000::: public
            4000::: an address of no known use
            5f00::1: an address of no known use
            fc00::1: a unique local address
            fd00:ec2::254: an address of cloud metadata
            fe80::1: a link-local address
            fec0::1: a site-local address
            ff02::1: a multicast address
            2606:4700::1111: public"#]]
        .assert_eq(&shown.join("\n"));
    }

    #[test]
    fn a_trusted_name_may_not_lead_to_metadata_or_multicast() {
        for (text, own) in [
            ("127.0.0.1", true),
            ("10.0.0.1", true),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("169.254.169.254", false),
            ("100.100.100.200", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(own_network(text.parse().unwrap()), own, "{text}");
        }
    }
}

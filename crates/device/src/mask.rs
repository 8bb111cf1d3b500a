//! Secrets in what devices print: passwords, keys, communities and hashes are masked before anything else sees them.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexSet, RegexSetBuilder};

use crate::platform::Platform;

/// The most memory of the patterns together, in bytes.
const SET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most secrets that a pattern masks in one line.
const PER_LINE_MAX: usize = 64;
/// What stands in the place of a secret.
const MASK: &str = "[redacted]";

/// A word that says how a secret is written, and is none itself.
const KIND: &str = r"(?:(?:\d{1,2}|level \d+|role \S+|encrypted|encryption|hash|hashed|sha\d*|sha-?256|sha-?512|md5|bcrypt|scrypt|pbkdf2|plaintext|clear-?text|cipher|irreversible-cipher|simple|ENC|localized|auth|priv|text|plain|encrypted-password|key|aes(?: ?\d{3})?|des|3des|aes-?\d{3}\S*|prompt|secret|ascii|hex|=) +)*";

/// Lines that hold secrets on more than one platform: what comes before, and the secret itself as `s`.
const LINES: &[&str] = &[
    // passwords and secrets by their own name; not `password` at the end of a line, nor what asks for one
    r#"(?i)(?:^|[\s\-_"])(?:enable[\s-](?:secret|password)|password|passwd|passphrase|secret|pre-?shared-?(?:key|secret)|psk(?:secret)?|psksecret|ppk-secret|shared-secret|wpa-psk|wpa2-psk|ascii-key|hex-key|key-string|auth(?:entication)?-key|authentication-password|encryption-password|encrypted-password|auth-password|priv-password|authpass|privpass|auth-pwd|priv-pwd|md5-key|simple-password|md5-password|ldap-password|bind-password|trap-community|private-key|password-hash|passphrase-key|api-?key|token|sae-password|ppp-secret|wep-key\d?|radius-key|tacacs-key|login-password|snmp-?community|community-name|rocommunity6?|rwcommunity6?)(?:["']?\s*[:=]\s*|\s+)KIND(?P<s>"[^"]*"|'[^']*'|[^\s;,]+)"#,
    // SNMP: communities, hosts and users
    r#"(?i)\bsnmp(?:-server|-agent)?\s+(?:\S+\s+)?community\s+(?:(?:read|write|name|cipher|simple|ro|rw|encrypted|\d|string)\s+)*(?P<s>"[^"]*"|\S+)"#,
    r#"(?i)^\s*community\s+(?P<s>"[^"]*"|[^\s{;]+)"#,
    r#"(?i)\bsnmp-server\s+host\s+\S+.*?\s(?:version\s+)?(?:1|2c)\s+(?:\d\s+)?(?P<s>"[^"]*"|\S+)"#,
    r#"(?i)\bsnmp-server\s+host\s+\S+\s+(?:traps?|informs?)\s+(?:version\s+(?:1|2c)\s+)?(?P<s>\S+)"#,
    r#"(?i)\bsnmp(?:-server)?\s+user\s+.*?\b(?:auth|authentication)\s+(?:md5|sha\S*)\s+KIND(?P<s>"[^"]*"|\S+)"#,
    r#"(?i)\bsnmp(?:-server)?\s+user\s+.*?\b(?:priv|privacy)\s+(?:des\S*|3des|aes\S*(?:\s\d{3})?)\s+KIND(?P<s>"[^"]*"|\S+)"#,
    // neighbours, servers and keys
    r#"(?i)\b(?:neighbor|peer)\s+\S+\s+password\s+KIND(?P<s>\S+)"#,
    r#"(?i)\b(?:tacacs|radius)(?:-server)?\s+.*?\bkey\s+KIND(?P<s>"[^"]*"|\S+)"#,
    r#"(?i)^\s*(?:server-)?key\s+KIND(?P<s>"[^"]*"|\S+)\s*$"#,
    r"(?i)\bkey\s+\d\s+(?P<s>[0-9a-f]{6,})",
    r"(?i)[\w\-]+-key\s+KIND(?P<s>[A-Za-z0-9+/=_\-]{16,})",
    r"(?i)\bsnmp\S*\s+user\s.*\s(?P<s>(?:0x)?[0-9a-f]{24,})\b",
    r"(?i)\bsnmp-server\s+host\s+\S+\s+(?P<s>\S+)(?:\s+snmp|\s*$)",
    r#"(?i)\b(?:message-digest-key|authentication-key|md5-key)\s+\d+\s+(?:md5|sha\S*)?\s*KIND(?P<s>\S+)"#,
    r#"(?i)\bcrypto\s+isakmp\s+key\s+KIND(?P<s>\S+)"#,
    r#"(?i)\bstandby\s+\d+\s+authentication\s+(?:md5\s+key-string\s+)?KIND(?P<s>\S+)"#,
    r#"(?i)\bntp\s+authentication-key\s+\d+\s+\S+\s+KIND(?P<s>\S+)"#,
    r#"(?i)\bset\s+(?:password|passwd|psksecret|passphrase|private-key|secondary-?password|auth-pwd|priv-pwd|key|keystring|api-key|secret|sso-password|community)\s+KIND(?P<s>"[^"]*"|\S+)"#,
    // users
    r#"(?i)\busername\s+\S+\s+.*?\b(?:password|secret|hash)\s+KIND(?P<s>"[^"]*"|\S+)"#,
    r#"(?i)\buser(?:\s+name)?\s+\S+\s+.*?\b(?:password|secret|hash)\s+KIND(?P<s>"[^"]*"|\S+)"#,
    r#"(?i)\b(?:hash-)?mgmt-user\s+\S+\s+(?:password\s+)?KIND(?P<s>\S+)"#,
    r#"(?i)\buser\s+\S+\s+(?:\S+\s+)*?privilege\s+\S+\s+(?:secret|password)?\s*KIND(?P<s>\S+)"#,
    // RouterOS
    r#"(?i)\b(?:password|secret|pre-shared-key|wpa2?-pre-shared-key|authentication-password|encryption-password|private-key|passphrase|ipsec-secret|shared-secret)=(?P<s>"[^"]*"|[^\s"]\S*)"#,
    // what is a hash or a key by its shape
    r"(?P<s>\$(?:1|2[aby]?|5|6|7|8|9|14|y|sha1|sha512|pbkdf2-sha\d+)\$[./A-Za-z0-9$=,+\-]{6,})",
    r#"\bENC\s+(?P<s>"[^"]*"|[A-Za-z0-9+/=]{8,})"#,
    r"\b(?:sha256|\$sha2)\{(?P<s>[^}]+)\}",
];

static COMMON: LazyLock<Vec<Regex>> = LazyLock::new(|| LINES.iter().map(|line| compiled(line)).collect());

/// All of them at once: most lines hold none, and are looked at once for that.
static ANY: LazyLock<RegexSet> = LazyLock::new(|| {
    let patterns = LINES.iter().map(|line| line.replace("KIND", KIND));
    match RegexSetBuilder::new(patterns)
        .unicode(false)
        .size_limit(SET_BYTES_MAX)
        .dfa_size_limit(SET_BYTES_MAX)
        .build()
    {
        Ok(set) => set,
        // As above.
        Err(error) => unreachable!("the patterns do not compile together: {error}"),
    }
});

/// Words of which every one of them needs one. Looking for these is cheaper still.
static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r"(?i)pass|secret|psk|key|auth|priv|communit|snmp|token|hash|pwd|mgmt-user|user|\$[0-9a-z]|\bENC\b|sha2",
    )
});

/// Where a secret goes over several lines, and where that ends.
const BLOCKS: &[(&str, &str)] = &[("-----BEGIN ", "-----END ")];

fn compiled(line: &str) -> Regex {
    let pattern = line.replace("KIND", KIND);
    match regex::bytes::RegexBuilder::new(&pattern).unicode(false).build() {
        Ok(pattern) => pattern,
        // The table is part of the program, and a test compiles it.
        Err(error) => unreachable!("{line:?} does not compile: {error}"),
    }
}

/// A text without its secrets, and how many there were.
pub(crate) fn masked(text: &str, platform: &Platform) -> (String, usize) {
    let mut out = String::with_capacity(text.len());
    let (mut count, mut until) = (0, None);
    for line in text.split_inclusive('\n') {
        if let Some(end) = until {
            if line.contains(end) {
                until = None;
                out.push_str(line);
            }
            continue;
        }
        let begun = BLOCKS.iter().find(|(begin, _)| line.contains(begin));
        let is_private = begun.is_some() && (line.contains("PRIVATE KEY") || line.contains("CERTIFICATE"));
        if let Some((_, end)) = begun.filter(|_| is_private && !line.contains("-----END ")) {
            until = Some(*end);
            count += 1;
            out.push_str(line);
            out.push_str(MASK);
            out.push('\n');
            continue;
        }
        let has_word = WORDS.is_match(line.as_bytes());
        if !has_word && platform.secrets.is_empty() {
            out.push_str(line);
            continue;
        }
        let mut line = line.to_owned();
        if has_word {
            for index in ANY.matches(line.as_bytes()) {
                count += mask_line(&mut line, &COMMON[index]);
            }
        }
        for pattern in &platform.secrets {
            count += mask_line(&mut line, pattern);
        }
        out.push_str(&line);
    }
    (out, count)
}

/// Masks what a pattern finds in a line; how often.
fn mask_line(line: &mut String, pattern: &Regex) -> usize {
    let (mut count, mut from) = (0, 0);
    while from <= line.len() && count < PER_LINE_MAX {
        let Some(found) = pattern.captures_at(line.as_bytes(), from) else { break };
        let Some(secret) = found.name("s") else { break };
        let (start, end, whole) =
            (secret.start(), secret.end(), found.get(0).map_or(secret.end(), |m| m.end()));
        if !line.is_char_boundary(start) || !line.is_char_boundary(end) {
            break;
        }
        let text = &line[start..end];
        if text.contains(MASK) || is_no_secret(text) {
            from = whole.max(from + 1);
            continue;
        }
        line.replace_range(start..end, MASK);
        // What stood before it may be followed by another.
        from = 0;
        count += 1;
    }
    count
}

/// Words of configurations that stand where a secret might, and are none.
fn is_no_secret(word: &str) -> bool {
    let word = word.trim_matches(['"', '\'', ';', ',']).to_ascii_lowercase();
    let words = [
        "",
        "is",
        "not",
        "no",
        "yes",
        "on",
        "off",
        "none",
        "disable",
        "disabled",
        "enable",
        "enabled",
        "required",
        "local",
        "login",
        "*",
        "**",
        "***",
        "****",
        "*****",
        "******",
        "*******",
        "********",
        "policy",
        "min-length",
        "minimum-length",
        "history",
        "aging",
        "expiry",
        "strength-check",
        "complexity",
        "encryption",
        "recovery",
        "{",
        "}",
        "{}",
        "[]",
        "null",
        "true",
        "false",
        "hidden",
        "required",
        "for",
        "has",
        "was",
        "will",
        "expired",
        "expires",
        "never",
        "and",
        "or",
        "of",
        "the",
        "trap",
        "traps",
        "informs",
        "version",
        "vrf",
        "udp-port",
    ];
    words.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::named;

    fn check(platform: &str, line: &str, secret: &str) {
        let (masked, count) = masked(line, named(platform).unwrap());
        assert!(!masked.contains(secret) && count > 0, "{line:?} came out as {masked:?}");
        assert!(masked.contains(MASK));
    }

    #[test]
    fn secrets_of_many_vendors_are_masked() {
        let lines = [
            ("cisco_ios", "enable secret 9 $9$abcdefgh$ijklmnop", "$9$abc"),
            ("cisco_ios", "enable password 7 0822455D0A16", "0822455D0A16"),
            ("cisco_ios", "username admin privilege 15 secret 5 $1$abcd$efgh", "$1$abcd"),
            ("cisco_ios", "username admin password 0 hunter2", "hunter2"),
            ("cisco_ios", "snmp-server community s3cr3t RO 10", "s3cr3t"),
            ("cisco_ios", "snmp-server host 10.0.0.1 version 2c c0mmunity", "c0mmunity"),
            ("cisco_ios", " neighbor 10.0.0.1 password 7 13061E010803", "13061E010803"),
            ("cisco_ios", "tacacs-server host 10.0.0.1 key 7 0101010101", "0101010101"),
            ("cisco_ios", " ip ospf message-digest-key 1 md5 7 02050D480809", "02050D480809"),
            ("cisco_ios", "crypto isakmp key p5k address 10.0.0.2", "p5k"),
            ("cisco_ios", " key-string 7 060506324F41", "060506324F41"),
            ("cisco_ios", "ntp authentication-key 1 md5 1234567890ABCDEF 7", "1234567890ABCDEF"),
            (
                "cisco_nxos",
                "snmp-server user admin network-admin auth md5 0xabc123 priv 0xdef456 localizedkey",
                "0xabc123",
            ),
            ("arista_eos", "username admin secret sha512 $6$abcdefg$hijklmnop", "$6$abcdefg"),
            (
                "juniper_junos",
                "        encrypted-password \"$6$abcdefgh$xyz\"; ## SECRET-DATA",
                "$6$abcdefgh",
            ),
            (
                "juniper_junos",
                "set system root-authentication encrypted-password \"$5$aaaaaaaa$b\"",
                "$5$aaaaaaaa",
            ),
            ("juniper_junos", "    pre-shared-key ascii-text \"$9$abcdefg\"; ## SECRET-DATA", "$9$abcdefg"),
            ("huawei", " local-user admin password irreversible-cipher $1a$abcdef$ghi", "$1a$abcdef"),
            ("huawei", "snmp-agent community read cipher %^%#abc%^%#", "%^%#abc"),
            ("fortinet", "        set password ENC AAAABBBBCCCC==", "AAAABBBBCCCC"),
            ("fortinet", "        set psksecret ENC xyzxyzxyz", "xyzxyzxyz"),
            ("mikrotik_routeros", "add name=ppp1 password=hunter2 service=l2tp", "hunter2"),
            ("frr", " ip ospf authentication-key hunter2", "hunter2"),
            ("frr", "enable password enable123", "enable123"),
            ("frr", "password zebra", "zebra"),
        ];
        for (platform, line, secret) in lines {
            check(platform, line, secret);
        }
        check(
            "cisco_ios",
            concat!("-----BEGIN RSA ", "PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\n"),
            "MIIabc",
        );
    }

    #[test]
    fn what_is_no_secret_stays() {
        let lines = [
            "service password-encryption",
            "no service password-recovery",
            "interface GigabitEthernet0/1",
            " ip community-list 1 permit 65000:1",
            "The password is required",
            "snmp-server enable traps",
            "key chain KEYS",
            " route-map COMMUNITY permit 10",
            "Cisco IOS Software, Version 15.1(4)M, RELEASE SOFTWARE",
        ];
        for line in lines {
            assert_eq!(masked(line, named("cisco_ios").unwrap()), (line.to_owned(), 0));
        }
    }

    /// Of each recording, what must not be in it any more.
    #[test]
    fn recorded_secrets_are_masked() {
        let Some(folder) = testkit::corpus("oxidized") else { return };
        let mut wrong = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let Some(stem) = name.strip_suffix("secret.yaml") else { continue };
            let rules: serde_json::Value =
                serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let recorded =
                std::fs::read_to_string(path.with_file_name(format!("{stem}simulation.yaml"))).unwrap();
            let (text, _) = masked(&recorded, named(name.split('#').next().unwrap()).unwrap());
            for rule in rules["fail"].as_array().into_iter().flatten().filter_map(|rule| rule.as_str()) {
                // Names of members are no secrets; their values are.
                let rule = rule.trim();
                for line in text.lines().filter(|line| !rule.starts_with('"') && line.contains(rule)) {
                    wrong.push(format!("{name}: {rule:?} is in {:?}", line.trim()));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

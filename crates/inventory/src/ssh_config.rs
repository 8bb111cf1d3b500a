//! The configuration of the OpenSSH client: every `Host` that is no pattern is a device.

use std::io::Cursor;

use ssh2_config::{HostParams, ParseRule, SshConfig};

use crate::{Found, Host, ImportError, fit};

/// What devices offer only where they are old, by how old.
const LEGACY: &[&str] =
    &["diffie-hellman-group1-sha1", "ssh-dss", "3des-cbc", "arcfour", "hmac-md5", "blowfish-cbc"];
const COMPAT: &[&str] = &[
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group-exchange-sha1",
    "ssh-rsa",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "hmac-sha1",
];

/// How deep files may include each other (ssh_config(5), `Include`: the client's own bound).
const INCLUDES_DEEP: usize = 16;
/// The most files that are included.
const FILES_MAX: usize = 1000;
/// The most bytes of a configuration with all that it includes.
const BYTES_MAX: usize = 16 << 20;

/// Puts the texts of included files where they are included. What stands under a `Host` goes on under it afterwards; what
/// is included under one and names others is for none of them, and under a `Match` nothing is included: it holds only
/// when connecting.
///
/// Error: files that include each other without end, or are too many or too large together, or one that `files` cannot
/// read.
pub fn with_includes(
    text: &str,
    files: &dyn Fn(&str) -> Result<Vec<String>, ImportError>,
) -> Result<String, ImportError> {
    let mut whole = Whole { files, text: String::new(), included: 0 };
    whole.add(text, FOR_ALL, 0)?;
    Ok(whole.text)
}

/// What stands before the first `Host` is for all of them.
const FOR_ALL: &str = "Host *";

struct Whole<'a> {
    files: &'a dyn Fn(&str) -> Result<Vec<String>, ImportError>,
    text: String,
    included: usize,
}

impl Whole<'_> {
    /// Adds a text that stands under this line.
    fn add(&mut self, text: &str, above: &str, depth: usize) -> Result<(), ImportError> {
        let mut under = above.to_owned();
        for line in text.lines() {
            let (word, rest) = parts(line);
            let is_header = matches!(word.as_str(), "host" | "match");
            if is_header && above != FOR_ALL {
                return Ok(());
            }
            if is_header {
                line.clone_into(&mut under);
            }
            if word != "include" {
                self.text.push_str(line);
                self.text.push('\n');
            } else if parts(&under).0 != "match" {
                self.include(line, rest, &under, depth)?;
            }
            if self.text.len() > BYTES_MAX {
                let text = format!("with all that is included there are more than {BYTES_MAX} bytes");
                return Err(ImportError(text));
            }
        }
        Ok(())
    }

    fn include(&mut self, line: &str, names: &str, under: &str, depth: usize) -> Result<(), ImportError> {
        if depth == INCLUDES_DEEP {
            let text = format!("files include each other more than {INCLUDES_DEEP} deep: {line}");
            return Err(ImportError(text));
        }
        for pattern in words(names) {
            for text in (self.files)(pattern)? {
                self.included += 1;
                if self.included > FILES_MAX {
                    return Err(ImportError(format!("more than {FILES_MAX} files are included: {line}")));
                }
                self.add(&text, under, depth + 1)?;
                self.text.push_str(under);
                self.text.push('\n');
            }
        }
        Ok(())
    }
}

/// Words between blanks; in quotes, a word may hold some.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once([' ', '\t']).unwrap_or((rest, "")),
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// The keyword of a line, in lower case, and what follows it (ssh_config(5): a blank or one `=` between them).
fn parts(line: &str) -> (String, &str) {
    let line = line.trim();
    let end = line.find([' ', '\t', '=']).unwrap_or(line.len());
    let rest = line[end..].trim_start();
    (line[..end].to_ascii_lowercase(), rest.strip_prefix('=').unwrap_or(rest).trim_start())
}

/// Reads the configuration of a client, without what it includes.
///
/// Error: a line that cannot be read.
pub(crate) fn read(text: &str) -> Result<Found, ImportError> {
    let mut found = Found::default();
    let Kept { text: kept, matches, includes } = kept(text);
    if includes > 0 {
        found.notes.say(
            "`Include` is not followed here: name the file that includes, or import the others by themselves",
        );
    }
    if matches > 0 {
        found
            .notes
            .say(format!("{matches} `Match` blocks are not taken: what they say holds only when connecting"));
    }
    let rules = ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS;
    let config = SshConfig::default().parse(&mut Cursor::new(kept), rules).map_err(|error| {
        ImportError(format!("the configuration of the SSH client cannot be read: {error}"))
    })?;
    let is_pattern = |name: &str| name.contains(['*', '?']);
    let named = config.get_hosts().iter().flat_map(|host| &host.pattern);
    let named: Vec<&str> = named.filter(|one| !one.negated).map(|one| one.pattern.as_str()).collect();
    for name in named.into_iter().filter(|name| !is_pattern(name) && !name.is_empty()) {
        let params = config.query(name);
        let mut host = host(name, &params);
        if params.unsupported_fields.keys().chain(params.ignored_fields.keys()).any(|field| is_command(field))
        {
            found.notes.add("`ProxyCommand` is not taken; `via` names the hops", name);
        }
        for hop in params.proxy_jump.iter().flatten().filter(|hop| *hop != "none") {
            let hop = add_hop(hop, &config, &mut found);
            host.via.push(hop);
        }
        found.hosts.insert(name.to_owned(), host);
    }
    if found.hosts.is_empty() {
        found.notes.say("it names no host that is not a pattern");
    }
    Ok(found)
}

fn is_command(field: &str) -> bool {
    field.eq_ignore_ascii_case("proxycommand")
}

fn host(name: &str, params: &HostParams) -> Host {
    Host {
        address: Some(params.host_name.as_deref().unwrap_or(name).replace("%h", name)),
        port: params.port.filter(|port| *port != 22),
        user: params.user.clone(),
        algorithms: algorithms(params),
        ..Host::default()
    }
}

/// The profile that allows what the client was told to allow.
fn algorithms(params: &HostParams) -> Option<&'static str> {
    let lists = [&params.kex_algorithms, &params.host_key_algorithms, &params.ciphers, &params.mac];
    let told = || lists.iter().filter(|list| !list.is_default()).flat_map(|list| list.algorithms());
    let has = |names: &[&str]| told().any(|one| names.contains(&one.as_str()));
    match (has(LEGACY), has(COMPAT)) {
        (true, _) => Some("legacy"),
        (false, true) => Some("compat"),
        _ => None,
    }
}

/// The device that a hop is: a `Host` of the same configuration, or one that is added: `user@host:port`.
fn add_hop(hop: &str, config: &SshConfig, found: &mut Found) -> String {
    let (user, name, port) = fit::hop(hop);
    let mut known = host(name, &config.query(name));
    known.user = user.map(str::to_owned).or(known.user);
    known.port = port.or(known.port).filter(|port| *port != 22);
    known.platform = Some("linux".to_owned());
    found.hosts.entry(name.to_owned()).or_insert(known);
    name.to_owned()
}

/// What is taken of a text.
struct Kept {
    text: String,
    matches: usize,
    includes: usize,
}

/// The text without its `Match` blocks, which hold only when connecting, and without what other files say.
fn kept(text: &str) -> Kept {
    let mut kept = Kept { text: String::with_capacity(text.len()), matches: 0, includes: 0 };
    let mut inside = false;
    for line in text.lines() {
        match parts(line).0.as_str() {
            "match" => {
                inside = true;
                kept.matches += 1;
            }
            "host" => inside = false,
            "include" => {
                kept.includes += 1;
                continue;
            }
            _ => {}
        }
        if !inside {
            kept.text.push_str(line);
            kept.text.push('\n');
        }
    }
    kept
}

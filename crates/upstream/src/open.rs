use std::{sync::Arc, time::Duration};

use child::{Level, Rules, Shim};
use http::{HeaderMap, HeaderName, HeaderValue};
use place::AllowPrivate;
use rustls::{ClientConfig, pki_types::ServerName};
use state::{Grants, Pins};
use tool::{ConfigFault, Parts, Provider, Secret, SecretRef, json::push_pointer};
use url::Url;

use crate::{
    catalogue::Shape,
    check::{self, pointer},
    config::{Config, Protocol, UpstreamConfig},
    filter::Filter,
    guard::Guard,
    handshake::Manner,
    http::Http,
    lists::Bounds,
    oauth::{self, OAuth, OAuthConfig},
    provider::Upstreams,
    socket::Socket,
    stdio::Launch,
    tls::{self, TlsConfig},
    upstream::{Means, Settings, Times, Upstream},
};

/// Opens the section: connects to every server, all at once, and fetches what it offers. A server that cannot be
/// reached offers nothing until it can be; what it offers then, and whatever
/// changes later, is told by `notify`.
///
/// Blocks until every server has answered or had its time; to be called where that is allowed, in a runtime.
///
/// What `pins` has of a server's tools decides which of them are offered; what `grants` has of it lets us in.
///
/// Error: what [`Config::check`] finds, and secrets that cannot be had.
pub fn open(
    config: &Config,
    parts: &Parts,
    pins: &Arc<dyn Pins>,
    grants: &Arc<dyn Grants>,
) -> Result<Arc<dyn Provider>, Vec<ConfigFault>> {
    let mut faults = config.check();
    let mut upstreams = Vec::new();
    for (name, upstream) in &config.0 {
        let at = pointer(name);
        let is_wrong =
            |fault: &ConfigFault| fault.pointer == at || fault.pointer.starts_with(&format!("{at}/"));
        if faults.iter().any(is_wrong) {
            continue;
        }
        match settings(name, upstream, parts, &Access { grants, is_trial: false }) {
            Ok(settings) => {
                upstreams.push(Upstream::new(settings, parts, Arc::clone(pins)));
            }
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let runtime = tokio::runtime::Handle::try_current()
        .map_err(|e| vec![ConfigFault::new("/upstreams", format!("it cannot be opened: {e}"))])?;
    runtime.block_on(futures_util::future::join_all(upstreams.iter().map(Upstream::begin)));
    Ok(Arc::new(Upstreams::new(upstreams)))
}

/// How servers that want tokens are got into.
pub(crate) struct Access<'a> {
    pub(crate) grants: &'a Arc<dyn Grants>,
    /// True where one is tried out: login pages are opened without a browser.
    pub(crate) is_trial: bool,
}

pub(crate) fn settings(
    name: &str,
    config: &UpstreamConfig,
    parts: &Parts,
    access: &Access<'_>,
) -> Result<Settings, ConfigFault> {
    let times = Times {
        silence: Duration::from_millis(config.timeout_ms),
        call: Duration::from_millis(config.call_ms_max),
        connect: Duration::from_millis(config.connect_timeout_ms),
        start_wait: Duration::from_millis(config.start_wait_ms),
        close: Duration::from_millis(config.close_timeout_ms),
    };
    let mut secrets = Vec::new();
    let means = match (&config.url, &config.socket) {
        (_, Some(path)) => {
            let socket = Socket::Unix(parts.base_dir.join(path));
            Means::Socket(Box::new(socket), config.message_bytes_max)
        }
        (Some(url), None) if config.protocol == Protocol::Jsonl => {
            let socket = tls_socket(name, url, config, parts, &mut secrets)?;
            Means::Socket(Box::new(socket), config.message_bytes_max)
        }
        (Some(url), None) => {
            Means::Http(Arc::new(http((name, url), config, times, parts, &mut secrets, access)?))
        }
        (None, None) => Means::Program(Box::new(launch(name, config, times, parts, &mut secrets)?)),
    };
    let mirrors = matches!(means, Means::Http(_)) && config.protocol != Protocol::Legacy;
    Ok(Settings {
        means,
        manner: Manner {
            protocol: config.protocol,
            probe_timeout: Duration::from_millis(config.probe_timeout_ms),
            log_level: config.log_level.into(),
        },
        bounds: Bounds { items_max: config.items_max, pages_max: config.pages_max },
        times,
        shape: Shape {
            name: name.into(),
            source: format!("mcp:{name}").into(),
            prefix: config.prefix.clone().unwrap_or_else(|| format!("{name}_")),
            overrides: config.tools.clone(),
            filter: Filter::new(config),
            hygiene: config.hygiene,
            time_max: times.call,
            bytes_max: config.bytes_max,
            mirrors,
        },
        pin: config.pin,
        secrets,
        concurrent_max: config.concurrent_max(),
        scan_results: config.scan_results,
        ends_max: config.ends_max,
        alive: Duration::from_millis(config.alive_ms),
        rounds_max: config.rounds_max,
        watched_max: config.watched_max,
    })
}

fn launch(
    name: &str,
    config: &UpstreamConfig,
    times: Times,
    parts: &Parts,
    secrets: &mut Vec<Secret>,
) -> Result<Launch, ConfigFault> {
    let mut env: Vec<(String, Secret)> =
        parts.child_env.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone()))).collect();
    for (variable, reference) in &config.env {
        let value = resolve(name, "env", variable, reference, parts)?;
        if value.expose().contains('\0') {
            return Err(ConfigFault::new(at(name, "env", variable), "it holds a NUL, which no variable can"));
        }
        env.retain(|(known, _)| known != variable);
        secrets.push(value.clone());
        env.push((variable.clone(), value));
    }
    let sandbox = config.sandbox.as_ref().map(|sandbox| sandbox.rules(name, &parts.base_dir));
    let rules = sandbox.unwrap_or_else(|| Ok(Rules::standard()));
    let rules = rules.map_err(|text| ConfigFault::new(format!("{}/sandbox/user", pointer(name)), text))?;
    // Whoever may not look into our home folder has one of its own.
    if rules.level == Level::Strict && !config.env.contains_key("HOME") {
        env.retain(|(known, _)| known != "HOME");
    }
    Ok(Launch {
        shim: Shim::new(parts.keeper.to_vec()),
        rules,
        complaints: Arc::default(),
        command: config.command.clone().unwrap_or_default(),
        folder: config.cwd.as_ref().map_or_else(|| parts.base_dir.clone(), |cwd| parts.base_dir.join(cwd)),
        env,
        close_timeout: times.close,
        line_bytes_max: config.message_bytes_max,
    })
}

fn http(
    (name, url): (&str, &str),
    config: &UpstreamConfig,
    times: Times,
    parts: &Parts,
    secrets: &mut Vec<Secret>,
    access: &Access<'_>,
) -> Result<Http, ConfigFault> {
    let wrong = |text: String| ConfigFault::new(format!("{}/url", pointer(name)), text);
    let url = place::parse_url(url).map_err(wrong)?;
    let mut headers = HeaderMap::new();
    for (header, reference) in &config.headers {
        let value = resolve(name, "headers", header, reference, parts)?;
        secrets.push(value.clone());
        let at = || at(name, "headers", header);
        let header = HeaderName::from_bytes(header.as_bytes())
            .map_err(|_| ConfigFault::new(at(), format!("{header:?} is not the name of a header")))?;
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| ConfigFault::new(at(), "the secret holds a character that no header may hold"))?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    let guard = Guard::new(name, &url, AllowPrivate::new(&config.allow_private));
    let bounds = (times.connect, config.concurrent_max(), config.message_bytes_max);
    let tls = match &config.tls {
        Some(section) => Some(tls_client(name, section, parts, secrets)?),
        None => None,
    };
    let oauth = match &config.oauth {
        Some(section) => Some(oauth(name, &url, section, config, parts, secrets, access)?),
        None => None,
    };
    Http::new(&url, guard, headers, bounds, tls, oauth)
        .map_err(|e| wrong(format!("no client can be made for it: {e}")))
}

/// Where the tokens for a server come from.
fn oauth(
    name: &str,
    url: &Url,
    section: &OAuthConfig,
    config: &UpstreamConfig,
    parts: &Parts,
    secrets: &mut Vec<Secret>,
    access: &Access<'_>,
) -> Result<Arc<OAuth>, ConfigFault> {
    let mut secret = |key: &str, reference: &Option<SecretRef>| match reference {
        Some(reference) => {
            let secret = resolve(name, "oauth", key, reference, parts)?;
            secrets.push(secret.clone());
            Ok(Some(secret))
        }
        None => Ok(None),
    };
    let client_secret = secret("client_secret", &section.client_secret)?;
    let private_key = secret("private_key", &section.private_key)?;
    // Whom it is believed to be goes for its authorization server too; who we are to it does not.
    let believed = config.tls.as_ref().filter(|tls| tls.ca.is_some());
    let believed = believed.map(|tls| TlsConfig { ca: tls.ca.clone(), ..TlsConfig::default() });
    let tls = match believed {
        Some(section) => Some(tls::client(&section, None, &parts.base_dir, &pointer(name))?),
        None => None,
    };
    Ok(OAuth::new(oauth::Means {
        server: name.to_owned(),
        url: url.clone(),
        config: section.clone(),
        client_secret,
        private_key,
        allow_private: config.allow_private.clone(),
        connect_timeout: Duration::from_millis(config.connect_timeout_ms),
        tls,
        grants: Arc::clone(access.grants),
        clock: Arc::clone(&parts.clock),
        is_trial: access.is_trial,
    }))
}

/// A server that speaks lines over TLS.
fn tls_socket(
    name: &str,
    url: &str,
    config: &UpstreamConfig,
    parts: &Parts,
    secrets: &mut Vec<Secret>,
) -> Result<Socket, ConfigFault> {
    let wrong = |text: String| ConfigFault::new(format!("{}/url", pointer(name)), text);
    let url = check::tls_url(url).map_err(wrong)?;
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let server = ServerName::try_from(host).map_err(|e| wrong(e.to_string()))?;
    let section = config.tls.clone().unwrap_or_default();
    let client = tls_client(name, &section, parts, secrets)?;
    let guard = Guard::new(name, &url, AllowPrivate::new(&config.allow_private));
    Ok(Socket::Tls { guard, name: server, config: Arc::new(client) })
}

fn tls_client(
    name: &str,
    section: &TlsConfig,
    parts: &Parts,
    secrets: &mut Vec<Secret>,
) -> Result<ClientConfig, ConfigFault> {
    let key = match &section.key {
        Some(reference) => Some(resolve(name, "tls", "key", reference, parts)?),
        None => None,
    };
    let client = tls::client(section, key.as_ref(), &parts.base_dir, &pointer(name));
    secrets.extend(key);
    client
}

fn resolve(
    name: &str,
    member: &str,
    key: &str,
    reference: &SecretRef,
    parts: &Parts,
) -> Result<Secret, ConfigFault> {
    parts.secrets.resolve(reference).map_err(|e| ConfigFault::new(at(name, member, key), e))
}

fn at(name: &str, member: &str, key: &str) -> String {
    let mut at = format!("{}/{member}", pointer(name));
    push_pointer(&mut at, key);
    at
}

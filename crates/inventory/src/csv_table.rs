//! Tables: one device a row, columns by the names that spreadsheets and NetBox's export have for them.

use csv::{ReaderBuilder, StringRecord};
use serde_json::Value;

use crate::{Found, Host, ImportError, fit};

/// What a column stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    Name,
    Address,
    Port,
    Platform,
    User,
    Login,
    Groups,
    Transport,
    Via,
    Secret,
    Label(String),
}

impl Column {
    fn of(header: &str) -> Self {
        let name: String = header
            .trim()
            .to_ascii_lowercase()
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '_' })
            .collect();
        match name.as_str() {
            "name" | "device" | "device_name" | "hostname" => Self::Name,
            "host" | "ip" | "address" | "ip_address" | "device_ip" | "management_ip" | "mgmt_ip"
            | "primary_ip" | "primary_ip4" | "ipv4_address" | "ipv6_address" | "fqdn" => Self::Address,
            "port" | "ssh_port" => Self::Port,
            "platform" | "device_type" | "os" | "network_os" | "nos" => Self::Platform,
            "user" | "username" => Self::User,
            "login" => Self::Login,
            "group" | "groups" => Self::Groups,
            "transport" | "protocol" => Self::Transport,
            "via" | "jump" | "jump_host" | "bastion" | "proxy_jump" => Self::Via,
            other if fit::is_secret(other) => Self::Secret,
            other => Self::Label(other.to_owned()),
        }
    }
}

/// Reads a table.
///
/// Error: no column says which device a row is about, or a row does not fit.
pub(crate) fn read(text: &str) -> Result<Found, ImportError> {
    let header = text.lines().next().unwrap_or_default();
    let count = |c: char| header.matches(c).count();
    let delimiter = [',', ';', '\t'].into_iter().max_by_key(|c| count(*c)).unwrap_or(',');
    let mut reader =
        ReaderBuilder::new().delimiter(delimiter as u8).trim(csv::Trim::All).from_reader(text.as_bytes());
    let wrong = |error: csv::Error| ImportError(format!("the table cannot be read: {error}"));
    let columns: Vec<Column> = reader.headers().map_err(wrong)?.iter().map(Column::of).collect();
    if !columns.iter().any(|column| matches!(column, Column::Name | Column::Address)) {
        let what = "the first line names no column `name`, `host` or `ip`: which device is a row about?";
        return Err(ImportError(what.to_owned()));
    }
    let mut found = Found::default();
    if columns.contains(&Column::Secret) {
        found.notes.say("columns that look like secrets are not taken; `devices.logins` names who logs in");
    }
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(str::is_empty) {
            continue;
        }
        let (name, host) =
            row(&columns, &record).map_err(|what| ImportError(format!("line {line}: {what}")))?;
        if found.hosts.insert(name.clone(), host).is_some() {
            return Err(ImportError(format!("line {line}: there is a second row about {name:?}")));
        }
    }
    Ok(found)
}

fn row(columns: &[Column], record: &StringRecord) -> Result<(String, Host), String> {
    let mut host = Host::default();
    let mut name = None;
    let cells = columns.iter().zip(record).filter(|(_, cell)| !cell.is_empty());
    for (column, cell) in cells {
        let text = cell.to_owned();
        let list =
            || cell.split([';', ' ', '|', ',']).filter(|one| !one.is_empty()).map(str::to_owned).collect();
        match column {
            Column::Name => name = name.or(Some(text)),
            // NetBox writes an address with the length of its prefix.
            Column::Address => host.address = host.address.or(cell.split('/').next().map(str::to_owned)),
            Column::Port => {
                let port = cell.parse().ok().filter(|port| *port != 0);
                host.port = Some(port.ok_or_else(|| format!("{cell:?} is no port"))?);
            }
            Column::Platform => host.platform = Some(text),
            Column::User => host.user = Some(text),
            Column::Login => host.login = Some(text),
            Column::Groups => host.groups = list(),
            Column::Transport => match cell.to_ascii_lowercase().as_str() {
                "ssh" => {}
                "telnet" => host.is_telnet = true,
                _ => return Err(format!("{cell:?} is no transport: ssh or telnet")),
            },
            Column::Via => host.via = list(),
            Column::Secret => {}
            Column::Label(name) => {
                if let Some(value) = fit::label(name, &Value::from(cell)) {
                    host.labels.insert(name.clone(), value);
                }
            }
        }
    }
    let name = name.or_else(|| host.address.clone()).ok_or("the row names no device")?;
    Ok((name, host))
}

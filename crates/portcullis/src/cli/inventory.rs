//! `portcullis inventory`: devices from where they are kept already.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use clap::{Args, Subcommand, ValueEnum};
use inventory::{Format, How, ImportError, Inventory};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::{Exit, Failure, Globals, Out, devices::label, out::plain};
use crate::{
    app,
    config::{self, Examined, Instead, Problems, add},
    data,
};

/// The largest source, in bytes.
const SOURCE_BYTES_MAX: u64 = 64 << 20;
/// The longest that `ansible-inventory` may take.
const ANSIBLE_TIME_MAX: Duration = Duration::from_secs(120);
/// What Ansible is told by the environment, beside what every program is.
const ANSIBLE_ENV: &[&str] = &[
    "ANSIBLE_CONFIG",
    "ANSIBLE_HOME",
    "ANSIBLE_INVENTORY_ENABLED",
    "ANSIBLE_INVENTORY_PLUGINS",
    "ANSIBLE_COLLECTIONS_PATH",
    "ANSIBLE_VAULT_PASSWORD_FILE",
    "ANSIBLE_VAULT_IDENTITY_LIST",
    "VIRTUAL_ENV",
];
/// The file that is written where the configuration names none.
const USUAL_FILE: &str = "inventory.yaml";

#[derive(Debug, Subcommand)]
pub(crate) enum InventoryCommand {
    /// Show what the devices of a file would change in the inventory, and write it with --write
    Import(ImportArgs),
}

/// Take devices from the configuration of the SSH client, Ansible, Nornir, netmiko's tools, a table, or a file of ours.
///
/// Shown is what would change; --write writes it, into a file that `devices.inventory_files` names. Passwords are never
/// taken: `devices.logins` names who logs in, and a login is found by its user. Ansible's inventories are read by
/// `ansible-inventory` where it is installed.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file, or a folder of Ansible's; - for standard input
    source: PathBuf,
    /// What it is; told from its name and text where this is left out
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// The platform of devices whose source tells none [default: autodetect]
    #[arg(long)]
    platform: Option<String>,
    /// The login, of `devices.logins`, of devices whose source tells no user that one of them has
    #[arg(long)]
    login: Option<String>,
    /// A group that all of them are put into; several times for several
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// A label that all of them get; several times for several
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// A variable of the environment that `ansible-inventory` gets too, for its plugins; several times for several
    #[arg(long = "env", value_name = "NAME")]
    env: Vec<String>,
    /// The file that is written [default: the first of `devices.inventory_files`, else inventory.yaml]
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Take out devices that the source does not have
    #[arg(long)]
    prune: bool,
    /// Write it; a server that runs takes it up by itself
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// Ours, Nornir's, netmiko's or Ansible's, by its members
    Yaml,
    /// ssh_config(5)
    SshConfig,
    /// Whatever `ansible-inventory` reads; INI where it is not installed
    Ansible,
    /// What `ansible-inventory --list` printed
    AnsibleList,
    /// A table with a header
    Csv,
}

pub(super) async fn run(command: InventoryCommand, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let InventoryCommand::Import(args) = command;
    import(&args, globals, out).await
}

/// The inventory files that an import wrote as they are, of the configuration that is meant.
pub(super) fn written(globals: &Globals, out: &Out) -> Result<Vec<(PathBuf, Inventory)>, Failure> {
    let loaded = meant(globals, out)?.1.loaded;
    let files = loaded.config.devices.iter().flat_map(|devices| &devices.inventory_files);
    let ours = |file: &PathBuf| {
        let file = loaded.base_dir.join(file);
        let text = std::fs::read_to_string(&file).ok()?;
        Inventory::parse(&text)
            .ok()
            .filter(|inventory| inventory.text() == text)
            .map(|inventory| (file, inventory))
    };
    Ok(files.filter_map(ours).collect())
}

/// The configuration that is meant: that of the server that runs, or the one that is named.
fn meant(globals: &Globals, out: &Out) -> Result<(PathBuf, Examined), Failure> {
    let dir = data::find(globals).ok();
    let config = dir.and_then(|dir| data::config_for(globals, &dir)).or_else(|| data::config_file(None));
    let config = config.ok_or_else(|| {
        failed("there is no configuration here that devices could be for; --config names one")
    })?;
    let examined = config::examine(&config, &data::environment).map_err(|problems| {
        out.problems(&problems);
        Failure::said(Exit::Failed)
    })?;
    Ok((config, examined))
}

/// What an inventory file holds; nothing where there is none.
pub(super) fn read_inventory(file: &Path) -> Result<Inventory, Failure> {
    match std::fs::read_to_string(file) {
        Ok(text) => Inventory::parse(&text).map_err(|error| failed(format!("{}: {error}", file.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Inventory::default()),
        Err(error) => Err(failed(format!("{} cannot be read: {error}", file.display()))),
    }
}

/// Writes an inventory file.
pub(super) fn write_inventory(file: &Path, text: &str) -> Result<(), Failure> {
    data::put(file, text.as_bytes())
        .map_err(|error| failed(format!("{} cannot be written: {error}", file.display())))
}

fn failed(text: impl Into<String>) -> Failure {
    Failure::new(Exit::Failed, text)
}

/// The configuration that the devices are for.
struct Target {
    config: PathBuf,
    /// Its text, with the file named.
    edited: Option<String>,
    /// The file that is written; absolute.
    file: PathBuf,
    before: Inventory,
    logins: BTreeMap<String, String>,
    /// The groups that tell a platform.
    group_platforms: BTreeSet<String>,
    /// The text of the configuration as it was read.
    config_text: String,
}

impl Target {
    fn find(args: &ImportArgs, globals: &Globals, out: &Out) -> Result<Self, Failure> {
        let (config, examined) = meant(globals, out)?;
        let base_dir = &examined.loaded.base_dir;
        let config_text = read_config(&config)?;
        let devices = examined.loaded.config.devices.as_ref();
        let named: Vec<PathBuf> =
            devices.into_iter().flat_map(|d| &d.inventory_files).map(|file| base_dir.join(file)).collect();
        let file = match &args.into {
            Some(file) => {
                std::path::absolute(file).map_err(|e| failed(format!("{}: {e}", file.display())))?
            }
            None => named.first().cloned().unwrap_or_else(|| base_dir.join(USUAL_FILE)),
        };
        let edited = match named.contains(&file) {
            true => None,
            false => Some(with_file(&config, &config_text, file.strip_prefix(base_dir).unwrap_or(&file))?),
        };
        let before = read_inventory(&file)?;
        let logins = devices.into_iter().flat_map(|devices| &devices.logins);
        // Of two logins with one user, the first by name.
        let logins = logins.rev().map(|(name, login)| (login.user.clone(), name.clone())).collect();
        let groups = devices.into_iter().flat_map(|devices| &devices.groups);
        let telling = groups.filter(|(_, group)| group.platform.is_some()).map(|(name, _)| name.clone());
        let group_platforms = telling.collect();
        Ok(Self { config, edited, file, before, logins, group_platforms, config_text })
    }

    /// The configuration as it would be with this file, looked through.
    async fn check(&self, text: &str, globals: &Globals) -> Result<(), Problems> {
        let config_text = self.edited.as_ref().unwrap_or(&self.config_text);
        let instead = Instead { path: &self.file, text };
        let examined: Examined =
            config::examine_as(&self.config, config_text, Some(instead), &data::environment)?;
        let dir = data::folder_of(&examined.loaded, globals);
        app::check(examined, &dir).await.map(drop)
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        // Before anything is written.
        if self.edited.is_some() && read_config(&self.config)? != self.config_text {
            let text = "was changed meanwhile; name the file in its `devices.inventory_files` by hand, or import again";
            return Err(failed(format!("{} {text}", self.config.display())));
        }
        write_inventory(&self.file, text)?;
        if let Some(edited) = &self.edited {
            let cannot =
                |error: io::Error| failed(format!("{} cannot be written: {error}", self.config.display()));
            data::replace(&self.config, edited.as_bytes()).map_err(cannot)?;
        }
        Ok(())
    }
}

fn read_config(config: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(config).map_err(|e| failed(format!("{} cannot be read: {e}", config.display())))
}

/// The text of the configuration, with another file of devices.
fn with_file(config: &Path, text: &str, file: &Path) -> Result<String, Failure> {
    let name = file.to_string_lossy();
    add::with_inventory_file(text, &name).map_err(|why| {
        failed(format!(
            "{}: {why}; name {name:?} in `devices.inventory_files` by hand, or one that is named with --into",
            config.display()
        ))
    })
}

async fn import(args: &ImportArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let target = Target::find(args, globals, out)?;
    if let Some(platform) = &args.platform
        && device::platform_name(platform).is_none()
    {
        let text = format!("there is no platform {platform:?}; `portcullis devices platforms` lists them");
        return Err(Failure::new(Exit::Usage, text));
    }
    let source = read(args).await?;
    let how = How {
        platform_of: &|name| device::platform_name(name).map(str::to_owned),
        logins: &target.logins,
        group_platforms: &target.group_platforms,
        platform: args.platform.as_deref().and_then(device::platform_name),
        login: args.login.as_deref(),
        groups: &args.groups,
        labels: &args.labels,
    };
    let folder = args.source.parent().unwrap_or(Path::new("")).to_owned();
    let beside = |name: &str| beside(&folder, name);
    let mut imported = inventory::import(source.format, &source.text, &beside, &how)
        .map_err(|error| failed(format!("{}: {error}", args.source.display())))?;
    imported.notes.extend(source.note);
    let (after, difference) = target.before.with(&imported.inventory, args.prune);
    let text = after.text();
    let problems = target.check(&text, globals).await.err();
    let writes = args.write && problems.is_none() && !(difference.is_empty() && target.edited.is_none());
    if writes {
        target.write(&text)?;
    }
    if out.json {
        let problems =
            problems.as_ref().map_or_else(|| json!([]), |found| found.to_json()["problems"].clone());
        let shown = json!({
            "file": target.file, "config": target.config, "written": writes, "difference": difference.to_json(),
            "notes": imported.notes, "problems": problems,
        });
        out.line(&shown.to_string());
    } else {
        difference.lines().iter().for_each(|line| out.line(&plain(line)));
        imported.notes.iter().for_each(|note| out.note(&format!("note: {}", plain(note))));
        let [added, changed, removed, kept] = difference.counts();
        out.note(&format!(
            "{}: {added} new, {changed} changed, {removed} removed, {kept} not in the source, {} as they were",
            target.file.display(),
            difference.unchanged
        ));
        if writes {
            out.note(
                "written; `portcullis devices trust` comes next for devices whose host keys are not known",
            );
        }
        if let Some(problems) = &problems {
            out.problems(problems);
        }
    }
    match (problems, args.write) {
        (Some(_), true) => Err(failed("nothing is written: the configuration would not be good with it")),
        (Some(_), false) => {
            Err(failed("it could not be written: the configuration would not be good with it"))
        }
        (None, false) if !out.json && !difference.is_empty() => {
            out.note("nothing is written; --write writes it");
            Ok(())
        }
        (None, _) => Ok(()),
    }
    .map_err(|failure| if out.json { Failure::said(Exit::Failed) } else { failure })
}

/// A source, read.
struct Source {
    format: Format,
    text: String,
    note: Option<String>,
}

async fn read(args: &ImportArgs) -> Result<Source, Failure> {
    let (path, shown) = (&args.source, args.source.display());
    let is_pipe = path.as_os_str() == "-";
    if path.is_dir() {
        return match ansible(path, &args.env).await? {
            Some(text) => Ok(Source { format: Format::AnsibleList, text, note: None }),
            None => Err(failed(format!(
                "{shown} is a folder, which only `ansible-inventory` reads; name its file"
            ))),
        };
    }
    let cannot = |error: io::Error| failed(format!("{shown} cannot be read: {error}"));
    let text = match is_pipe {
        true => bounded(io::stdin().lock()),
        false => std::fs::File::open(path).and_then(bounded),
    };
    let text = text.map_err(cannot)?;
    let format = match args.format {
        Some(FormatArg::Yaml) => Format::Yaml,
        Some(FormatArg::SshConfig) => Format::SshConfig,
        Some(FormatArg::Ansible) => Format::AnsibleIni,
        Some(FormatArg::AnsibleList) => Format::AnsibleList,
        Some(FormatArg::Csv) => Format::Csv,
        None => inventory::guess(&shown.to_string(), &text),
    };
    if format == Format::SshConfig && !is_pipe {
        let folder = path.parent().unwrap_or(Path::new(""));
        let text = inventory::with_includes(&text, &|pattern| included(folder, pattern))
            .map_err(|error| failed(format!("{shown}: {error}")))?;
        return Ok(Source { format, text, note: None });
    }
    if is_pipe || !inventory::is_ansible(format, &text) {
        return Ok(Source { format, text, note: None });
    }
    // Ansible runs what may be run, as it runs scripts that print an inventory.
    let may_run = std::fs::metadata(path).is_ok_and(|about| about.permissions().mode() & 0o111 != 0);
    if may_run && args.format != Some(FormatArg::Ansible) {
        let text =
            "is a program, which `ansible-inventory` would run; say --format ansible where that is meant";
        return Err(failed(format!("{shown} {text}")));
    }
    Ok(match ansible(path, &args.env).await? {
        Some(text) => Source { format: Format::AnsibleList, text, note: None },
        None => {
            let note = "`ansible-inventory` is not installed: read without its plugins, its vault and folders of variables";
            Source { format, text, note: Some(note.to_owned()) }
        }
    })
}

fn bounded(from: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(SOURCE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SOURCE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {SOURCE_BYTES_MAX} bytes"),
        ));
    }
    Ok(text)
}

/// The texts of the files that an SSH client's configuration includes, in the order of their names: of the folder that it
/// lies in, unless they are named from the root or the home folder.
fn included(folder: &Path, pattern: &str) -> Result<Vec<String>, ImportError> {
    let cannot = |why: String| ImportError(format!("`Include {pattern}`: {why}"));
    // What is not the pattern itself stands for itself.
    let plain = |path: &Path| path.to_str().map(glob::Pattern::escape);
    let home = data::environment("HOME");
    let place = match (pattern.strip_prefix("~/"), &home) {
        (Some(rest), Some(home)) => plain(Path::new(home)).map(|home| format!("{home}/{rest}")),
        _ if pattern.starts_with('/') => Some(pattern.to_owned()),
        _ => plain(&folder.join("")).map(|folder| format!("{folder}{pattern}")),
    };
    let place = place.ok_or_else(|| cannot("the name of its folder is not UTF-8".to_owned()))?;
    let how = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
    let mut texts = Vec::new();
    for file in glob::glob_with(&place, how).map_err(|error| cannot(error.to_string()))? {
        let file = file.map_err(|error| cannot(error.to_string()))?;
        // What is no file is not waited for.
        if file.is_file() {
            let read = std::fs::File::open(&file).and_then(bounded);
            texts.push(read.map_err(|error| cannot(format!("{}: {error}", file.display())))?);
        }
    }
    Ok(texts)
}

/// A file beside the source, and nowhere else.
fn beside(folder: &Path, name: &str) -> Option<String> {
    let is_plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let file = is_plain.then(|| folder.join(name)).filter(|file| file.is_file())?;
    bounded(std::fs::File::open(file).ok()?).ok()
}

/// What Ansible itself makes of its inventory; `None` where it is not installed.
async fn ansible(path: &Path, more: &[String]) -> Result<Option<String>, Failure> {
    let mut command = tokio::process::Command::new("ansible-inventory");
    command
        .arg("-i")
        .arg(path)
        .arg("--list")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let names = ANSIBLE_ENV.iter().copied().chain(more.iter().map(String::as_str));
    let own = names.filter_map(|name| Some((name.to_owned(), data::environment(name)?)));
    command.env_clear().envs(data::child_env().iter().cloned().chain(own));
    let mut child = match command.kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(format!("`ansible-inventory` cannot be started: {error}"))),
    };
    let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed("`ansible-inventory` has no output"));
    };
    let work = async {
        let (mut text, mut said) = (String::new(), String::new());
        let mut stdout = stdout.take(SOURCE_BYTES_MAX + 1);
        let errors = async {
            let mut first = (&mut stderr).take(64 << 10);
            // What is not text is no reason either.
            let _ = first.read_to_string(&mut said).await;
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await
        };
        let (printed, _) = tokio::join!(stdout.read_to_string(&mut text), errors);
        printed?;
        if text.len() as u64 > SOURCE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it printed more than 64 MiB"));
        }
        Ok::<_, io::Error>((child.wait().await?, text, said))
    };
    let done = tokio::time::timeout(ANSIBLE_TIME_MAX, work).await;
    let done = done.map_err(|_| {
        failed(format!("`ansible-inventory` took longer than {} s", ANSIBLE_TIME_MAX.as_secs()))
    })?;
    let (status, text, said) =
        done.map_err(|error| failed(format!("`ansible-inventory` cannot be read: {error}")))?;
    if !status.success() {
        let why = said
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("it did not say why")
            .to_owned();
        return Err(failed(format!("`ansible-inventory` failed ({status}): {}", plain(&why))));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_beside_a_source_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("in");
        std::fs::create_dir_all(inner.join("group_vars")).unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        std::fs::write(inner.join("group_vars/all.yml"), "a: 1").unwrap();
        assert_eq!(beside(&inner, "group_vars/all.yml").as_deref(), Some("a: 1"));
        for name in ["../secret", "/etc/hostname", "group_vars", "group_vars/../../secret", "none"] {
            assert_eq!(beside(&inner, name), None, "{name}");
        }
    }
}

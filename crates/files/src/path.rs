use std::{borrow::Cow, fmt};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::{Hidden, error::FilesError};

/// The longest name of one file or folder, in bytes (`NAME_MAX` on Linux and the BSDs).
const NAME_BYTES_MAX: usize = 255;

/// What temporary files of a write are called; no tool sees or takes such a name.
pub(crate) const STAGED_PREFIX: &str = ".portcullis-";
/// How the name of a temporary file ends.
pub(crate) const STAGED_SUFFIX: &str = ".tmp";

/// A path in normal form: `.`, or names joined by `/`, none of which is empty, `.` or `..`.
///
/// This is what policy, cache and audit go by. It does not say that the path is safe to open: links are the
/// kernel's to judge, in `jail.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RelPath(String);

impl RelPath {
    /// The root itself.
    pub(crate) fn root() -> Self {
        Self(".".to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0 == "."
    }

    /// Its names from the root on; none for the root.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| *name != ".")
    }

    /// True where it is `folder`, or in it at any depth.
    pub(crate) fn is_beneath(&self, folder: &Self) -> bool {
        let mut names = self.names();
        folder.names().all(|name| names.next() == Some(name))
    }

    /// The folder it is in, and its own name. `None` for the root.
    pub(crate) fn split(&self) -> Option<(Self, &str)> {
        match self.0.rsplit_once('/') {
            Some((folder, name)) => Some((Self(folder.to_owned()), name)),
            None if self.is_root() => None,
            None => Some((Self::root(), &self.0)),
        }
    }

    /// A name beneath it. `name` is a single name that was checked by [`Rules::takes_name`].
    pub(crate) fn join(&self, name: &str) -> Self {
        if self.is_root() { Self(name.to_owned()) } else { Self(format!("{}/{name}", self.0)) }
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which paths there are for a caller.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Absolute spellings of the root, each as its names. A path may begin with one.
    roots: Vec<Vec<String>>,
    chars_max: usize,
    hidden: Hidden,
    exclude: GlobSet,
}

impl Rules {
    pub(crate) fn new(
        roots: &[&str],
        chars_max: u32,
        hidden: Hidden,
        exclude: &[String],
    ) -> Result<Self, globset::Error> {
        let mut set = GlobSetBuilder::new();
        for pattern in exclude {
            set.add(glob(pattern)?);
            set.add(glob(&format!("{pattern}/**"))?);
        }
        let names = |root: &&str| root.split('/').filter(|n| !n.is_empty()).map(str::to_owned).collect();
        let roots = roots.iter().filter(|root| root.starts_with('/')).map(names).collect();
        Ok(Self { roots, chars_max: chars_max as usize, hidden, exclude: set.build()? })
    }

    /// Brings a path as sent into normal form: the root's own absolute prefix, `.` and empty names go.
    ///
    /// Error: where it leads out of the root by its spelling, is hidden or excluded, or is no path at all.
    pub(crate) fn normal(&self, sent: &str) -> Result<RelPath, FilesError> {
        let bad = |why| FilesError::BadPath { sent: shown(sent), why };
        if sent.is_empty() {
            return Err(bad("it is empty; '.' is the folder itself"));
        }
        if sent.chars().nth(self.chars_max).is_some() {
            return Err(bad("it is longer than `files.path_chars_max`"));
        }
        if sent.chars().any(is_refused) {
            return Err(bad("it holds a backslash, a control character or an invisible character"));
        }
        let names: Vec<&str> = sent.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        let escapes = || FilesError::Escapes { sent: shown(sent) };
        if names.contains(&"..") {
            return Err(escapes());
        }
        let names =
            if sent.starts_with('/') { self.beneath(&names).ok_or_else(escapes)? } else { &names[..] };
        if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
            return Err(bad("a name in it is longer than 255 bytes"));
        }
        let path = if names.is_empty() { RelPath::root() } else { RelPath(names.join("/")) };
        if names.iter().any(|name| is_staged(name)) || self.exclude.is_match(path.as_str()) {
            return Err(FilesError::NotFound { path: path.0 });
        }
        if self.hidden == Hidden::Refuse && names.iter().any(|name| name.starts_with('.')) {
            return Err(FilesError::Hidden { path: path.0 });
        }
        Ok(path)
    }

    /// The same for a path that is to be a file: one that ends in `/` or `/.` names a folder, whatever is there.
    pub(crate) fn normal_file(&self, sent: &str) -> Result<RelPath, FilesError> {
        let path = self.normal(sent)?;
        if !path.is_root() && (sent.ends_with('/') || sent.ends_with("/.")) {
            let why = "it ends in '/', which names a folder; a file has nothing behind its name";
            return Err(FilesError::BadPath { sent: shown(sent), why });
        }
        Ok(path)
    }

    /// True where `name` in `folder` is one that a caller could ask for.
    pub(crate) fn takes_name(&self, folder: &RelPath, name: &str) -> bool {
        self.normal(folder.join(name).as_str()).is_ok()
    }

    /// What is left of absolute `names` beneath one of the root's spellings.
    fn beneath<'a>(&self, names: &'a [&'a str]) -> Option<&'a [&'a str]> {
        let starts = |root: &&Vec<String>| {
            root.len() <= names.len() && root.iter().zip(names).all(|(root, name)| root == name)
        };
        self.roots.iter().filter(starts).map(Vec::len).max().map(|length| &names[length..])
    }
}

/// A glob over paths: `*` and `?` stay within one name, `**` crosses.
pub(crate) fn glob(pattern: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).build()
}

/// True for the name of a write's temporary file.
pub(crate) fn is_staged(name: &str) -> bool {
    name.starts_with(STAGED_PREFIX) && name.ends_with(STAGED_SUFFIX)
}

fn is_refused(c: char) -> bool {
    c == '\\' || c.is_control() || tool::is_deceptive(c)
}

/// A caller's text, short enough for a sentence.
fn shown(sent: &str) -> String {
    const CHARS_MAX: usize = 80;
    let cut: Cow<'_, str> = match sent.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &sent[..at]).into(),
        None => sent.into(),
    };
    cut.into_owned()
}

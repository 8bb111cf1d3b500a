//! The files of platforms, as they are built in.

/// A file in `platforms/`.
pub(super) struct File {
    /// Its name.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: &'static str,
    /// Names that others give it.
    pub(super) aliases: &'static [&'static str],
    /// What its devices are asked, and what a line of the answer fits.
    pub(super) signs: &'static [(&'static str, &'static str)],
    /// The rest, with what it takes over from others, as JSON.
    pub(super) text: &'static str,
}

/// Every file; the build makes the table.
pub(super) const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/platforms.rs"));

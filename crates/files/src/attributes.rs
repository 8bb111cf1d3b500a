use std::{fs::File, io};

/// The most bytes of names, and of one value, that Linux holds (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
#[cfg(target_os = "linux")]
const BYTES_MAX: usize = 64 * 1024;

/// Copies what is attached to a file: the operator's own attributes and its access list (xattr(7), acl(5)). Labels
/// of security modules and capabilities are the system's to give, and are not copied.
#[cfg(target_os = "linux")]
pub(crate) fn copy(from: &File, to: &File) -> io::Result<()> {
    use rustix::{
        fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr},
        io::Errno,
    };
    let mut names = vec![0; BYTES_MAX];
    let length = match flistxattr(from, &mut names[..]) {
        Err(Errno::NOTSUP) => return Ok(()),
        listed => listed?,
    };
    let mut value = Vec::new();
    for name in names[..length].split(|byte| *byte == 0) {
        if !name.starts_with(b"user.") && name != b"system.posix_acl_access" {
            continue;
        }
        value.resize(BYTES_MAX, 0);
        let length = fgetxattr(from, name, &mut value[..])?;
        fsetxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

/// Other systems have their own; none is copied.
#[cfg(not(target_os = "linux"))]
pub(crate) fn copy(_from: &File, _to: &File) -> io::Result<()> {
    Ok(())
}

//! The face for the command line: a socket in the data folder that only its owner and root can use.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
};
use tool::Stop;

use crate::{
    conn::{self, Answers, Peer},
    listen::{House, note_end, rest_after, see_out},
};

/// The most connections at once.
const CONNECTIONS_MAX: usize = 64;

/// The socket; its file goes away with it.
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Opens the socket. Whoever opens it holds the lock on the data folder, so that a socket which is already there
    /// was left behind. It gets its name only once its mode is 0600, so nobody else can slip in.
    ///
    /// Error: where something other than a socket has that name, or the path is longer than the system takes (108
    /// bytes).
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "something that is no socket has this name",
                ));
            }
            _ => {}
        }
        let unready = path.with_extension("new");
        match fs::remove_file(&unready) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&unready)?;
        fs::set_permissions(&unready, fs::Permissions::from_mode(0o600))?;
        fs::rename(&unready, path)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until `stop` is asked, as the network's accept loop does.
    pub(crate) async fn serve(self, house: House, doors: Arc<dyn Answers>, stop: Stop) {
        let mut guests = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.asked() => break,
                Some(ended) = guests.join_next() => { note_end(ended); continue }
                accepted = self.listener.accept(), if guests.len() < CONNECTIONS_MAX => accepted,
            };
            match accepted {
                Ok((socket, _)) => {
                    let Some(uid) = trusted(&socket) else { continue };
                    let (bounds, doors, stop) = (house.bounds, Arc::clone(&doors), stop.clone());
                    guests.spawn(conn::serve(socket, Peer::Local { uid }, bounds, doors, stop));
                }
                Err(error) => rest_after(&error, &stop).await,
            }
        }
        drop(self);
        see_out(guests, house.grace).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It may have been removed with its folder; then there is nothing left to do.
        let _ = fs::remove_file(&self.path);
    }
}

/// The user at the other end, where it is root or the user we run as.
fn trusted(socket: &UnixStream) -> Option<u32> {
    let uid = match socket.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => {
            tracing::warn!(%error, "a local client could not be told apart and was turned away");
            return None;
        }
    };
    let own = rustix::process::geteuid().as_raw();
    if uid == 0 || uid == own {
        return Some(uid);
    }
    tracing::warn!(uid, "a local client of another user was turned away");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_private_replaces_a_stale_one_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = Socket::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let client = UnixStream::connect(&path).await.unwrap();
        let (accepted, _) = socket.listener.accept().await.unwrap();
        assert_eq!(trusted(&accepted), Some(rustix::process::geteuid().as_raw()));
        drop((client, socket));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_of_that_name_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.sock");
        fs::write(&path, "precious").unwrap();
        assert!(Socket::open(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}

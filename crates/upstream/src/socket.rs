//! A server at the other end of a socket, one message a line: on this machine, or over TLS.

use std::{path::PathBuf, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use crate::{
    error::UpstreamError,
    guard::Guard,
    hub::Hub,
    pipe::{Pipe, Tongue},
};

/// Where it listens.
pub(crate) enum Socket {
    /// In the file system.
    Unix(PathBuf),
    /// On the network, by a name that its certificate must have.
    Tls { guard: Arc<Guard>, name: ServerName<'static>, config: Arc<ClientConfig> },
}

impl Socket {
    /// Connects. What comes goes to the hub, which closes when the connection does.
    pub(crate) async fn connect(
        &self,
        tongue: Tongue,
        line_bytes_max: usize,
        hub: &Arc<Hub>,
        tasks: &TaskTracker,
    ) -> Result<Arc<Pipe>, UpstreamError> {
        let cannot = |e: std::io::Error| UpstreamError::Connect(e.into());
        let how = (tongue, line_bytes_max);
        let pipe = match self {
            Self::Unix(path) => {
                let (input, output) = UnixStream::connect(path).await.map_err(cannot)?.into_split();
                Pipe::open((input, output), how, hub, tasks, None)
            }
            Self::Tls { guard, name, config } => {
                let addresses = guard.resolve().await?;
                let plain = TcpStream::connect(&*addresses).await.map_err(cannot)?;
                plain.set_nodelay(true).map_err(cannot)?;
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), plain).await.map_err(cannot)?;
                Pipe::open(tokio::io::split(stream), how, hub, tasks, None)
            }
        };
        // Whoever closes it closes both directions: nothing more is read from a server that nobody speaks to.
        let (closing, hub) = (pipe.closing().clone(), Arc::clone(hub));
        tasks.spawn(async move {
            tokio::select! {
                () = closing.cancelled() => hub.close("it was closed"),
                () = hub.gone().cancelled() => {}
            }
        });
        Ok(pipe)
    }
}

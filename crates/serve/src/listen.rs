//! The accept loop: takes connections in, within bounds, and sees them out.

use std::{
    collections::HashMap,
    io::{self, Write},
    net::{IpAddr, Ipv6Addr, Shutdown},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};
use tool::Stop;

use crate::{
    conn::{self, Answers, ConnBounds, Peer},
    road::Road,
};

/// How long the loop rests when the system has no more descriptors for us.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What a connection too many is told.
const FULL: &str = r#"{"error":"too many connections at once","status":"retry","detail":"too many connections at once","code":"busy"}"#;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    /// At once.
    pub(crate) all_max: usize,
    /// At once from one address.
    pub(crate) per_address_max: usize,
}

/// What every listener shares.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) bounds: ConnBounds,
    pub(crate) crowd: Crowd,
    pub(crate) seats: Seats,
    pub(crate) road: Arc<dyn Road>,
    /// How long running requests may take to end once the stop was asked.
    pub(crate) grace: Duration,
}

/// Who is connected.
#[derive(Clone, Default)]
pub(crate) struct Seats(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection's place; given back when dropped.
pub(crate) struct Seat {
    seats: Seats,
    address: IpAddr,
    road: Arc<dyn Road>,
}

/// Takes connections in until `stop` is asked; then sees the open ones out within the grace and aborts the rest.
pub(crate) async fn tcp(listener: TcpListener, house: House, doors: Arc<dyn Answers>, stop: Stop) {
    let mut guests = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.asked() => break,
            Some(ended) = guests.join_next() => { note_end(ended); continue }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => match Seat::take(&house, address.ip()) {
                Some(seat) => {
                    let _ = socket.set_nodelay(true);
                    let (bounds, doors, stop) = (house.bounds, Arc::clone(&doors), stop.clone());
                    guests.spawn(async move {
                        let _seat = seat;
                        conn::serve(socket, Peer::Network { from: address.ip() }, bounds, doors, stop).await;
                    });
                }
                None => turn_away(socket, &house),
            },
            Err(error) => rest_after(&error, &stop).await,
        }
    }
    drop(listener);
    see_out(guests, house.grace).await;
}

/// Waits for connections to end, and aborts those that do not within the grace.
pub(crate) async fn see_out(mut guests: JoinSet<()>, grace: Duration) {
    let until = Instant::now() + grace;
    while let Ok(Some(ended)) = tokio::time::timeout_at(until, guests.join_next()).await {
        note_end(ended);
    }
    if !guests.is_empty() {
        tracing::warn!(connections = guests.len(), "connections were still open after the grace and are cut");
        guests.shutdown().await;
    }
}

/// Logs a connection that ended by a panic.
pub(crate) fn note_end(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection broke");
    }
}

/// After an accept that failed: at once where only that connection was lost, else after a rest, so that a system out
/// of descriptors is not spun upon.
pub(crate) async fn rest_after(error: &io::Error, stop: &Stop) {
    use io::ErrorKind as Kind;
    if matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections at the moment; check the limit of open files");
    tokio::select! {
        () = stop.asked() => {}
        () = tokio::time::sleep(ACCEPT_REST) => {}
    }
}

impl Seat {
    fn take(house: &House, address: IpAddr) -> Option<Self> {
        let address = network_of(address);
        let mut taken = house.seats.lock();
        let here = taken.by_address.get(&address).copied().unwrap_or(0);
        if taken.all >= house.crowd.all_max || here >= house.crowd.per_address_max {
            return None;
        }
        taken.all += 1;
        taken.by_address.insert(address, here + 1);
        drop(taken);
        house.road.connection_opened();
        Some(Self { seats: house.seats.clone(), address, road: Arc::clone(&house.road) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.all -= 1;
        match taken.by_address.get_mut(&self.address) {
            Some(here) if *here > 1 => *here -= 1,
            _ => drop(taken.by_address.remove(&self.address)),
        }
        drop(taken);
        self.road.connection_closed();
    }
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one address: of IPv6 the first 64 bits, since one host has all the rest to choose from.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// Says that there is no room, as far as that goes without waiting.
fn turn_away(socket: TcpStream, house: &House) {
    let head = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-type: application/json";
    let text = format!("{head}\r\ncontent-length: {}\r\n\r\n{FULL}", FULL.len());
    // The socket does not block, and a new one has room for this; where it has not, the close says enough.
    if let Ok(mut socket) = socket.into_std() {
        let _ = socket.write(text.as_bytes());
        let _ = socket.shutdown(Shutdown::Write);
    }
    house.road.http_request("refused", 503, Duration::ZERO);
}

//! What is under way with one peer: the requests it sent us, and the requests we sent it.
//!
//! Plain tables; time comes in. One table belongs to one peer: two peers may use the same ids.
//!
//! Source: basic, "Requests"; basic/patterns/cancellation; basic/patterns/progress.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Instant,
};

use crate::{Id, WireError};

/// Why a request does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its id is that of another one still under way.
    #[error("another request with this id is still under way")]
    Duplicate,
    /// There are as many as there may be.
    #[error("as many requests are under way as may be; wait for one to end")]
    TooMany,
}

impl From<OpenError> for WireError {
    fn from(error: OpenError) -> Self {
        Self::invalid_request(error.to_string())
    }
}

/// The requests of a peer that we work on. `T` is what stops the work.
#[derive(Debug)]
pub struct Incoming<T> {
    max: usize,
    requests: HashMap<Id, Served<T>>,
    /// Progress token -> request; the newest, where a peer uses one twice.
    tokens: HashMap<Id, Id>,
}

#[derive(Debug)]
struct Served<T> {
    value: T,
    token: Option<Id>,
    since: Instant,
    is_cancelled: bool,
    /// The progress that was last reported.
    done: Option<f64>,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending<T> {
    /// Its peer waits for the answer.
    Answer(T),
    /// It was cancelled: nothing more is sent for it.
    Silent(T),
}

impl<T> Incoming<T> {
    /// An empty table for up to so many requests.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, requests: HashMap::new(), tokens: HashMap::new() }
    }

    /// A request comes in. A cancelled one still counts until its work has ended.
    pub fn open(&mut self, id: Id, token: Option<Id>, value: T, now: Instant) -> Result<(), OpenError> {
        let is_full = self.requests.len() >= self.max;
        let Entry::Vacant(place) = self.requests.entry(id) else { return Err(OpenError::Duplicate) };
        if is_full {
            return Err(OpenError::TooMany);
        }
        if let Some(token) = &token {
            self.tokens.insert(token.clone(), place.key().clone());
        }
        place.insert(Served { value, token, since: now, is_cancelled: false, done: None });
        Ok(())
    }

    /// The request that a progress token belongs to.
    #[must_use]
    pub fn by_token(&self, token: &Id) -> Option<&Id> {
        self.tokens.get(token)
    }

    /// What stops a request.
    #[must_use]
    pub fn get(&self, id: &Id) -> Option<&T> {
        self.requests.get(id).map(|served| &served.value)
    }

    /// Whether progress may be reported, and under which token: the request asked for it, is not cancelled, and
    /// `done` has grown since the last time.
    pub fn progress(&mut self, id: &Id, done: f64) -> Option<&Id> {
        let served = self.requests.get_mut(id).filter(|served| !served.is_cancelled)?;
        let token = served.token.as_ref()?;
        has_grown(&mut served.done, done).then_some(token)
    }

    /// The peer cancels a request. `None` for one that is unknown, has ended or was cancelled before: such
    /// notifications are ignored.
    pub fn cancel(&mut self, id: &Id) -> Option<&T> {
        let served = self.requests.get_mut(id)?;
        (!std::mem::replace(&mut served.is_cancelled, true)).then_some(&served.value)
    }

    /// The work of a request has ended.
    pub fn close(&mut self, id: &Id) -> Option<Ending<T>> {
        let served = self.requests.remove(id)?;
        if let Some(token) = &served.token
            && self.tokens.get(token) == Some(id)
        {
            self.tokens.remove(token);
        }
        Some(if served.is_cancelled { Ending::Silent(served.value) } else { Ending::Answer(served.value) })
    }

    /// The peer has gone: all requests are cancelled. What stops those that were not before.
    pub fn cancel_all(&mut self) -> Vec<&T> {
        let running = self.requests.values_mut().filter(|served| !served.is_cancelled);
        running
            .map(|served| {
                served.is_cancelled = true;
                &served.value
            })
            .collect()
    }

    /// When the oldest request came in.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.requests.values().map(|served| served.since).min()
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// True where none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

/// The request of somebody else that we pass on: a proxy's other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which peer: a number that whoever holds the peers gives out.
    pub peer: u64,
    /// Its id there.
    pub id: Id,
    /// What its progress is known by there.
    pub token: Option<Id>,
}

/// A request of ours that waits for its answer.
#[derive(Debug, PartialEq)]
pub struct Waiting<T> {
    /// Our id, which is also the progress token that we send.
    pub id: Id,
    /// Who waits.
    pub value: T,
    /// Whom we ask for.
    pub origin: Option<Origin>,
    /// When we stop waiting.
    pub deadline: Option<Instant>,
    done: Option<f64>,
}

/// What came for an id.
#[derive(Debug, PartialEq)]
pub enum Arrival<T> {
    /// The answer that was waited for.
    Wanted(Waiting<T>),
    /// An answer to a request that was answered, given up or cancelled before: it is dropped.
    Late,
    /// An answer to nothing that we asked: it is dropped.
    Unknown,
}

/// The requests that we sent to a peer. `T` is who waits for the answer.
///
/// Ids are our own and never used again, whatever the ids of those we ask for are.
#[derive(Debug)]
pub struct Outgoing<T> {
    max: usize,
    next: i64,
    requests: HashMap<i64, Waiting<T>>,
    origins: HashMap<(u64, Id), i64>,
    late: u64,
    unknown: u64,
}

impl<T> Outgoing<T> {
    /// An empty table for up to so many requests.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, next: 1, requests: HashMap::new(), origins: HashMap::new(), late: 0, unknown: 0 }
    }

    /// A request goes out. The id it gets is also its progress token, where whom we ask for has one.
    ///
    /// Error: as many are under way as may be.
    pub fn open(
        &mut self,
        value: T,
        origin: Option<Origin>,
        deadline: Option<Instant>,
    ) -> Result<Id, OpenError> {
        if self.requests.len() >= self.max {
            return Err(OpenError::TooMany);
        }
        let number = self.next;
        self.next += 1;
        if let Some(origin) = &origin {
            self.origins.insert((origin.peer, origin.id.clone()), number);
        }
        let id = Id::integer(number);
        self.requests.insert(number, Waiting { id: id.clone(), value, origin, deadline, done: None });
        Ok(id)
    }

    /// An answer comes in.
    pub fn answered(&mut self, id: &Id) -> Arrival<T> {
        if let Some(waiting) = self.take(id) {
            return Arrival::Wanted(waiting);
        }
        if id.as_integer().is_some_and(|number| (1..self.next).contains(&number)) {
            self.late += 1;
            return Arrival::Late;
        }
        self.unknown += 1;
        Arrival::Unknown
    }

    /// Progress comes in: who waits, where the request is under way and `done` has grown.
    pub fn progress(&mut self, token: &Id, done: f64) -> Option<&Waiting<T>> {
        let waiting = self.requests.get_mut(&token.as_integer()?)?;
        has_grown(&mut waiting.done, done).then_some(waiting)
    }

    /// Waits longer, as may be done where there is progress.
    pub fn extend(&mut self, id: &Id, deadline: Instant) {
        if let Some(waiting) = id.as_integer().and_then(|number| self.requests.get_mut(&number)) {
            waiting.deadline = Some(deadline);
        }
    }

    /// Nobody waits any more. What comes for it later is late.
    pub fn cancel(&mut self, id: &Id) -> Option<Waiting<T>> {
        self.take(id)
    }

    /// Whom we asked for cancels its request.
    pub fn cancel_for(&mut self, peer: u64, id: &Id) -> Option<Waiting<T>> {
        let number = *self.origins.get(&(peer, id.clone()))?;
        self.take(&Id::integer(number))
    }

    /// Whom we asked for has gone: all that we asked for it is given up.
    pub fn cancel_all_for(&mut self, peer: u64) -> Vec<Waiting<T>> {
        self.take_where(|waiting| waiting.origin.as_ref().is_some_and(|origin| origin.peer == peer))
    }

    /// Gives up what should have been answered by `now`.
    pub fn expire(&mut self, now: Instant) -> Vec<Waiting<T>> {
        self.take_where(|waiting| waiting.deadline.is_some_and(|deadline| deadline <= now))
    }

    /// The peer has gone: all that waits, oldest first.
    pub fn drain(&mut self) -> Vec<Waiting<T>> {
        self.take_where(|_| true)
    }

    /// When [`Outgoing::expire`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.requests.values().filter_map(|waiting| waiting.deadline).min()
    }

    /// Who waits, in no order.
    pub fn waiting(&self) -> impl Iterator<Item = &T> {
        self.requests.values().map(|waiting| &waiting.value)
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// True where none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many answers came too late or twice, so far.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late
    }

    /// How many answers came to nothing that we asked, so far.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    fn take(&mut self, id: &Id) -> Option<Waiting<T>> {
        let number = id.as_integer()?;
        let waiting = self.requests.remove(&number)?;
        if let Some(origin) = &waiting.origin {
            let key = (origin.peer, origin.id.clone());
            if self.origins.get(&key) == Some(&number) {
                self.origins.remove(&key);
            }
        }
        Some(waiting)
    }

    fn take_where(&mut self, is_meant: impl Fn(&Waiting<T>) -> bool) -> Vec<Waiting<T>> {
        let meant = self.requests.iter().filter(|(_, waiting)| is_meant(waiting));
        let mut numbers: Vec<i64> = meant.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|number| self.take(&Id::integer(number))).collect()
    }
}

/// True, and remembered, where progress is more than it was.
fn has_grown(last: &mut Option<f64>, done: f64) -> bool {
    let has_grown = done.is_finite() && last.is_none_or(|last| done > last);
    if has_grown {
        *last = Some(done);
    }
    has_grown
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn text(id: &str) -> Id {
        Id::text(id).unwrap()
    }

    #[test]
    fn ids_of_a_peer_are_its_own_while_they_are_under_way() {
        let (mut table, now) = (Incoming::new(2), Instant::now());
        assert_eq!(table.open(1.into(), None, 'a', now), Ok(()));
        assert_eq!(table.open(1.into(), None, 'b', now), Err(OpenError::Duplicate));
        assert_eq!(table.open(text("1"), None, 'c', now), Ok(()));
        assert_eq!(table.open(2.into(), None, 'd', now), Err(OpenError::TooMany));
        assert_eq!(table.open(1.into(), None, 'e', now), Err(OpenError::Duplicate));
        assert_eq!(table.close(&1.into()), Some(Ending::Answer('a')));
        assert_eq!(table.close(&1.into()), None);
        assert_eq!(table.open(1.into(), None, 'f', now), Ok(()), "free again");
        assert_eq!((table.len(), table.oldest()), (2, Some(now)));
    }

    #[test]
    fn cancelling_too_late_or_twice_is_ignored() {
        let mut table = Incoming::new(9);
        table.open(1.into(), Some(7.into()), 'a', Instant::now()).unwrap();
        assert_eq!(table.cancel(&2.into()), None);
        assert_eq!(table.cancel(&text("1")), None);
        assert_eq!(table.cancel(&1.into()), Some(&'a'));
        assert_eq!(table.cancel(&1.into()), None);
        assert_eq!(table.progress(&1.into(), 1.0), None, "nothing more is sent for it");
        assert_eq!(table.close(&1.into()), Some(Ending::Silent('a')));
        assert_eq!(table.cancel(&1.into()), None);
        table.open(2.into(), None, 'b', Instant::now()).unwrap();
        table.open(3.into(), None, 'c', Instant::now()).unwrap();
        table.cancel(&2.into());
        assert_eq!(table.cancel_all(), [&'c']);
        assert_eq!(table.cancel_all(), [&'x'; 0]);
    }

    #[test]
    fn progress_only_grows_and_ends_with_its_request() {
        let mut table = Incoming::new(9);
        table.open(1.into(), Some(text("t")), (), Instant::now()).unwrap();
        table.open(2.into(), None, (), Instant::now()).unwrap();
        let reported: Vec<bool> = [0.0, 0.0, 0.5, 0.4, f64::NAN, f64::INFINITY, 1.0]
            .map(|done| table.progress(&1.into(), done).is_some())
            .to_vec();
        assert_eq!(reported, [true, false, true, false, false, false, true]);
        assert_eq!(table.progress(&1.into(), 2.0), Some(&text("t")));
        assert_eq!(table.progress(&2.into(), 1.0), None, "it did not ask");
        assert_eq!(table.by_token(&text("t")), Some(&1.into()));
        table.open(3.into(), Some(text("t")), (), Instant::now()).unwrap();
        table.close(&1.into());
        assert_eq!(table.by_token(&text("t")), Some(&3.into()), "the newest has it");
        table.close(&3.into());
        assert_eq!(table.by_token(&text("t")), None);
        assert_eq!(table.progress(&1.into(), 9.0), None);
    }

    fn origin(peer: u64, id: i64) -> Option<Origin> {
        Some(Origin { peer, id: id.into(), token: Some(text("p")) })
    }

    #[test]
    fn answers_that_nobody_waits_for_are_dropped_and_counted() {
        let mut table = Outgoing::new(2);
        let first = table.open('a', None, None).unwrap();
        let second = table.open('b', None, None).unwrap();
        assert_eq!(table.open('c', None, None), Err(OpenError::TooMany));
        assert!(matches!(table.answered(&first), Arrival::Wanted(Waiting { value: 'a', .. })));
        assert_eq!(table.answered(&first), Arrival::Late);
        assert!(table.cancel(&second).is_some());
        assert_eq!(table.answered(&second), Arrival::Late);
        for id in [0.into(), 3.into(), (-1).into(), text("1"), Id::parse("99999999999999999999").unwrap()] {
            assert_eq!(table.answered(&id), Arrival::Unknown, "{id}");
        }
        assert_eq!((table.late(), table.unknown(), table.len()), (2, 5, 0));
        assert_eq!(table.open('d', None, None), Ok(3.into()), "no id is used again");
    }

    #[test]
    fn equal_ids_and_tokens_of_two_clients_stay_apart() {
        let mut table = Outgoing::new(9);
        let ada = table.open("ada", origin(1, 5), None).unwrap();
        let eve = table.open("eve", origin(2, 5), None).unwrap();
        assert_ne!(ada, eve);
        let waiting = table.progress(&eve, 0.5).unwrap();
        assert_eq!((waiting.value, waiting.origin.as_ref().unwrap().peer), ("eve", 2));
        assert!(table.progress(&eve, 0.5).is_none());
        assert!(table.progress(&text("p"), 0.6).is_none(), "a token of theirs is none of ours");
        assert_eq!(table.cancel_for(1, &5.into()).unwrap().id, ada);
        assert_eq!(table.cancel_for(1, &5.into()), None);
        assert_eq!(table.answered(&ada), Arrival::Late);
        assert!(matches!(table.answered(&eve), Arrival::Wanted(Waiting { value: "eve", .. })));
        assert_eq!(table.cancel_for(2, &5.into()), None);
    }

    #[test]
    fn a_peer_that_goes_takes_its_requests_along() {
        let mut table = Outgoing::new(9);
        for (peer, id) in [(1, 1), (2, 1), (1, 2)] {
            table.open(peer * 10 + u64::try_from(id).unwrap(), origin(peer, id), None).unwrap();
        }
        table.open(0, None, None).unwrap();
        let gone: Vec<u64> = table.cancel_all_for(1).into_iter().map(|waiting| waiting.value).collect();
        assert_eq!(gone, [11, 12]);
        let rest: Vec<u64> = table.drain().into_iter().map(|waiting| waiting.value).collect();
        assert_eq!(rest, [21, 0]);
        assert!(table.is_empty() && table.origins.is_empty());
    }

    #[test]
    fn what_is_not_answered_in_time_is_given_up() {
        let (mut table, start) = (Outgoing::new(9), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        let first = table.open('a', None, Some(at(10))).unwrap();
        table.open('b', None, Some(at(20))).unwrap();
        table.open('c', None, None).unwrap();
        assert_eq!(table.next_deadline(), Some(at(10)));
        assert!(table.expire(at(9)).is_empty());
        table.extend(&first, at(30));
        let mut given_up =
            |ms| table.expire(at(ms)).into_iter().map(|waiting| waiting.value).collect::<String>();
        assert_eq!(
            (given_up(20), given_up(29), given_up(30), given_up(9_999)),
            ("b".into(), "".into(), "a".into(), "".into())
        );
        assert_eq!((table.len(), table.next_deadline()), (1, None));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Open(u64, i64),
        Answer(i64),
        CancelFor(u64, i64),
        Gone(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0_u64..3, 0_i64..4).prop_map(|(peer, id)| Step::Open(peer, id)),
            (0_i64..20).prop_map(Step::Answer),
            (0_u64..3, 0_i64..4).prop_map(|(peer, id)| Step::CancelFor(peer, id)),
            (0_u64..3).prop_map(Step::Gone),
        ];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        #[test]
        fn every_request_ends_once(steps in steps()) {
            let (mut table, mut opened, mut ended) = (Outgoing::new(6), Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Open(peer, id) => opened.extend(table.open((), origin(peer, id), None)),
                    Step::Answer(id) => {
                        if let Arrival::Wanted(waiting) = table.answered(&id.into()) {
                            ended.push(waiting.id);
                        }
                    }
                    Step::CancelFor(peer, id) => ended.extend(table.cancel_for(peer, &id.into()).map(|w| w.id)),
                    Step::Gone(peer) => ended.extend(table.cancel_all_for(peer).into_iter().map(|w| w.id)),
                }
                prop_assert!(table.len() <= 6 && table.origins.len() <= table.len());
                prop_assert_eq!(opened.len(), ended.len() + table.len());
            }
            ended.extend(table.drain().into_iter().map(|waiting| waiting.id));
            let ended: std::collections::HashSet<_> = ended.into_iter().collect();
            prop_assert_eq!(ended.len(), opened.len());
            prop_assert!(table.origins.is_empty());
        }
    }
}

//! Whatever a device prints, and however it is cut into pieces: every exchange ends within its bounds, memory is bounded,
//! and the password leaves us at most once.

use proptest::prelude::*;

use super::*;
use crate::platform::named;

const BOUNDS: Bounds = Bounds {
    login_max: Duration::from_secs(5),
    command_max: Duration::from_secs(5),
    silence_max: Duration::from_secs(2),
    output_bytes_max: 4096,
};
const PASSWORD: &str = "p4ssw0rd-of-the-test";

/// What devices print, good and bad.
const PIECES: &[&str] = &[
    "\r\nr1#",
    "\r\nr1>",
    "r1(config)#",
    "\r\nPassword: ",
    "login: ",
    " --More-- ",
    "\r        \r",
    "show x\r\n",
    "\r\n",
    "\x1b[2K\r",
    "\x1b[H\x1b[2J",
    "\x1b[?2004hbird> \r\x1b[K",
    "\x08\x08\x08",
    "[confirm]",
    "Are you sure? [y/n] ",
    "% Invalid input detected",
    "<HUAWEI>",
    "user@host:~$ ",
    "\u{0}\u{7}",
    "lines 1-24",
    "\x1b[9999999999;1@\x1b[65535C\x1b[4294967295P",
];

#[derive(Clone, Debug)]
enum Event {
    Prints(Vec<u8>),
    Waits(u64),
    Closes,
}

fn event() -> impl Strategy<Value = Event> {
    let known = proptest::sample::select(PIECES).prop_map(|text| Event::Prints(text.as_bytes().to_vec()));
    let random = proptest::collection::vec(any::<u8>(), 0..64).prop_map(Event::Prints);
    let long = (any::<u8>(), 0..20_000_usize).prop_map(|(byte, count)| Event::Prints(vec![byte; count]));
    prop_oneof![
        8 => known,
        3 => random,
        1 => long,
        4 => (0_u64..3000).prop_map(Event::Waits),
        1 => Just(Event::Closes),
    ]
}

/// Drives a session through what happens, and then through silence, until it has a result.
fn ends(
    session: &mut Session,
    now: &mut Instant,
    events: &mut impl Iterator<Item = Event>,
    typed: &mut Vec<u8>,
) {
    let began = *now;
    for _ in 0..10_000 {
        match session.poll(*now) {
            Step::Done(_) => return,
            Step::Write(written) => typed.extend(written.bytes),
            Step::Wait(until) => match events.next() {
                Some(Event::Prints(bytes)) => session.feed(&bytes, *now),
                Some(Event::Waits(ms)) => *now += Duration::from_millis(ms),
                Some(Event::Closes) => session.closed(),
                None => *now = (*now).max(until),
            },
        }
        assert!(*now - began < Duration::from_secs(200), "an exchange does not end");
    }
    panic!("the session goes round in circles");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_session_survives_it(
        platform in proptest::sample::select(&["cisco_ios", "bird", "autodetect", "huawei", "juniper_junos", "nokia_sros"][..]),
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let mut now = Instant::now();
        let secret = || Some(Secret::new(PASSWORD.to_owned()));
        let typist = Typist { user: "user".to_owned(), password: secret(), enable: None };
        let mut session = Session::open(Arc::clone(named(platform).unwrap()), typist, BOUNDS, now);
        let (mut events, mut typed) = (events.into_iter(), Vec::new());
        ends(&mut session, &mut now, &mut events, &mut typed);
        for _ in 0..3 {
            if session.is_lost() {
                break;
            }
            session.run("show x", now);
            ends(&mut session, &mut now, &mut events, &mut typed);
        }
        let sent = String::from_utf8_lossy(&typed).matches(PASSWORD).count();
        prop_assert!(sent <= 1, "the password was sent {sent} times");
        prop_assert!(session.screen.above().len() <= BOUNDS.output_bytes_max);
    }
}

//! The text of an intent: a written text is parsed back, and a changed text is refused. The first line of an input is
//! the kind of the rest:
//!
//! - `bytes`: the bytes of a file.
//! - `signed`: lines, to which a valid checksum is added.
//! - `written CHANGE FROM TO`: lines with group, purpose (0 to 3), machine, time and hosts. The text of that intent is
//!   changed: `none`, `flip` (the bits TO of the byte FROM), `cut`, or `insert` (the line of the hosts).
#![no_main]

use std::time::{Duration, SystemTime};

use cluster_client::{GroupId, Host, Intent, Stamp, fuzzing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let Ok(how) = std::str::from_utf8(&input[..end]) else { return };
    let rest = input.get(end + 1..).unwrap_or_default();
    let words: Vec<&str> = how.split(' ').collect();
    match (words[..].first(), std::str::from_utf8(rest)) {
        (Some(&"bytes"), _) => read(rest),
        (Some(&"signed"), Ok(body)) => read(fuzzing::signed(body).as_bytes()),
        (Some(&"written"), Ok(lines)) => {
            let number = |place: usize| words.get(place).and_then(|word| word.parse().ok()).unwrap_or(0);
            write(lines, words.get(1).copied().unwrap_or_default(), number(2), number(3));
        }
        _ => {}
    }
});

fn read(bytes: &[u8]) {
    match Intent::parse(bytes) {
        Ok(intent) => {
            let stamp = Stamp::new(1, None, SystemTime::UNIX_EPOCH);
            assert_eq!(Intent::parse(intent.to_text(&stamp).as_bytes()).as_ref(), Ok(&intent));
        }
        Err(refused) => assert!(!refused.to_string().chars().any(char::is_control), "{refused:?}"),
    }
}

fn write(lines: &str, change: &str, from: usize, to: usize) {
    let mut lines = lines.splitn(5, '\n');
    let [group, purpose, machine, started, others] = [(); 5].map(|()| lines.next().unwrap_or_default());
    let Ok(group) = GroupId::parse(group) else { return };
    let mut hosts: Vec<Host> = others.split(',').filter_map(|host| Host::parse(host).ok()).collect();
    hosts.push(Host::parse("http://node1:8000").expect("a host"));
    hosts.sort();
    hosts.dedup();
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(started.parse::<u64>().unwrap_or(0) % (1 << 38));
    let stamp = Stamp::new(1, Some(machine).filter(|machine| !machine.is_empty()), started);
    let intent = fuzzing::intent(group, purpose.parse().unwrap_or(0), hosts);

    let text = intent.to_text(&stamp).into_bytes();
    let mut changed = text.clone();
    let (from, to) = (from % (text.len() + 1), to % (text.len() + 1));
    match change {
        "flip" => changed[from % text.len()] ^= to.to_le_bytes()[0],
        "cut" => drop(changed.drain(from.min(to)..from.max(to))),
        "insert" => drop(changed.splice(from..from, others.bytes())),
        _ => {}
    }
    let read = Intent::parse(&changed);
    if changed == text {
        assert_eq!(read.as_ref(), Ok(&intent));
    } else {
        assert!(read.is_err(), "taken: {:?}", String::from_utf8_lossy(&changed));
    }
}

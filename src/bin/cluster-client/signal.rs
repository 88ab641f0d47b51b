//! SIGINT (Ctrl-C), SIGTERM and SIGHUP. The first cancels, which rolls a create back; only a second SIGINT leaves
//! at once. A hang-up often comes twice, from the kernel and from the shell, so it never leaves anything behind.
//!
//! A signal that was ignored when the command was started stays ignored: `nohup` and a shell's `&` do that.

use std::sync::mpsc;
use std::time::Duration;

use cluster_client::{CancelToken, DirectoryJournal, Journal as _};

use crate::exit::{CliError, Exit};
use crate::next::Next;
use crate::output::{self, eprint};
use crate::settings::Journal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// SIGINT: a person at a terminal, who can repeat it.
    Interrupt,
    /// SIGTERM or SIGHUP.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is only Ctrl-C"))]
    End,
}

/// What has to be known when a signal comes.
pub(crate) struct SignalContext {
    pub(crate) journal: Journal,
    /// What to type next if there is a journal.
    pub(crate) recover: Next,
    /// What to type next if there is none.
    pub(crate) look: Next,
    /// What the first signal does.
    pub(crate) meaning: &'static str,
}

/// Cancels operations with this token when a signal comes.
pub(crate) fn watch(leaving: SignalContext) -> Result<CancelToken, CliError> {
    let token = CancelToken::new();
    let cancel = token.clone();
    on_signal(move |signal, interrupts| {
        if signal == Signal::Interrupt && interrupts > 1 {
            leaving.leave();
        }
        let again = cancel.is_cancelled();
        // Nothing that could block comes before this.
        cancel.cancel();
        let still = if again { "still " } else { "" };
        let how = if interrupts > 0 { "once more" } else { "Ctrl-C twice" };
        let text = format!("interrupted: {still}{}; {how} to leave at once", leaving.meaning);
        eprint(&text);
    })?;
    Ok(token)
}

/// Calls `end` at the first signal; a second SIGINT ends the process.
pub(crate) fn once(end: impl Fn() + Send + 'static) -> Result<(), CliError> {
    let mut ended = false;
    on_signal(move |signal, interrupts| {
        if signal == Signal::Interrupt && interrupts > 1 {
            std::process::exit(Exit::Interrupted.code().into());
        }
        if !std::mem::replace(&mut ended, true) {
            end();
        }
    })
}

/// Calls `handler` on a thread of its own, where locks and files may be used, with each signal and the number of
/// SIGINTs so far.
fn on_signal(mut handler: impl FnMut(Signal, u32) + Send + 'static) -> Result<(), CliError> {
    let mut interrupts = 0;
    deliver(move |signal| {
        if output::is_finishing() {
            output::leave(output::UNREAD);
        }
        interrupts += u32::from(signal == Signal::Interrupt);
        handler(signal, interrupts);
        output::limit_waits();
    })
    .map_err(|error| CliError::unchanged(format!("signals cannot be watched: {error}")))
}

#[cfg(unix)]
fn deliver(mut handler: impl FnMut(Signal) + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::{flag, low_level::pipe};
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    let ignored = ignored::mask();
    let (mut receiver, sender) = UnixStream::pair()?;
    let came: [_; 2] = std::array::from_fn(|_| Arc::new(AtomicBool::new(false)));
    for (number, place) in [(SIGINT, 0), (SIGTERM, 1), (SIGHUP, 1)] {
        if !ignored::contains(ignored, number) {
            // Register the mark first: it must be set when the byte arrives.
            flag::register(number, Arc::clone(&came[place]))?;
            pipe::register(number, sender.try_clone()?)?;
        }
    }
    let deliver = move || {
        loop {
            // If the read fails, poll the marks instead.
            match receiver.read(&mut [0]) {
                // Every signal is ignored.
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => std::thread::sleep(BREATH),
                _ => {}
            }
            for (mark, signal) in came.iter().zip([Signal::Interrupt, Signal::End]) {
                if mark.swap(false, Ordering::SeqCst) {
                    handler(signal);
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(deliver).map(drop)
}

/// The pause after a failed read.
#[cfg(unix)]
const BREATH: Duration = Duration::from_millis(20);

/// There is only Ctrl-C.
#[cfg(not(unix))]
fn deliver(mut handler: impl FnMut(Signal) + Send + 'static) -> std::io::Result<()> {
    ctrlc::set_handler(move || handler(Signal::Interrupt)).map_err(std::io::Error::other)
}

/// The signals that whoever started this process has set to be ignored. The system call that tells is `unsafe`, so
/// the system's own listing is read. Where that cannot be read, no signal counts as ignored.
#[cfg(unix)]
mod ignored {
    /// Signal 1 is the lowest bit.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn mask() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().find_map(|line| parse(line.strip_prefix("SigIgn:")?)).unwrap_or(0)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn mask() -> u64 {
        let process = std::process::id().to_string();
        let listing = std::process::Command::new("ps").args(["-o", "sigignore=", "-p", &process]).output();
        listing.ok().and_then(|listing| parse(&String::from_utf8_lossy(&listing.stdout))).unwrap_or(0)
    }

    pub(super) fn contains(mask: u64, signal: i32) -> bool {
        mask >> (signal - 1) & 1 == 1
    }

    fn parse(hexadecimal: &str) -> Option<u64> {
        u64::from_str_radix(hexadecimal.trim(), 16).ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn mask_has_the_lowest_bit_for_signal_1() {
            let mask = parse("\t0000000000001001").unwrap();
            assert!(contains(mask, 1) && contains(mask, 13));
            assert!(!contains(mask, 2) && !contains(mask, 15));
            assert_eq!(parse("ffffffffffffffff"), Some(u64::MAX));
            assert_eq!(parse("Ignored"), None);
        }

        /// The Rust runtime ignores it in every program.
        #[test]
        fn sigpipe_is_found_ignored() {
            assert!(contains(mask(), signal_hook::consts::SIGPIPE));
            assert!(!contains(mask(), signal_hook::consts::SIGTERM));
        }
    }
}

/// The journal may lie on a disk that does not answer.
const PATIENCE_FOR_JOURNAL: Duration = Duration::from_secs(2);

impl SignalContext {
    fn leave(&self) -> ! {
        let (journal, recover, look) = (self.journal.clone(), self.recover.lines(), self.look.lines());
        let (tell, told) = mpsc::channel();
        let unread = format!("left at once. What the journal holds cannot be read now.\n{recover}");
        let read = move || tell.send(what_is_left(&journal, &recover, &look));
        let _ = std::thread::Builder::new().name("journal".into()).spawn(read);
        output::leave(&told.recv_timeout(PATIENCE_FOR_JOURNAL).unwrap_or(unread))
    }
}

fn what_is_left(journal: &Journal, recover: &str, look: &str) -> String {
    let Journal::Directory(directory) = journal else {
        return format!("left at once. There is no journal; a status shows what is left.\n{look}");
    };
    let place = directory.display();
    match DirectoryJournal::open(directory).and_then(|store| store.unfinished()) {
        Ok(held) if held.entries.is_empty() && held.unreadable.is_empty() => {
            format!("left at once. The journal in {place} is empty: nothing was begun, or all is settled.")
        }
        Ok(held) => {
            const SHOWN: usize = 10;
            let mut names: Vec<String> = held.groups().take(SHOWN).map(ToString::to_string).collect();
            if held.entries.len() > SHOWN {
                names.push(format!("{} more", held.entries.len() - SHOWN));
            }
            if !held.unreadable.is_empty() {
                names.push(format!("{} entries that cannot be read", held.unreadable.len()));
            }
            format!("left at once. The journal in {place} holds: {}.\n{recover}", names.join(", "))
        }
        Err(error) => format!("left at once. {error}.\n{recover}"),
    }
}

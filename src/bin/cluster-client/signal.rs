//! SIGINT (Ctrl-C), SIGTERM and SIGHUP. The first signal cancels, which rolls a create back. Only a second SIGINT exits
//! at once. A repeated SIGHUP does not, because the kernel and the shell may each send one.
//!
//! A signal that was ignored when the command was started stays ignored. `nohup` and a shell's `&` rely on that.

use std::sync::mpsc;
use std::time::Duration;

use cluster_client::CancelToken;

use crate::exit::{CliError, Exit};
use crate::next::Next;
use crate::output::{self, eprint};
use crate::settings::{Journal, Sourced};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// SIGINT, which a person at a terminal can repeat.
    Interrupt,
    /// SIGTERM or SIGHUP.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is only Ctrl-C"))]
    End,
}

/// Texts and settings for the handler of signals.
pub(crate) struct SignalContext {
    pub(crate) journal: Sourced<Journal>,
    /// The next command if there is a journal.
    pub(crate) recover: Next,
    /// The next command if there is none.
    pub(crate) look: Next,
    /// The effect of the first signal.
    pub(crate) meaning: &'static str,
}

/// Returns a token that the first signal cancels.
pub(crate) fn watch(context: SignalContext) -> Result<CancelToken, CliError> {
    let token = CancelToken::new();
    let cancel = token.clone();
    on_signal(move |signal, interrupts| {
        if signal == Signal::Interrupt && interrupts > 1 {
            context.leave();
        }
        let again = cancel.is_cancelled();
        // Cancel before any call that may block.
        cancel.cancel();
        let still = if again { "still " } else { "" };
        let how = if interrupts > 0 { "once more" } else { "Ctrl-C twice" };
        let text = format!("interrupted: {still}{}; {how} to leave at once", context.meaning);
        eprint(&text);
    })?;
    Ok(token)
}

/// Calls `end` at the first signal. A second SIGINT ends the process.
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

/// Calls `handler` with each signal and the number of SIGINTs so far. It runs on a thread of its own, so it may use locks
/// and files.
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
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    use signal_hook::{flag, low_level::pipe};
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    let ignored = ignored::mask();
    let (mut receiver, sender) = UnixStream::pair()?;
    let marks: [_; 2] = std::array::from_fn(|_| Arc::new(AtomicBool::new(false)));
    for (number, place) in [(SIGINT, 0), (SIGTERM, 1), (SIGHUP, 1)] {
        if !ignored::contains(ignored, number) {
            // Register the mark first, so that it is set when the byte arrives.
            flag::register(number, Arc::clone(&marks[place]))?;
            pipe::register(number, sender.try_clone()?)?;
        }
    }
    // A write beyond the limit of a file's size is then an error as of a full disk, which ends no operation.
    flag::register(SIGXFSZ, Arc::default())?;
    let deliver = move || {
        loop {
            // If the read fails, poll the marks instead.
            match receiver.read(&mut [0]) {
                // Every signal is ignored.
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => std::thread::sleep(READ_DELAY),
                _ => {}
            }
            for (mark, signal) in marks.iter().zip([Signal::Interrupt, Signal::End]) {
                if mark.swap(false, Ordering::SeqCst) {
                    handler(signal);
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(deliver).map(drop)
}

/// Delay after a failed read.
#[cfg(unix)]
const READ_DELAY: Duration = Duration::from_millis(20);

/// Delivers Ctrl-C, which is the only signal of such systems.
#[cfg(not(unix))]
fn deliver(mut handler: impl FnMut(Signal) + Send + 'static) -> std::io::Result<()> {
    ctrlc::set_handler(move || handler(Signal::Interrupt)).map_err(std::io::Error::other)
}

/// Reads which signals were ignored when this process started. `sigaction` would need `unsafe`, so `/proc` or `ps` is
/// read instead. If that fails, no signal counts as ignored.
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

        /// The Rust runtime ignores SIGPIPE in every program.
        #[test]
        fn mask_of_this_process_has_sigpipe_and_not_sigterm() {
            assert!(contains(mask(), signal_hook::consts::SIGPIPE));
            assert!(!contains(mask(), signal_hook::consts::SIGTERM));
        }
    }
}

/// Maximum time to read the journal, which may be on a disk that hangs.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(2);

impl SignalContext {
    fn leave(&self) -> ! {
        let (journal, recover, look) = (self.journal.clone(), self.recover.lines(), self.look.lines());
        let (sender, receiver) = mpsc::channel();
        let unread = format!("left at once. The journal could not be read in time.\n{recover}");
        let read = move || sender.send(remaining(&journal, &recover, &look));
        let _ = std::thread::Builder::new().name("journal".into()).spawn(read);
        output::leave(&receiver.recv_timeout(JOURNAL_TIMEOUT).unwrap_or(unread))
    }
}

fn remaining(journal: &Sourced<Journal>, recover: &str, look: &str) -> String {
    if matches!(journal.value, Journal::Off | Journal::NoPlace) {
        return format!("left at once. There is no journal; a status shows the state of the hosts.\n{look}");
    }
    let place = journal.value.place();
    match journal.unfinished() {
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

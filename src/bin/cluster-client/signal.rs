//! Ctrl-C, and its relatives SIGTERM and SIGHUP. The first gives the operation up, which rolls a create back;
//! the second leaves at once and says what the journal holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster_client::{CancelToken, DirectoryStore, IntentStore as _};

use crate::exit::{Exit, Stop};
use crate::next::Next;
use crate::output::say;
use crate::progress::Progress;
use crate::settings::Journal;

/// What has to be known when a signal comes.
pub(crate) struct Leaving {
    pub(crate) journal: Journal,
    /// What to type next if there is a journal.
    pub(crate) recover: Next,
    /// What to type next if there is none.
    pub(crate) look: Next,
    /// What the first signal does.
    pub(crate) meaning: &'static str,
    pub(crate) progress: Arc<Progress>,
}

/// Gives operations up with this token when a signal comes.
pub(crate) fn watch(leaving: Leaving) -> Result<CancelToken, Stop> {
    let token = CancelToken::new();
    let cancel = token.clone();
    // The handler runs on a thread of its own, where locks and files may be used.
    on_signal(move || {
        if cancel.is_cancelled() {
            leaving.progress.suspend(|| leaving.tell());
            std::process::exit(Exit::Interrupted.code().into());
        }
        leaving.progress.suspend(|| say(&format!("interrupted: {}; once more to leave at once", leaving.meaning)));
        cancel.cancel();
    })?;
    Ok(token)
}

/// Calls `end` at the first signal; the second ends the process.
pub(crate) fn once(end: impl Fn() + Send + 'static) -> Result<(), Stop> {
    let pressed = AtomicBool::new(false);
    on_signal(move || {
        if pressed.swap(true, Ordering::SeqCst) {
            std::process::exit(Exit::Interrupted.code().into());
        }
        end();
    })
}

fn on_signal(handler: impl FnMut() + Send + 'static) -> Result<(), Stop> {
    ctrlc::set_handler(handler).map_err(|error| Stop::unchanged(format!("signals cannot be watched: {error}")))
}

impl Leaving {
    fn tell(&self) {
        let Journal::Directory(directory) = &self.journal else {
            say(&format!("left at once. There is no journal; a status shows what is left.\n{}", self.look.lines()));
            return;
        };
        let place = directory.display();
        let held = DirectoryStore::open(directory).and_then(|store| store.unfinished());
        match held {
            Ok(held) if held.groups.is_empty() && held.unreadable.is_empty() => {
                say(&format!("left at once. The journal in {place} is empty: nothing was begun, or all is settled."));
            }
            Ok(held) => {
                const SHOWN: usize = 10;
                let mut names: Vec<String> = held.groups.iter().take(SHOWN).map(ToString::to_string).collect();
                if held.groups.len() > SHOWN {
                    names.push(format!("{} more", held.groups.len() - SHOWN));
                }
                if !held.unreadable.is_empty() {
                    names.push(format!("{} entries that cannot be read", held.unreadable.len()));
                }
                let names = names.join(", ");
                say(&format!("left at once. The journal in {place} holds: {names}.\n{}", self.recover.lines()));
            }
            Err(error) => say(&format!("left at once. {error}.\n{}", self.recover.lines())),
        }
    }
}

//! Standard output for results, standard error for everything else. Nothing here blocks whoever prints: see `lane`.
//! A reader that went away is no error: the operations go on, and the exit code tells.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use cluster_client::Printable;
use terminal_size::{Width, terminal_size_of};

use crate::args::{Format, GlobalOptions};
use crate::exit::Exit;
use crate::lane::{Entry, Frame, Lane, Streams};

/// A reader of results that takes nothing for so long after a signal is given up.
const PATIENCE_FOR_RESULTS: Duration = Duration::from_secs(5);
/// A reader of messages, always.
const PATIENCE_FOR_MESSAGES: Duration = Duration::from_secs(1);
/// To take the frame off the screen, before a result goes to another program that may show it there.
const PATIENCE_FOR_FRAME: Duration = Duration::from_millis(100);

static CONSOLE: OnceLock<Console> = OnceLock::new();
/// All work is done; only the writing is not.
static FINISHING: AtomicBool = AtomicBool::new(false);

struct Console {
    out: Arc<Lane>,
    /// The same as `out` if both streams are one file: then the order between them is kept.
    err: Arc<Lane>,
    /// What goes to standard output may come out on the terminal of standard error.
    may_meet: bool,
}

/// Prints results.
pub(crate) struct Output {
    pub(crate) format: Format,
    /// Whether a mark stands before each host.
    pub(crate) marks: bool,
    styled: bool,
}

impl Output {
    pub(crate) fn new(global: &GlobalOptions) -> Self {
        let styled = is_styled(&io::stdout(), global.color);
        let marks = io::stdout().is_terminal() || global.color == clap::ColorChoice::Always;
        Output { format: global.output, marks, styled }
    }

    /// Prints a result. It may be styled; the styles are taken out where they are not wanted.
    pub(crate) fn print(&mut self, text: &str) {
        let console = console();
        if console.may_meet && console.err.shows_a_frame() {
            console.err.put(Entry::Pause);
            console.err.wait_until_written(Some(PATIENCE_FOR_FRAME));
        }
        let text = if self.styled { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() };
        console.out.put(Entry::Result(text));
    }
}

/// Waits until everything is where it was printed to.
pub(crate) fn flush() {
    console().out.wait_until_written(None);
    console().err.wait_until_written(None);
}

/// Says something on standard error, escaped but for the ends of lines.
pub(crate) fn eprint(text: &str) {
    let lines: Vec<String> = text.trim_end().split('\n').map(|line| Printable::new(line).to_string()).collect();
    eprint_raw(lines.join("\n") + "\n");
}

/// The same without an end of line.
pub(crate) fn eprint_raw(text: String) {
    console().err.put(Entry::Message(text));
}

/// Asks something on standard error: returns when it can be read there.
pub(crate) fn ask(text: String) {
    eprint_raw(text);
    console().err.wait_until_written(None);
}

/// Shows live progress from now on, or no longer.
pub(crate) fn show_frames(frames: Option<Arc<dyn Frame>>) {
    let console = console();
    let erase = frames.is_none() && console.may_meet && console.err.shows_a_frame();
    console.err.put(Entry::Frames(frames));
    if erase {
        console.err.wait_until_written(Some(PATIENCE_FOR_FRAME));
    }
}

/// Whether so few results wait for their reader that more work may be begun.
pub(crate) fn has_room() -> bool {
    console().out.has_room()
}

/// Waits until there is room, or a signal came.
pub(crate) fn wait_for_room() {
    console().out.wait_for_room();
}

/// A signal came: from now on nobody waits long for a reader.
pub(crate) fn hurry() {
    console().out.hurry();
    console().err.hurry();
}

/// Whether only the reader of the results is waited for.
pub(crate) fn is_finishing() -> bool {
    FINISHING.load(Ordering::SeqCst)
}

/// The end of the command: waits for the reader of the results, and a moment for that of the messages. Whether all
/// results were written, or nobody was there to read them.
pub(crate) fn finish() -> bool {
    let Some(console) = CONSOLE.get() else { return true };
    FINISHING.store(true, Ordering::SeqCst);
    let all = console.out.wait_for_reader(PATIENCE_FOR_RESULTS);
    if !all {
        eprint(UNREAD);
    }
    console.err.wait_while_read(PATIENCE_FOR_MESSAGES);
    all
}

/// Why the exit code is not that of the results.
pub(crate) const UNREAD: &str = "interrupted: left before all results were read";

/// Leaves at once, with a last word if somebody reads it.
pub(crate) fn leave(text: &str) -> ! {
    show_frames(None);
    eprint(text);
    console().err.wait_while_read(PATIENCE_FOR_MESSAGES);
    std::process::exit(Exit::Interrupted.code().into())
}

/// Whether styles are wanted on this stream.
pub(crate) fn is_styled(stream: &impl anstream::stream::RawStream, color: clap::ColorChoice) -> bool {
    match color {
        clap::ColorChoice::Auto => AutoStream::choice(stream) != ColorChoice::Never,
        clap::ColorChoice::Always => true,
        clap::ColorChoice::Never => false,
    }
}

fn console() -> &'static Console {
    CONSOLE.get_or_init(|| {
        let lane = |out, err| Lane::new(Streams { out, err, columns, complain });
        if is_one_file() {
            let lane = lane(stdout(), stderr());
            return Console { out: Arc::clone(&lane), err: lane, may_meet: false };
        }
        let nowhere = || Box::new(io::sink());
        let may_meet = io::stderr().is_terminal() && goes_to_a_program();
        Console { out: lane(stdout(), nowhere()), err: lane(nowhere(), stderr()), may_meet }
    })
}

fn columns() -> usize {
    terminal_size_of(io::stderr()).map_or(80, |(Width(columns), _)| columns.into())
}

fn complain(error: &io::Error) {
    eprint(&format!("warning: results cannot be printed: {error}"));
}

/// Without the locks and the buffer of the standard library: a thread that is stuck in a write holds them.
#[cfg(unix)]
fn stdout() -> Box<dyn Write + Send> {
    use std::os::fd::AsFd as _;
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(file) => Box::new(std::fs::File::from(file)),
        Err(_) => Box::new(io::stdout()),
    }
}

#[cfg(unix)]
fn stderr() -> Box<dyn Write + Send> {
    use std::os::fd::AsFd as _;
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(file) => Box::new(std::fs::File::from(file)),
        Err(_) => Box::new(io::stderr()),
    }
}

#[cfg(unix)]
fn is_one_file() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
    let out = metadata(&io::stdout()).map(identity);
    out.is_some() && out == metadata(&io::stderr()).map(identity)
}

/// Whether standard output is read by a program, or is a terminal under another name.
#[cfg(unix)]
fn goes_to_a_program() -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    let of_a_program = |kind: std::fs::FileType| kind.is_fifo() || kind.is_socket();
    io::stdout().is_terminal() || metadata(&io::stdout()).is_some_and(|found| of_a_program(found.file_type()))
}

#[cfg(unix)]
fn metadata(stream: &impl std::os::fd::AsFd) -> Option<std::fs::Metadata> {
    let file = stream.as_fd().try_clone_to_owned().ok()?;
    std::fs::File::from(file).metadata().ok()
}

#[cfg(not(unix))]
fn stdout() -> Box<dyn Write + Send> {
    Box::new(AutoStream::new(io::stdout(), ColorChoice::Always))
}

#[cfg(not(unix))]
fn stderr() -> Box<dyn Write + Send> {
    Box::new(AutoStream::new(io::stderr(), ColorChoice::Always))
}

#[cfg(not(unix))]
fn is_one_file() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal()
}

#[cfg(not(unix))]
fn goes_to_a_program() -> bool {
    false
}

//! Prints results on standard output and everything else on standard error, without blocking (see `output_queue`).
//! A closed stream is no error. The operations continue, and the exit code reports their results. A full disk is an error
//! of those commands only of which the output is all there is.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use cluster_client::{GroupId, Printable};
use terminal_size::{Height, Width, terminal_size_of};

use crate::args::{Format, GlobalOptions};
use crate::exit::Exit;
use crate::output_queue::{Entry, Frame, OutputQueue, Streams};

/// After a signal, time without a successful write before unread results are dropped.
const RESULTS_TIMEOUT: Duration = Duration::from_secs(5);
/// Time without a successful write before unread messages are dropped.
const MESSAGES_TIMEOUT: Duration = Duration::from_secs(1);
/// Time to remove the frame before a result goes to a program that may print it on this terminal.
const FRAME_TIMEOUT: Duration = Duration::from_millis(100);

static CONSOLE: OnceLock<Console> = OnceLock::new();
/// True once a result could not be written, although somebody may still want it.
static FAILED: AtomicBool = AtomicBool::new(false);
/// True once all work is done except for the output.
static FINISHING: AtomicBool = AtomicBool::new(false);

struct Console {
    out: Arc<OutputQueue>,
    /// Same queue as `out` if both streams are one file, which keeps the order between them.
    err: Arc<OutputQueue>,
    /// Standard output may end up on the terminal of standard error.
    may_share_terminal: bool,
}

/// Prints results.
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) view: View,
    styled: bool,
}

/// How tables are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// Whether to print a mark before each host.
    pub(crate) marks: bool,
    /// Whether a terminal shows them, on which a long line is broken anywhere.
    pub(crate) terminal: bool,
    pub(crate) columns: usize,
    /// Whether each host has a line, however many there are.
    pub(crate) all: bool,
}

impl View {
    fn new(global: &GlobalOptions) -> Self {
        let terminal = io::stdout().is_terminal();
        let marks = terminal && can_show_marks() || global.color == clap::ColorChoice::Always;
        View { marks, terminal, columns: screen().0, all: global.all }
    }
}

/// Returns whether a terminal, if there is one, can show characters beyond ASCII.
fn can_show_marks() -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| std::env::var(name).ok().filter(|l| !l.is_empty()));
    let is_utf8 = |locale: String| locale.to_ascii_lowercase().replace('-', "").contains("utf8");
    std::env::var_os("TERM").is_none_or(|term| term != "dumb") && locale.is_none_or(is_utf8)
}

/// Returns columns and rows of the terminal that shows the results. Without one, `COLUMNS` and `LINES` count.
pub(crate) fn screen() -> (usize, usize) {
    let number = |name| std::env::var(name).ok()?.parse().ok().filter(|number| *number > 0);
    match terminal_size_of(io::stdout()) {
        Some((Width(columns), Height(rows))) if columns > 0 => (columns.into(), rows.into()),
        _ => (number("COLUMNS").unwrap_or(WIDTH), number("LINES").unwrap_or(24)),
    }
}

/// Columns of a table without a terminal.
const WIDTH: usize = 100;

impl Output {
    pub(crate) fn new(global: &GlobalOptions) -> Self {
        let styled = is_styled(&io::stdout(), global.color);
        Output { format: global.output, view: View::new(global), styled }
    }

    /// Prints a result, without its styles if none are wanted.
    pub(crate) fn print(&mut self, text: &str) {
        let console = console();
        if console.may_share_terminal && console.err.shows_a_frame() {
            console.err.push(Entry::Pause);
            console.err.wait_until_written(Some(FRAME_TIMEOUT));
        }
        console.out.push(Entry::Result(self.styled(text)));
    }

    /// Prints a frame on the terminal: lines that end with the control sequence `end_of_line`, between two others.
    pub(crate) fn print_frame(&mut self, before: &str, lines: &[String], end_of_line: &str, after: &str) {
        let mut frame = before.to_owned();
        for line in lines {
            frame.extend([&self.styled(line), end_of_line, "\n"]);
        }
        console().out.push(Entry::Result(frame + after));
    }

    fn styled(&self, text: &str) -> String {
        if self.styled { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() }
    }
}

/// Returns the line of a group for `-o name`, escaped, because one line is one group.
pub(crate) fn name_line(group: &GroupId) -> String {
    format!("{}\n", Printable::new(group.as_str()))
}

/// Blocks until everything is written.
pub(crate) fn flush() {
    console().out.wait_until_written(None);
    console().err.wait_until_written(None);
}

/// Prints text on standard error, escaped except for line ends.
pub(crate) fn eprint(text: &str) {
    let lines: Vec<String> = text.trim_end().split('\n').map(|line| Printable::new(line).to_string()).collect();
    eprint_raw(lines.join("\n") + "\n");
}

/// Prints text on standard error without escapes and without adding a line end.
pub(crate) fn eprint_raw(text: String) {
    console().err.push(Entry::Message(text));
}

/// Prints a prompt on standard error, and returns when it is written.
pub(crate) fn ask(text: String) {
    eprint_raw(text);
    console().err.wait_until_written(None);
}

/// Starts or ends live progress.
pub(crate) fn show_frames(frames: Option<Arc<dyn Frame>>) {
    let console = console();
    let erase = frames.is_none() && console.may_share_terminal && console.err.shows_a_frame();
    console.err.push(Entry::Frames(frames));
    if erase {
        console.err.wait_until_written(Some(FRAME_TIMEOUT));
    }
}

/// Returns whether more work may begin, because few results are unread.
pub(crate) fn has_room() -> bool {
    console().out.has_room()
}

/// Returns whether the reader of the results is gone, so that nobody can see another one.
#[cfg(unix)]
pub(crate) fn has_no_reader() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec::default();
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Other systems do not tell before a write.
#[cfg(not(unix))]
pub(crate) fn has_no_reader() -> bool {
    false
}

/// Blocks until there is room, or a signal arrived.
pub(crate) fn wait_for_room() {
    console().out.wait_for_room();
}

/// Bounds all waits for a reader, after a signal.
pub(crate) fn limit_waits() {
    console().out.limit_waits();
    console().err.limit_waits();
}

/// Returns whether all work is done except for the output.
pub(crate) fn is_finishing() -> bool {
    FINISHING.load(Ordering::SeqCst)
}

/// Blocks until the results are read, and briefly for the messages. Returns false if results were dropped.
pub(crate) fn finish() -> bool {
    let Some(console) = CONSOLE.get() else { return true };
    FINISHING.store(true, Ordering::SeqCst);
    let all = console.out.wait_for_reader(RESULTS_TIMEOUT);
    if !all {
        eprint(UNREAD);
    }
    console.err.wait_while_read(MESSAGES_TIMEOUT);
    all
}

/// Returns whether a result could not be written. A reader that closed its end has all that it wants.
pub(crate) fn has_failed() -> bool {
    FAILED.load(Ordering::SeqCst)
}

/// Message for dropped results, which change the exit code.
pub(crate) const UNREAD: &str = "interrupted: left before all results were read";

/// Exits at once, after an attempt to print `text`.
pub(crate) fn leave(text: &str) -> ! {
    show_frames(None);
    eprint(text);
    console().err.wait_while_read(MESSAGES_TIMEOUT);
    std::process::exit(Exit::Interrupted.code().into())
}

/// Returns whether to write styles to this stream.
pub(crate) fn is_styled(stream: &impl anstream::stream::RawStream, color: clap::ColorChoice) -> bool {
    match color {
        clap::ColorChoice::Auto => AutoStream::choice(stream) != ColorChoice::Never,
        clap::ColorChoice::Always => true,
        clap::ColorChoice::Never => false,
    }
}

fn console() -> &'static Console {
    CONSOLE.get_or_init(|| {
        let queue = |out, err| OutputQueue::new(Streams { out, err, columns, report_error });
        if is_one_file() {
            let both = queue(stdout(), stderr());
            return Console { out: Arc::clone(&both), err: both, may_share_terminal: false };
        }
        let nowhere = || Box::new(io::sink());
        let may_share_terminal = io::stderr().is_terminal() && goes_to_a_program();
        Console { out: queue(stdout(), nowhere()), err: queue(nowhere(), stderr()), may_share_terminal }
    })
}

fn columns() -> usize {
    terminal_size_of(io::stderr()).map_or(80, |(Width(columns), _)| columns.into())
}

pub(crate) fn report_error(error: &io::Error) {
    FAILED.store(true, Ordering::SeqCst);
    eprint(&format!("warning: results cannot be printed: {error}"));
}

/// Bypasses the lock and the buffer of the standard library, because a thread that blocks in a write holds the lock.
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

/// Returns whether a program reads standard output, or whether it is a terminal under another name.
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

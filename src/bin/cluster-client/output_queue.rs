//! Output to one destination: a queue, and a thread that writes. Callers push text into the queue and return at once.
//! Only the thread blocks on a full pipe or a stopped terminal.
//!
//! Results are kept until they are written. Messages are kept up to a limit. Further ones are dropped and counted.
//! Frames of live progress are not queued: the thread creates each when it can draw it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of unwritten messages.
const MOST_MESSAGES: usize = 4096;
/// Bytes of unread results above which no further group begins.
const ROOM: usize = 4 << 20;
/// Maximum size of one write. Each successful write shows that the reader reads.
const PIECE: usize = 4096;
/// Time between two frames.
const FRAME: Duration = Duration::from_millis(125);
/// Time without a frame after a result, which another program may print on this terminal.
const PAUSE: Duration = Duration::from_millis(500);

/// One row of live progress.
pub(crate) trait Frame: Send + Sync {
    /// Returns a row of at most `columns` characters, or an empty one if there is nothing to show.
    fn row(&self, columns: usize) -> String;
}

pub(crate) enum Entry {
    /// For standard output.
    Result(String),
    /// For standard error.
    Message(String),
    /// Starts or ends live progress.
    Frames(Option<Arc<dyn Frame>>),
    /// Removes the frame from the screen for [`PAUSE`].
    Pause,
}

pub(crate) struct OutputQueue {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// A frame is on the screen.
    drawn: AtomicBool,
    /// False if the system refused a thread, so that `push` has to write.
    has_thread: AtomicBool,
    writer: Mutex<Option<Writer>>,
}

struct Queue {
    entries: VecDeque<Entry>,
    messages: usize,
    lost: usize,
    result_bytes: usize,
    /// Number of entries ever pushed, and the number of the last result.
    pushed: u64,
    last_result: u64,
    /// Number of entries written or dropped.
    done: u64,
    /// Time of the last successful write.
    progressed: Instant,
    /// Time of the signal after which waits are bounded.
    limited_since: Option<Instant>,
}

/// The destinations of the text.
pub(crate) struct Streams {
    pub(crate) out: Box<dyn Write + Send>,
    pub(crate) err: Box<dyn Write + Send>,
    /// Returns the width of the terminal that shows the frames.
    pub(crate) columns: fn() -> usize,
    /// Called once with the error that stops the output of results.
    pub(crate) report_error: fn(&io::Error),
}

impl OutputQueue {
    pub(crate) fn new(streams: Streams) -> Arc<Self> {
        let queue = Queue {
            entries: VecDeque::new(),
            messages: 0,
            lost: 0,
            result_bytes: 0,
            pushed: 0,
            last_result: 0,
            done: 0,
            progressed: Instant::now(),
            limited_since: None,
        };
        let output = Arc::new(OutputQueue {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            drawn: AtomicBool::new(false),
            has_thread: AtomicBool::new(true),
            writer: Mutex::new(Some(Writer::new(streams))),
        });
        let for_thread = Arc::clone(&output);
        let run = move || {
            let writer = lock(&for_thread.writer).take();
            if let Some(writer) = writer {
                writer.run(&for_thread);
            }
        };
        let spawned = std::thread::Builder::new().name("writer".into()).spawn(run);
        output.has_thread.store(spawned.is_ok(), Ordering::SeqCst);
        output
    }

    /// Adds an entry. Never blocks if there is a thread.
    pub(crate) fn push(&self, entry: Entry) {
        let mut queue = lock(&self.queue);
        match &entry {
            Entry::Message(_) if queue.messages >= MOST_MESSAGES => {
                queue.lost += 1;
                return;
            }
            Entry::Message(_) => queue.messages += 1,
            Entry::Result(text) => {
                queue.result_bytes += text.len();
                queue.last_result = queue.pushed + 1;
            }
            Entry::Frames(_) | Entry::Pause => {}
        }
        queue.pushed += 1;
        queue.entries.push_back(entry);
        drop(queue);
        self.changed.notify_all();
        if !self.has_thread.load(Ordering::SeqCst) {
            self.write_here();
        }
    }

    fn write_here(&self) {
        let mut writer = lock(&self.writer);
        let Some(writer) = writer.as_mut() else { return };
        // Skip live progress: without a thread no later frame would be drawn.
        while let Some(entry) = self.next(Some(Instant::now())) {
            if !matches!(entry, Entry::Frames(_)) {
                writer.write_entry(self, &entry);
            }
            self.mark_done(&entry);
        }
    }

    /// Returns whether a frame is on the screen.
    pub(crate) fn shows_a_frame(&self) -> bool {
        self.drawn.load(Ordering::SeqCst)
    }

    /// Returns whether more work may begin, because few results are unread.
    pub(crate) fn has_room(&self) -> bool {
        lock(&self.queue).result_bytes < ROOM
    }

    /// Blocks until there is room, or a signal arrived.
    pub(crate) fn wait_for_room(&self) {
        self.wait(None, |queue| queue.result_bytes < ROOM || queue.limited_since.is_some());
    }

    /// Blocks until everything is written, for at most `limit`. Returns whether all is written.
    pub(crate) fn wait_until_written(&self, limit: Option<Duration>) -> bool {
        let all = lock(&self.queue).pushed;
        self.wait(limit.map(|limit| Instant::now() + limit), |queue| queue.done >= all)
    }

    /// Blocks until all results are written. After a signal, stops if nothing could be written for `timeout`. Returns
    /// whether all are written.
    pub(crate) fn wait_for_reader(&self, timeout: Duration) -> bool {
        let last = lock(&self.queue).last_result;
        self.wait_while_moving(timeout, true, |queue| queue.done >= last)
    }

    /// Blocks until everything is written, or nothing could be written for `timeout`.
    pub(crate) fn wait_while_read(&self, timeout: Duration) -> bool {
        let all = lock(&self.queue).pushed;
        self.wait_while_moving(timeout, false, |queue| queue.done >= all)
    }

    fn wait_while_moving(&self, timeout: Duration, only_after_signal: bool, over: impl Fn(&Queue) -> bool) -> bool {
        let begun = Instant::now();
        let mut queue = lock(&self.queue);
        loop {
            if over(&queue) {
                return true;
            }
            let limit = match queue.limited_since {
                Some(limited_since) => Some(limited_since.max(begun)),
                None if only_after_signal => None,
                None => Some(begun),
            };
            let limit = limit.map(|since| since.max(queue.progressed) + timeout);
            match limit.map(|limit| limit.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return false,
                Some(left) => queue = self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn wait(&self, until: Option<Instant>, over: impl Fn(&Queue) -> bool) -> bool {
        let mut queue = lock(&self.queue);
        while !over(&queue) {
            queue = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return false,
                Some(left) => self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
        true
    }

    /// Bounds all waits for a reader from now on.
    pub(crate) fn limit_waits(&self) {
        lock(&self.queue).limited_since.get_or_insert_with(Instant::now);
        self.changed.notify_all();
    }

    /// Blocks until there is an entry. Returns `None` when the next frame is due.
    fn next(&self, frame: Option<Instant>) -> Option<Entry> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.lost > 0 && queue.messages < MOST_MESSAGES / 2 {
                let lost = std::mem::take(&mut queue.lost);
                queue.pushed += 1;
                queue.messages += 1;
                queue
                    .entries
                    .push_back(Entry::Message(format!("{lost} messages were dropped: standard error was not read\n")));
            }
            if let Some(entry) = queue.entries.pop_front() {
                return Some(entry);
            }
            queue = match frame.map(|frame| frame.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return None,
                Some(left) => self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn mark_done(&self, entry: &Entry) {
        let mut queue = lock(&self.queue);
        queue.done += 1;
        match entry {
            Entry::Message(_) => queue.messages -= 1,
            Entry::Result(text) => queue.result_bytes -= text.len(),
            Entry::Frames(_) | Entry::Pause => {}
        }
        drop(queue);
        self.changed.notify_all();
    }

    fn progressed(&self) {
        lock(&self.queue).progressed = Instant::now();
        self.changed.notify_all();
    }
}

/// State of the thread that writes.
struct Writer {
    streams: Streams,
    out_closed: bool,
    err_closed: bool,
    frames: Option<Arc<dyn Frame>>,
    drawn: bool,
    next_frame: Instant,
}

impl Writer {
    fn new(streams: Streams) -> Self {
        Writer { streams, out_closed: false, err_closed: false, frames: None, drawn: false, next_frame: Instant::now() }
    }

    fn run(mut self, output: &OutputQueue) {
        loop {
            let frame = self.frames.is_some().then_some(self.next_frame);
            match output.next(frame) {
                Some(entry) => {
                    self.write_entry(output, &entry);
                    output.mark_done(&entry);
                }
                None => self.draw(output),
            }
        }
    }

    fn write_entry(&mut self, output: &OutputQueue, entry: &Entry) {
        match entry {
            Entry::Result(text) => {
                self.erase(output);
                if let Err(error) = write(&mut *self.streams.out, &mut self.out_closed, text, output)
                    && error.kind() != io::ErrorKind::BrokenPipe
                {
                    (self.streams.report_error)(&error);
                }
            }
            Entry::Message(text) => {
                self.erase(output);
                // Ignore the error, because it cannot be reported on a closed standard error.
                let _ = write(&mut *self.streams.err, &mut self.err_closed, text, output);
            }
            Entry::Frames(frames) => {
                self.erase(output);
                self.frames.clone_from(frames);
                // Draw nothing for an operation that ends at once.
                self.next_frame = Instant::now() + FRAME;
            }
            Entry::Pause => {
                self.erase(output);
                self.next_frame = Instant::now() + PAUSE;
            }
        }
    }

    /// Draws the row and leaves the cursor at its start. A resize moves row and cursor together, so that erasing from
    /// the cursor to the end of the screen removes the row.
    fn draw(&mut self, output: &OutputQueue) {
        self.next_frame = Instant::now() + FRAME;
        let Some(frames) = &self.frames else { return };
        // Leave the last column free: some terminals break the line after it.
        let row = frames.row((self.streams.columns)().saturating_sub(1));
        let erase = if self.drawn { ERASE } else { "" };
        if !self.drawn && row.is_empty() {
            return;
        }
        self.drawn = !row.is_empty();
        output.drawn.store(self.drawn, Ordering::SeqCst);
        let _ = write(&mut *self.streams.err, &mut self.err_closed, &format!("{erase}{row}\r"), output);
    }

    fn erase(&mut self, output: &OutputQueue) {
        if std::mem::take(&mut self.drawn) {
            let _ = write(&mut *self.streams.err, &mut self.err_closed, ERASE, output);
            output.drawn.store(false, Ordering::SeqCst);
        }
    }
}

/// Moves to the start of the row, and erases to the end of the screen.
const ERASE: &str = "\r\x1b[J";

/// Writes the whole text, unless the stream has failed before.
fn write(to: &mut dyn Write, closed: &mut bool, text: &str, output: &OutputQueue) -> io::Result<()> {
    if *closed {
        return Ok(());
    }
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match to.write(&rest[..rest.len().min(PIECE)]) {
            Ok(0) => return fail(closed, io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                rest = &rest[written..];
                output.progressed();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process has made the shared terminal or pipe non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => return fail(closed, error),
        }
    }
    to.flush()
}

fn fail(closed: &mut bool, error: io::Error) -> io::Result<()> {
    *closed = true;
    Err(error)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read as _};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn queue(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Arc<OutputQueue> {
        OutputQueue::new(Streams { out: Box::new(out), err: Box::new(err), columns: || 40, report_error: |_| {} })
    }

    fn to_pipes() -> (Arc<OutputQueue>, PipeReader, PipeReader) {
        let ((out, out_end), (err, err_end)) = (io::pipe().unwrap(), io::pipe().unwrap());
        (queue(out_end, err_end), out, err)
    }

    fn read(mut from: &PipeReader, length: usize) -> String {
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn results_are_kept_until_they_are_read_and_then_there_is_room() {
        let (output, out, _err) = to_pipes();
        assert!(output.has_room());
        let result = "x".repeat(ROOM);
        output.push(Entry::Result(result.clone()));
        output.push(Entry::Result("last\n".into()));
        assert!(!output.has_room());
        let reader = std::thread::spawn(move || read(&out, ROOM + 5));
        output.wait_for_room();
        assert!(output.wait_until_written(Some(PATIENCE)));
        assert_eq!(reader.join().unwrap(), result + "last\n");
    }

    #[test]
    fn signal_ends_the_wait_for_a_reader_that_does_not_read() {
        let (output, _out, _err) = to_pipes();
        output.push(Entry::Result("x".repeat(ROOM)));
        output.limit_waits();
        output.wait_for_room();
        assert!(!output.wait_for_reader(Duration::from_millis(50)));
        assert!(!output.wait_while_read(Duration::from_millis(50)));
    }

    /// Blocks every write until it is opened.
    struct Gate(Arc<(Mutex<bool>, Condvar)>, Arc<Mutex<Vec<u8>>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut open = lock(&self.0.0);
            while !*open {
                open = self.0.1.wait(open).unwrap_or_else(PoisonError::into_inner);
            }
            lock(&self.1).extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn messages_beyond_the_limit_are_counted() {
        let (gate, written) = (Arc::new((Mutex::new(false), Condvar::new())), Arc::new(Mutex::new(Vec::new())));
        let output = queue(io::sink(), Gate(Arc::clone(&gate), Arc::clone(&written)));
        for number in 0..MOST_MESSAGES + 7 {
            output.push(Entry::Message(format!("{number}\n")));
        }
        *lock(&gate.0) = true;
        gate.1.notify_all();
        let end = "7 messages were dropped: standard error was not read\n";
        let limit = Instant::now() + PATIENCE;
        let text = || String::from_utf8(lock(&written).clone()).unwrap();
        while !text().ends_with(end) && Instant::now() < limit {
            std::thread::yield_now();
        }
        assert!(text().starts_with("0\n1\n") && text().ends_with(end));
        assert_eq!(text().lines().count(), MOST_MESSAGES + 1);
    }

    /// Fails every second write like a non-blocking descriptor.
    struct WouldBlock(bool, Arc<Mutex<Vec<u8>>>);

    impl Write for WouldBlock {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = !self.0;
            if self.0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            lock(&self.1).push(bytes[0]);
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn write_to_a_stream_that_would_block_is_retried() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let output = queue(WouldBlock(false, Arc::clone(&written)), io::sink());
        output.push(Entry::Result("all of it".into()));
        assert!(output.wait_for_reader(PATIENCE));
        assert_eq!(*lock(&written), b"all of it");
    }

    #[test]
    fn results_for_a_closed_stream_are_dropped() {
        let (output, out, _err) = to_pipes();
        drop(out);
        for _ in 0..3 {
            output.push(Entry::Result("x".repeat(PIECE * 4)));
        }
        assert!(output.wait_for_reader(PATIENCE));
    }

    #[test]
    fn push_writes_at_once_if_there_is_no_thread() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let open = Arc::new((Mutex::new(true), Condvar::new()));
        let output = queue(Gate(open, Arc::clone(&written)), io::sink());
        // Stop the thread, as if the system had refused it.
        output.push(Entry::Frames(None));
        assert!(output.wait_until_written(Some(PATIENCE)));
        *lock(&output.writer) = Some(Writer::new(Streams {
            out: Box::new(Gate(Arc::new((Mutex::new(true), Condvar::new())), Arc::clone(&written))),
            err: Box::new(io::sink()),
            columns: || 40,
            report_error: |_| {},
        }));
        output.has_thread.store(false, Ordering::SeqCst);
        output.push(Entry::Result("now".into()));
        assert!(output.wait_until_written(Some(PATIENCE)));
        assert_eq!(*lock(&written), b"now");
    }

    struct Row(Mutex<&'static str>);

    impl Frame for Row {
        fn row(&self, columns: usize) -> String {
            assert_eq!(columns, 39);
            (*lock(&self.0)).into()
        }
    }

    #[test]
    fn frame_is_erased_before_other_output() {
        let (output, out, err) = to_pipes();
        let row = Arc::new(Row(Mutex::new("1 of 2")));
        output.push(Entry::Frames(Some(row.clone())));
        assert_eq!(read(&err, 7), "1 of 2\r");
        output.push(Entry::Frames(None));
        output.push(Entry::Message("message\n".into()));
        output.push(Entry::Result("result\n".into()));
        assert!(output.wait_until_written(Some(PATIENCE)));
        drop(output);
        let rest = read(&err, ERASE.len());
        // Another frame may have been drawn first.
        let rest = if rest == ERASE { rest } else { rest + &read(&err, 7) + &read(&err, ERASE.len()) };
        assert!(rest.ends_with(ERASE), "{rest:?}");
        assert_eq!(read(&err, 8), "message\n");
        assert_eq!(read(&out, 7), "result\n");
    }
}

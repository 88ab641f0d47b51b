//! A pseudo-terminal for the command or a shell, and an emulator of its screen.

use std::io::{self, Read as _, Write as _};
use std::num::NonZero;
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

use crate::bench::{Bench, PATIENCE, started_plainly};

const ROWS: u16 = 30;
const COLUMNS: u16 = 120;

pub(crate) struct OnTerminal {
    pub(crate) child: Child,
    terminal: Pty,
}

impl OnTerminal {
    /// Starts the command with these arguments. The terminal is its controlling terminal.
    pub(crate) fn start(bench: &Bench, arguments: &[&str]) -> Self {
        Self::start_with(bench, arguments, &[])
    }

    pub(crate) fn start_with(bench: &Bench, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_program(bench, env!("CARGO_BIN_EXE_cluster-client"), arguments, variables, None)
    }

    pub(crate) fn start_program(
        bench: &Bench,
        program: &str,
        arguments: &[&str],
        more: &[(&str, &str)],
        stdout: Option<Stdio>,
    ) -> Self {
        Self::start_sized(bench, program, arguments, more, stdout, COLUMNS)
    }

    fn start_sized(
        bench: &Bench,
        program: &str,
        arguments: &[&str],
        more: &[(&str, &str)],
        stdout: Option<Stdio>,
        columns: u16,
    ) -> Self {
        let (terminal, end) = open().unwrap();
        terminal.resize(Size::new(ROWS, columns)).unwrap();
        let surroundings = bench.command(&[]);
        let variables = surroundings.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let words = started_plainly(program);
        let mut command = Command::new(words[0])
            .args(&words[1..])
            .args(arguments)
            .env_clear()
            .envs(variables)
            .env("TERM", "xterm")
            .envs(more.iter().copied())
            .current_dir(surroundings.get_current_dir().unwrap());
        if let Some(stdout) = stdout {
            command = command.stdout(stdout);
        }
        OnTerminal { child: command.spawn(end).unwrap(), terminal }
    }

    /// Starts the command on a terminal of this width.
    pub(crate) fn start_at(bench: &Bench, arguments: &[&str], columns: u16) -> Self {
        let program = env!("CARGO_BIN_EXE_cluster-client");
        Self::start_sized(bench, program, arguments, &[], None, columns)
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    /// Closes the terminal, which sends SIGHUP.
    pub(crate) fn hang_up(self) -> Child {
        self.child
    }

    /// Starts the emulator of the screen.
    pub(crate) fn watched(self) -> Watched {
        let shown = Arc::new(SharedScreen { screen: Mutex::new(Emulator::new()), changed: Condvar::new() });
        let terminal = Arc::new(self.terminal);
        let (source, target) = (Arc::clone(&terminal), Arc::clone(&shown));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A read fails after the last process has closed the terminal.
            loop {
                match (&*source).read(&mut bytes) {
                    Ok(0) => break,
                    Ok(length) => target.screen().take(&bytes[..length]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
                target.changed.notify_all();
            }
            target.screen().ended = true;
            target.changed.notify_all();
        });
        Watched { child: self.child, terminal, shown, reader: Some(reader) }
    }
}

struct SharedScreen {
    screen: Mutex<Emulator>,
    changed: Condvar,
}

struct Emulator {
    parser: vt100::Parser,
    written: Vec<u8>,
    ended: bool,
}

fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}

impl Emulator {
    fn new() -> Self {
        Emulator { parser: vt100::Parser::new(cells(ROWS), cells(COLUMNS), 0), written: Vec::new(), ended: false }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.parser.process(bytes);
        self.written.extend(bytes);
    }

    fn text(&self) -> String {
        self.parser.screen().contents()
    }
}

impl SharedScreen {
    fn screen(&self) -> MutexGuard<'_, Emulator> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process on a terminal, with an emulated screen. Dropping it kills and reaps the process.
pub(crate) struct Watched {
    child: Child,
    terminal: Arc<Pty>,
    shown: Arc<SharedScreen>,
    reader: Option<JoinHandle<()>>,
}

impl Watched {
    pub(crate) fn types(&mut self, text: &str) {
        (&*self.terminal).write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        self.shown.screen().parser.screen_mut().set_size(cells(rows), cells(columns));
        self.terminal.resize(Size::new(rows, columns)).unwrap();
    }

    /// Blocks until the screen is as `wanted`, and returns its text.
    #[track_caller]
    pub(crate) fn wait_until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let limit = Instant::now() + PATIENCE;
        let mut screen = self.shown.screen();
        loop {
            let text = screen.text();
            if wanted(&text) {
                return text;
            }
            let left = limit.saturating_duration_since(Instant::now());
            let written = String::from_utf8_lossy(&screen.written);
            assert!(!left.is_zero() && !screen.ended, "the screen is not as wanted:\n{text}\nall output:\n{written:?}");
            screen = self.shown.changed.wait_timeout(screen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    #[track_caller]
    pub(crate) fn wait_until_it_shows(&self, text: &str) -> String {
        self.wait_until(|screen| screen.contains(text))
    }

    /// Blocks until the last process has closed the terminal.
    #[track_caller]
    pub(crate) fn ends(mut self) -> Ended {
        let limit = Instant::now() + PATIENCE;
        let mut screen = self.shown.screen();
        while !screen.ended {
            let left = limit.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it does not end:\n{}", screen.text());
            screen = self.shown.changed.wait_timeout(screen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let (text, written) = (screen.text(), String::from_utf8_lossy(&screen.written).into_owned());
        drop(screen);
        self.reader.take().unwrap().join().unwrap();
        Ended { code: self.child.wait().unwrap().code(), screen: text, written }
    }
}

/// The final screen, and the exit code.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) screen: String,
    /// All output.
    pub(crate) written: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn shows(self, text: &str) -> Self {
        assert!(self.screen.contains(text), "not shown: {text}\n{self:#?}");
        self
    }

    /// Asserts that no live row is on the screen.
    #[track_caller]
    pub(crate) fn shows_no_row(self) -> Self {
        for row in ["waiting for", "in progress", "asking the hosts", "creating:", "rolling back:", "deleting:"] {
            let stale = self.screen.lines().any(|line| line.contains(row) && !line.starts_with("interrupted:"));
            assert!(!stale, "still there: {row}\n{self:#?}");
        }
        self
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The surroundings of the demo: the nodes, a directory for the journal, and the running command. Dropping the stage
//! removes them.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::ColorChoice;
use cluster_client::testing::Cluster;

use crate::args::GlobalOptions;
use crate::exit::Exit;
use crate::output::{self, Output};
use crate::signal;

/// Short waits, so that the demo ends soon.
const CONFIGURATION: &str = "\
first_delay = \"100ms\"
max_delay = \"400ms\"
request_timeout = \"5s\"
settle = \"500ms\"
";

pub(super) struct Stage<'a> {
    pub(super) cluster: Cluster,
    output: &'a mut Output,
    color: ColorChoice,
    resources: Resources,
    chapters: usize,
    failed_checks: usize,
}

/// The resources to remove at the end, even if a signal ends the demo.
#[derive(Clone)]
struct Resources {
    directory: PathBuf,
    child: Arc<Mutex<RunningCommand>>,
}

#[derive(Default)]
enum RunningCommand {
    #[default]
    None,
    Running(Child),
    /// A signal has ended the demo, so no command may start.
    Cleared,
}

impl<'a> Stage<'a> {
    pub(super) fn new(global: &GlobalOptions, hosts: usize, output: &'a mut Output) -> io::Result<Self> {
        let cluster = Cluster::start(hosts)?;
        let name = format!("cluster-client-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).map_err(|error| {
            let problem =
                format!("cannot create {}: {error}; set TMPDIR to a directory that exists", directory.display());
            io::Error::new(error.kind(), problem)
        })?;
        let resources = Resources { directory, child: Arc::default() };
        std::fs::write(resources.directory.join("cluster-client.toml"), CONFIGURATION)?;
        let on_signal = resources.clone();
        signal::once(move || {
            on_signal.clear();
            std::process::exit(Exit::Interrupted.code().into());
        })
        .map_err(|stop| io::Error::other(stop.message))?;
        Ok(Stage { cluster, output, color: global.color, resources, chapters: 0, failed_checks: 0 })
    }

    pub(super) fn failed_checks(&self) -> usize {
        self.failed_checks
    }

    pub(super) fn print(&mut self, text: &str) {
        self.output.print(&format!("{text}\n"));
    }

    /// Prints a numbered title, and the text below it.
    pub(super) fn chapter(&mut self, title: &str, text: &str) {
        self.chapters += 1;
        let title = format!("{}. {title}", self.chapters);
        self.print(&format!("\n{title}\n{}\n{text}", "-".repeat(title.chars().count())));
    }

    /// Runs this command to its end, and checks its exit code.
    pub(super) fn run(&mut self, arguments: &[&str], expected: Exit) -> io::Result<()> {
        self.start(arguments)?;
        let code = self.wait()?;
        self.print(&format!("(exit {})", code.map_or("by a signal".into(), |code| code.to_string())));
        if code != Some(expected.code().into()) {
            self.check(false, &format!("the exit code is {}", expected.code()));
        }
        Ok(())
    }

    /// Starts this command.
    pub(super) fn start(&mut self, arguments: &[&str]) -> io::Result<()> {
        self.print(&format!("\n$ cluster-client {}", arguments.join(" ")));
        // Print this before the output of the command.
        output::flush();
        let mut command = Command::new(std::env::current_exe()?);
        // A variable of the user must not change the demo, and its hosts must never be those of the user.
        let settings = std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"CLUSTER_CLIENT_"));
        for (name, _) in settings {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(&self.resources.directory)
            .env("HOSTS", self.cluster.urls().join(","))
            .env("CLUSTER_CLIENT_JOURNAL", self.resources.directory.join("journal"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        match self.color {
            ColorChoice::Never => command.arg("--color=never"),
            ColorChoice::Always => command.arg("--color=always"),
            ColorChoice::Auto => &mut command,
        };
        // Start the child under the lock, so that a signal either finds it or prevents its start.
        let mut command_slot = self.resources.child();
        if matches!(*command_slot, RunningCommand::Cleared) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        *command_slot = RunningCommand::Running(command.spawn()?);
        Ok(())
    }

    /// Polls the child without holding the lock, so that a signal can kill it.
    fn wait(&mut self) -> io::Result<Option<i32>> {
        loop {
            let mut child = self.resources.child();
            let RunningCommand::Running(running) = &mut *child else { return Err(io::ErrorKind::Interrupted.into()) };
            if let Some(status) = running.try_wait()? {
                *child = RunningCommand::None;
                return Ok(status.code());
            }
            drop(child);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Kills the command that was started, as `kill -9` does.
    pub(super) fn kill(&mut self) {
        end(&mut self.resources.child(), RunningCommand::None);
        self.print("(killed)");
    }

    /// Checks on the nodes how many of them have the group.
    pub(super) fn check_holders(&mut self, group: &str, holders: usize) {
        let have = self.cluster.holders(group).len();
        let total = self.cluster.nodes().len();
        self.check(have == holders, &format!("{group} is on {have} of {total} nodes, checked on the nodes"));
    }

    pub(super) fn check(&mut self, is_expected: bool, text: &str) {
        if is_expected {
            self.print(&format!("=> {text}"));
        } else {
            self.failed_checks += 1;
            self.print(&format!("=> NOT AS EXPECTED: {text}"));
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.resources.clear();
    }
}

impl Resources {
    fn child(&self) -> MutexGuard<'_, RunningCommand> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        end(&mut self.child(), RunningCommand::Cleared);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Kills the child, if one runs, and waits for its end.
fn end(command_slot: &mut RunningCommand, then: RunningCommand) {
    if let RunningCommand::Running(child) = command_slot {
        let _ = child.kill();
        let _ = child.wait();
    }
    *command_slot = then;
}

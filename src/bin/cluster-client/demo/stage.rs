//! Where the demo plays: the nodes, a directory for the journal, and the commands as real processes. All of it
//! is gone when the stage is.

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

/// Short waits: what takes seconds in earnest shall not take them here.
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
    props: Props,
    acts: usize,
    broken: usize,
}

/// What has to be cleared away, also when a signal ends the demo.
#[derive(Clone)]
struct Props {
    directory: PathBuf,
    child: Arc<Mutex<Prop>>,
}

#[derive(Default)]
enum Prop {
    #[default]
    None,
    Running(Child),
    /// A signal came; nothing is started any more.
    Cleared,
}

impl<'a> Stage<'a> {
    pub(super) fn set(global: &GlobalOptions, hosts: usize, output: &'a mut Output) -> io::Result<Self> {
        let cluster = Cluster::start(hosts)?;
        let name = format!("cluster-client-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).map_err(|error| {
            let problem =
                format!("cannot create {}: {error}; set TMPDIR to a directory that exists", directory.display());
            io::Error::new(error.kind(), problem)
        })?;
        let props = Props { directory, child: Arc::default() };
        std::fs::write(props.directory.join("cluster-client.toml"), CONFIGURATION)?;
        let on_signal = props.clone();
        signal::once(move || {
            on_signal.clear();
            std::process::exit(Exit::Interrupted.code().into());
        })
        .map_err(|stop| io::Error::other(stop.message))?;
        Ok(Stage { cluster, output, color: global.color, props, acts: 0, broken: 0 })
    }

    pub(super) fn broken(&self) -> usize {
        self.broken
    }

    pub(super) fn tell(&mut self, text: &str) {
        self.output.print(&format!("{text}\n"));
    }

    pub(super) fn act(&mut self, title: &str, text: &str) {
        self.acts += 1;
        let title = format!("{}. {title}", self.acts);
        self.tell(&format!("\n{title}\n{}\n{text}", "-".repeat(title.chars().count())));
    }

    /// Runs this command to its end, and expects it to exit so.
    pub(super) fn run(&mut self, arguments: &[&str], expected: Exit) -> io::Result<()> {
        self.start(arguments)?;
        let code = self.wait()?;
        self.tell(&format!("(exit {})", code.map_or("by a signal".into(), |code| code.to_string())));
        if code != Some(expected.code().into()) {
            self.check(false, &format!("the exit code is {}", expected.code()));
        }
        Ok(())
    }

    /// Starts this command.
    pub(super) fn start(&mut self, arguments: &[&str]) -> io::Result<()> {
        self.tell(&format!("\n$ cluster-client {}", arguments.join(" ")));
        // Print this before the output of the command.
        output::flush();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(arguments)
            .current_dir(&self.props.directory)
            .env("HOSTS", self.cluster.urls().join(","))
            .env("CLUSTER_CLIENT_JOURNAL", self.props.directory.join("journal"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        match self.color {
            ColorChoice::Never => command.arg("--color=never"),
            ColorChoice::Always => command.arg("--color=always"),
            ColorChoice::Auto => &mut command,
        };
        // Under the lock, so that a signal finds the child or keeps it from starting.
        let mut prop = self.props.child();
        if matches!(*prop, Prop::Cleared) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        *prop = Prop::Running(command.spawn()?);
        Ok(())
    }

    /// Waits without holding the child, so that a signal can still kill it.
    fn wait(&mut self) -> io::Result<Option<i32>> {
        loop {
            let mut child = self.props.child();
            let Prop::Running(running) = &mut *child else { return Err(io::ErrorKind::Interrupted.into()) };
            if let Some(status) = running.try_wait()? {
                *child = Prop::None;
                return Ok(status.code());
            }
            drop(child);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Kills the command that was started, as `kill -9` does.
    pub(super) fn kill(&mut self) {
        end(&mut self.props.child(), Prop::None);
        self.tell("(killed)");
    }

    /// Asks the nodes themselves how many of them have the group.
    pub(super) fn promise(&mut self, group: &str, holders: usize) {
        let have = self.cluster.holders(group).len();
        let total = self.cluster.nodes().len();
        self.check(have == holders, &format!("{group} is on {have} of {total} nodes, as they say themselves"));
    }

    pub(super) fn check(&mut self, kept: bool, text: &str) {
        if kept {
            self.tell(&format!("=> {text}"));
        } else {
            self.broken += 1;
            self.tell(&format!("=> NOT AS PROMISED: {text}"));
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.props.clear();
    }
}

impl Props {
    fn child(&self) -> MutexGuard<'_, Prop> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        end(&mut self.child(), Prop::Cleared);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Kills what runs, and waits until it is gone.
fn end(prop: &mut Prop, then: Prop) {
    if let Prop::Running(child) = prop {
        let _ = child.kill();
        let _ = child.wait();
    }
    *prop = then;
}

//! Three instances of a service as one cluster: with the client, with the command, and with the oracle.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_client::{Api, ClientBuilder, ClusterClient, Credentials, Engine, RetryPolicy, Secret};
use tempfile::TempDir;

use crate::harness::{Instance, Service};
use crate::oracle::Oracle;

/// A late request of a service that was paused comes sooner.
const SETTLE: Duration = Duration::from_secs(1);
/// Bounds how long a broken test hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The settings of the command. The client has the same ones.
const SETTINGS: &str = r#"settle = "1s"
attempts = 2
first_delay = "10ms"
max_delay = "50ms"
journal = "journal-of-the-command"
"#;

pub(crate) struct Cluster {
    service: Service,
    oracle: Oracle,
    login: Login,
    preset: Option<String>,
    directory: TempDir,
}

/// The credentials of a service, without their secret.
enum Login {
    None,
    Bearer,
    /// The user.
    Basic(String),
    /// The name of the header.
    Header(String),
}

impl Cluster {
    /// Starts a service and a directory for its client. Nothing if the service cannot be had here.
    pub(crate) fn of_preset(preset: &str, oracle: Oracle) -> Option<Self> {
        let mut cluster = Self::start(preset, oracle)?;
        cluster.preset = Some(preset.into());
        cluster.configure("");
        Some(cluster)
    }

    /// The same for a service whose API the configuration file describes.
    pub(crate) fn of_mapping(service: &str, mapping: &str, oracle: Oracle) -> Option<Self> {
        let cluster = Self::start(service, oracle)?;
        cluster.configure(mapping);
        Some(cluster)
    }

    fn start(name: &str, oracle: Oracle) -> Option<Self> {
        let service = Service::start(name)?;
        let directory = tempfile::tempdir().unwrap();
        let mut cluster = Cluster { service, oracle, login: Login::None, preset: None, directory };
        cluster.login = cluster.login();
        Some(cluster)
    }

    /// The credentials of the service, from the header that its script wrote. Their secret is in the file `secret`.
    fn login(&self) -> Login {
        let Some((name, value)) = self.service.headers.first() else { return Login::None };
        let (login, secret) = match (name.as_str(), value.split_once(' ')) {
            ("Authorization", Some(("Bearer", token))) => (Login::Bearer, token.to_owned()),
            ("Authorization", Some(("Basic", both))) => {
                let both = String::from_utf8(STANDARD.decode(both).unwrap()).unwrap();
                let (user, password) = both.split_once(':').unwrap();
                (Login::Basic(user.into()), password.to_owned())
            }
            _ => (Login::Header(name.clone()), value.clone()),
        };
        self.write("secret", &secret);
        login
    }

    /// Sends the bearer token with another scheme from now on, as a header.
    pub(crate) fn use_scheme(&mut self, scheme: &str) {
        let token = fs::read_to_string(self.directory.path().join("secret")).unwrap();
        self.write("secret", &format!("{scheme} {token}"));
        self.login = Login::Header("Authorization".into());
        self.configure("");
    }

    /// Sends the credentials of the service's script again.
    pub(crate) fn use_own_scheme(&mut self) {
        self.login = self.login();
        self.configure("");
    }

    fn configure(&self, mapping: &str) {
        let keys = match &self.login {
            Login::None => String::new(),
            Login::Bearer => "bearer_token_file = \"secret\"".into(),
            Login::Basic(user) => format!("basic_user = \"{user}\"\nbasic_password_file = \"secret\""),
            Login::Header(name) => format!("header_files = {{ {name} = \"secret\" }}"),
        };
        let text = format!("hosts = {:?}\n{SETTINGS}[credentials]\n{keys}\n{mapping}", self.urls());
        self.write("cluster-client.toml", &text);
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let mut options = fs::OpenOptions::new();
        let path = self.directory.path().join(name);
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn instance(&self, number: usize) -> &Instance {
        &self.service.instances[number]
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.service.instances.iter().map(|instance| instance.url.clone()).collect()
    }

    /// The URLs, with another one in place of an instance's own.
    pub(crate) fn urls_with(&self, number: usize, url: &str) -> Vec<String> {
        let mut urls = self.urls();
        url.clone_into(&mut urls[number]);
        urls
    }

    /// The timeout of a request to a paused instance. The others answer sooner.
    pub(crate) fn short_timeout(&self) -> Duration {
        Duration::from_millis(if self.service.is_fast { 500 } else { 1000 })
    }

    /// Whether requests need credentials.
    pub(crate) fn has_login(&self) -> bool {
        !matches!(self.login, Login::None)
    }

    pub(crate) fn has(&self, number: usize, id: &str) -> bool {
        self.oracle.has(&self.instance(number).url, &self.service.headers, id)
    }

    /// Asks each instance directly.
    #[track_caller]
    pub(crate) fn assert_holders(&self, id: &str, expected: [bool; 3]) {
        let found = [0, 1, 2].map(|number| self.has(number, id));
        assert_eq!(found, expected, "{id} on {}", self.service.version);
    }

    /// Waits until an instance has the thing. Each question is a request, so there is no other delay.
    pub(crate) fn await_thing(&self, number: usize, id: &str) {
        let begin = Instant::now();
        while !self.has(number, id) {
            assert!(begin.elapsed() < PATIENCE, "instance {number} never got {id}");
        }
    }

    /// A client of the preset, with a journal of its own.
    pub(crate) fn client(&self, engine: Engine, urls: &[String]) -> ClientBuilder {
        let path = |name| self.directory.path().join(name);
        let retry = RetryPolicy::default()
            .with_first_delay(Duration::from_millis(10))
            .with_max_delay(Duration::from_millis(50));
        let builder = ClusterClient::builder()
            .hosts(urls)
            .api(Api::preset(self.preset.as_deref().unwrap()).unwrap())
            .engine(engine)
            .settle(SETTLE)
            .retry(retry.with_attempts(2))
            .rollback_retry(retry.with_attempts(5))
            .journal(path("journal-of-the-client"));
        let secret = Secret::file(path("secret"));
        builder.credentials(match &self.login {
            Login::None => Credentials::new(),
            Login::Bearer => Credentials::bearer(secret),
            Login::Basic(user) => Credentials::basic(user.as_str(), secret),
            Login::Header(name) => Credentials::new().header(name, secret),
        })
    }

    /// The command in its directory, without any variable of its own.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-client"));
        command.args(arguments).env_clear().current_dir(self.directory.path());
        if let Some(preset) = &self.preset {
            command.args(["--api", preset]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command. Returns what it wrote to both outputs.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str], exit: i32) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert_eq!(status.code(), Some(exit), "{} {arguments:?}:\n{text}", self.service.version);
        text
    }

    /// Starts the command, whose outputs nobody reads.
    pub(crate) fn start_command(&self, arguments: &[&str]) -> Killed {
        Killed(self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Ends the service.
    pub(crate) fn end(self) {
        assert!(self.service.end().success());
    }
}

/// A command that is killed, at the latest when this is dropped.
pub(crate) struct Killed(Child);

impl Killed {
    /// Kills the command, which must still run.
    pub(crate) fn kill(mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "it has ended by itself");
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

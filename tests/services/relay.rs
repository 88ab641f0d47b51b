//! A relay before one instance: it passes bytes on, and can stop the instance just before a certain request arrives.
//! With it an instance fails in the middle of an operation, at the same point in each run.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Bounds how long a broken test hangs.
const PATIENCE: Duration = Duration::from_secs(60);

type Action = Box<dyn FnOnce() + Send>;

pub(crate) struct Relay {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    instance: String,
    /// The beginnings of requests, and what is done before each is passed on. The next one waits for the first.
    armed: Mutex<VecDeque<(String, Action)>>,
    acted: Condvar,
}

impl Relay {
    /// Starts a relay before the instance with this URL. Its threads end with the connections and with the process.
    pub(crate) fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let instance = url.trim_start_matches("http://").to_owned();
        let shared = Arc::new(Shared { instance, armed: Mutex::default(), acted: Condvar::new() });
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&serving);
                // An error is the end of one connection. The client sees it.
                thread::spawn(move || shared.serve(&client));
            }
        });
        Relay { url, shared }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Does this once, before the first request that begins so. A second action comes after the first.
    pub(crate) fn before_request(&self, beginning: &str, action: impl FnOnce() + Send + 'static) {
        self.shared.armed.lock().unwrap().push_back((beginning.to_owned(), Box::new(action)));
    }

    /// Waits until each action of [`Relay::before_request`] was done.
    pub(crate) fn await_actions(&self) {
        let armed = self.shared.armed.lock().unwrap();
        let waited = self.shared.acted.wait_timeout_while(armed, PATIENCE, |armed| !armed.is_empty()).unwrap();
        assert!(!waited.1.timed_out(), "no such request came");
    }
}

impl Shared {
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let instance = TcpStream::connect(&self.instance)?;
        let (from, to) = (instance.try_clone()?, client.try_clone()?);
        let answers = thread::spawn(move || {
            let copied = io::copy(&mut &from, &mut &to);
            to.shutdown(Shutdown::Both).and(copied)
        });
        let passed = self.pass_requests(client, &instance);
        // The instance gets the requests that were passed on, though the client may be gone.
        let _ = instance.shutdown(Shutdown::Write);
        let _ = answers.join();
        passed
    }

    /// A client sends its next request after an answer, so each request begins with a read of its own.
    fn pass_requests(&self, mut client: &TcpStream, mut instance: &TcpStream) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            let length = client.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            self.act(&buffer[..length]);
            instance.write_all(&buffer[..length])?;
        }
    }

    fn act(&self, bytes: &[u8]) {
        let mut armed = self.armed.lock().unwrap();
        let is_due = armed.front().is_some_and(|(beginning, _)| bytes.starts_with(beginning.as_bytes()));
        if is_due && let Some((_, action)) = armed.pop_front() {
            action();
            self.acted.notify_all();
        }
    }
}
